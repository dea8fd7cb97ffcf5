"""What the builders share: their neurons, checks of shapes, convolutions with their neurons, and the encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from art_snn.checks import check_count
from art_snn.snn.encoders import DirectEncoder
from art_snn.snn.network import SpikingNetwork
from art_snn.snn.neurons import LIF

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)

_LIF = partial(LIF, decay=0.9)


def make_neuron(neuron: Callable[..., nn.Module] = _LIF, **options: Any) -> Callable[[], nn.Module]:
    """Return a maker of neurons of a class, with its keyword arguments.

    Those of `LIF` are ``decay`` (0.9 here), ``threshold``, ``reset`` and ``surrogate``.
    """
    return partial(neuron, **options)


def check_shape(
    nb_classes: int, in_channels: int, image_size: int, multiple: int, mean: Sequence[float] | None = None
) -> None:
    """Raise ValueError unless a network can be built for such inputs and outputs, and there is one mean per channel."""
    check_count("nb_classes", nb_classes, least=2)
    check_count("in_channels", in_channels)
    if image_size < multiple or image_size % multiple:
        raise ValueError(f"image_size must be a multiple of {multiple}, got {image_size!r}")
    if mean is not None and len(mean) != in_channels:
        raise ValueError(f"mean and std need {in_channels} numbers, one per channel; got {len(mean)}")


def conv_layers(
    plan: Sequence[int | str], channels: int, lif: Callable[[], nn.Module], *, bias: bool = False
) -> list[nn.Module]:
    """Return layers for inputs of some channels: for a width, 3x3 convolution, batch norm and neurons; "A" averages."""
    layers: list[nn.Module] = []
    for entry in plan:
        if isinstance(entry, str):
            layers.append(nn.AvgPool2d(2))
        else:
            layers += [nn.Conv2d(channels, entry, 3, padding=1, bias=bias), nn.BatchNorm2d(entry), lif()]
            channels = entry
    return layers


def make_network(layers: list[nn.Module], encoder: nn.Module | None, time_steps: int) -> SpikingNetwork:
    """Put an encoder before layers: direct encoding, unless another one is given."""
    return SpikingNetwork(DirectEncoder(time_steps=time_steps) if encoder is None else encoder, nn.Sequential(*layers))
