"""The version of SpikingJelly that is installed; a test that imports this is skipped where there is none."""

from __future__ import annotations

import warnings

import pytest
from torch import nn

pytest.importorskip("spikingjelly")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        from spikingjelly.activation_based import functional, layer, neuron, rnn, surrogate
        from spikingjelly.activation_based.model import parametric_lif_net, sew_resnet, spiking_resnet, spiking_vgg
    except ImportError:
        from spikingjelly.clock_driven import functional, layer, neuron, rnn, surrogate
        from spikingjelly.clock_driven.model import parametric_lif_net, sew_resnet, spiking_resnet, spiking_vgg

__all__ = [
    "CLOCK_DRIVEN",
    "JIT",
    "MODES",
    "functional",
    "layer",
    "make_neuron",
    "neuron",
    "parametric_lif_net",
    "rnn",
    "sew_resnet",
    "spiking_resnet",
    "spiking_vgg",
    "surrogate",
]

CLOCK_DRIVEN = "clock_driven" in neuron.__name__
MODES = ["single", "multi"]
JIT = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")


def make_neuron(kind: str, mode: str, **options) -> nn.Module:
    """Make a neuron that takes single steps or sequences."""
    if CLOCK_DRIVEN:
        return getattr(neuron, f"MultiStep{kind}" if mode == "multi" else kind)(**options)
    made = getattr(neuron, kind)(**options)
    made.step_mode = "m" if mode == "multi" else "s"
    return made
