"""What the builders share: the neurons' options, checked, and the encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from art_snn.encoders import DirectEncoder
from art_snn.network import SpikingNetwork
from art_snn.neurons import LIF


def check_classes(nb_classes: int) -> None:
    """Raise ValueError unless there are two classes or more."""
    if nb_classes < 2:
        raise ValueError(f"nb_classes must be >= 2, got {nb_classes!r}")


def check_shape(nb_classes: int, in_channels: int, image_size: int, multiple: int) -> None:
    """Raise ValueError unless a network can be built for such inputs and outputs."""
    check_classes(nb_classes)
    if in_channels < 1:
        raise ValueError(f"in_channels must be >= 1, got {in_channels!r}")
    if image_size < multiple or image_size % multiple:
        raise ValueError(f"image_size must be a multiple of {multiple}, got {image_size!r}")


def check_channels(mean: Sequence[float], in_channels: int) -> None:
    """Raise ValueError unless there is one mean a channel."""
    if len(mean) != in_channels:
        raise ValueError(f"mean and std need {in_channels} numbers, one a channel; got {len(mean)}")


def check_width(width: int) -> None:
    """Raise ValueError unless a width is a whole number >= 1."""
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ValueError(f"width must be a whole number >= 1, got {width!r}")


def conv_block(in_channels: int, out_channels: int, neuron: LIF, *, bias: bool) -> list[nn.Module]:
    """Return 3x3 convolution, batch norm and neurons."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias), nn.BatchNorm2d(out_channels), neuron]


def make_network(layers: list[nn.Module], encoder: nn.Module | None, time_steps: int) -> SpikingNetwork:
    """Put an encoder before layers: direct encoding, unless another one is given."""
    return SpikingNetwork(DirectEncoder(time_steps=time_steps) if encoder is None else encoder, nn.Sequential(*layers))
