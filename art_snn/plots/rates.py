"""How much each layer fires, before and after an attack."""

from __future__ import annotations

from typing import Any

from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array
from art_snn.plots.spikes import mean_rates, same_noise, short_name
from art_snn.plots.style import BLUE, RED, Picture, bare, picture

_BAR = 0.38


def firing_rates(
    classifier: PyTorchSNNClassifier, x: Array, x_adv: Array | None = None, *, batch_size: int = 128
) -> Picture:
    """Draw the mean firing rate of each spiking layer, before and after an attack, as bars.

    The rate is the mean over neurons, time-steps and samples. Networks that `art_snn.adapt` made known work, too.

    Args:
        classifier: The classifier.
        x: Inputs (N, *input_shape), N >= 1.
        x_adv: The same inputs after the attack; None draws the rates of ``x`` alone.
        batch_size: Samples that run at the same time, >= 1.

    Raises:
        TypeError: The classifier is none of art_snn.
        ValueError: Inputs are missing, or ``x`` and ``x_adv`` differ in number.
    """
    if x_adv is not None and len(x_adv) != len(x):
        raise ValueError(f"x has {len(x)} samples and x_adv {len(x_adv)}; give the same ones before and after")
    with same_noise(classifier, x_adv):
        series = [("before", BLUE, mean_rates(classifier, x, batch_size=batch_size))]
        if x_adv is not None:
            series.append(("after", RED, mean_rates(classifier, x_adv, batch_size=batch_size)))
    names = list(series[0][2])
    figure = picture(max(3.6, 1.2 + 0.9 * len(names)), 3.0)
    axes = figure.subplots()
    for number, (label, colour, rates) in enumerate(series):
        offset = (number - (len(series) - 1) / 2) * _BAR
        places = [place + offset for place in range(len(names))]
        bars = axes.bar(places, [rates[name] for name in names], 0.95 * _BAR, color=colour, label=label)
        axes.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    long = max(len(short_name(name)) for name in names) > 9
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if long else {}
    axes.set_xticks(range(len(names)), [short_name(name) for name in names], fontsize=8, **turned)
    axes.set_xlabel("spiking layer, from input to output")
    axes.set_ylabel("mean firing rate\n(spikes a neuron and step)")
    axes.margins(y=0.12)
    bare(axes)
    if x_adv is not None:
        axes.legend(frameon=False, fontsize=8)
    return figure
