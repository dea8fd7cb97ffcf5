"""Pictures of an attack, each a `matplotlib.figure.Figure`: a notebook shows it, ``figure.savefig(path)`` writes it.

No function here keeps a figure in pyplot, so that none has to be closed. This module is not imported with `art_snn`:
write ``from art_snn import plots``.
"""

from art_snn.plots.curves import robust_accuracy
from art_snn.plots.examples import adversarial_examples
from art_snn.plots.losses import attack_losses, loss_curves
from art_snn.plots.raster import spike_raster
from art_snn.plots.rates import firing_rates
from art_snn.plots.spikes import layer_spikes
from art_snn.plots.style import Picture

__all__ = [
    "Picture",
    "adversarial_examples",
    "attack_losses",
    "firing_rates",
    "layer_spikes",
    "loss_curves",
    "robust_accuracy",
    "spike_raster",
]
