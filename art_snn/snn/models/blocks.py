"""What the builders share: their neurons, checks of shapes, a convolution with its neurons, and the encoder."""

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

Neuron = Callable[[], nn.Module]

_LIF = partial(LIF, decay=0.9)


def make_neuron(neuron: Callable[..., nn.Module] = _LIF, **options: Any) -> Neuron:
    """Return a maker of neurons.

    Args:
        neuron: Class of the neurons.
        **options: Its keyword arguments: those of `LIF` are ``decay`` (0.9 here), ``threshold``, ``reset`` and
            ``surrogate``.
    """
    return partial(neuron, **options)


def check_shape(nb_classes: int, in_channels: int, image_size: int, multiple: int) -> None:
    """Raise ValueError unless a network can be built for such inputs and outputs."""
    check_count("nb_classes", nb_classes, least=2)
    check_count("in_channels", in_channels)
    if image_size < multiple or image_size % multiple:
        raise ValueError(f"image_size must be a multiple of {multiple}, got {image_size!r}")


def check_channels(mean: Sequence[float], in_channels: int) -> None:
    """Raise ValueError unless there is one mean per channel."""
    if len(mean) != in_channels:
        raise ValueError(f"mean and std need {in_channels} numbers, one per channel; got {len(mean)}")


def conv_block(in_channels: int, out_channels: int, neuron: nn.Module, *, bias: bool) -> list[nn.Module]:
    """Return 3x3 convolution, batch norm and neurons."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias), nn.BatchNorm2d(out_channels), neuron]


def make_network(layers: list[nn.Module], encoder: nn.Module | None, time_steps: int) -> SpikingNetwork:
    """Put an encoder before layers: direct encoding, unless another one is given."""
    return SpikingNetwork(DirectEncoder(time_steps=time_steps) if encoder is None else encoder, nn.Sequential(*layers))
