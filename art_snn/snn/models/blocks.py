"""What the builders share: the neurons' options, checked, and the encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from art_snn.checks import check_count
from art_snn.snn.encoders import DirectEncoder
from art_snn.snn.network import SpikingNetwork
from art_snn.snn.neurons import LIF


def check_shape(nb_classes: int, in_channels: int, image_size: int, multiple: int) -> None:
    """Raise ValueError unless a network can be built for such inputs and outputs."""
    check_count("nb_classes", nb_classes, least=2)
    check_count("in_channels", in_channels)
    if image_size < multiple or image_size % multiple:
        raise ValueError(f"image_size must be a multiple of {multiple}, got {image_size!r}")


def check_channels(mean: Sequence[float], in_channels: int) -> None:
    """Raise ValueError unless there is one mean a channel."""
    if len(mean) != in_channels:
        raise ValueError(f"mean and std need {in_channels} numbers, one a channel; got {len(mean)}")


def conv_block(in_channels: int, out_channels: int, neuron: LIF, *, bias: bool) -> list[nn.Module]:
    """Return 3x3 convolution, batch norm and neurons."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias), nn.BatchNorm2d(out_channels), neuron]


def make_network(layers: list[nn.Module], encoder: nn.Module | None, time_steps: int) -> SpikingNetwork:
    """Put an encoder before layers: direct encoding, unless another one is given."""
    return SpikingNetwork(DirectEncoder(time_steps=time_steps) if encoder is None else encoder, nn.Sequential(*layers))
