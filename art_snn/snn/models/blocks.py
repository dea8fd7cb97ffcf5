"""What the builders share: the neurons' options, checked, and the encoder."""

from __future__ import annotations

from torch import nn

from art_snn.checks import check_classes
from art_snn.snn.encoders import DirectEncoder
from art_snn.snn.network import SpikingNetwork
from art_snn.snn.neurons import LIF


def check_shape(nb_classes: int, in_channels: int, image_size: int, multiple: int) -> None:
    """Raise ValueError unless a network can be built for such inputs and outputs."""
    check_classes(nb_classes)
    if in_channels < 1:
        raise ValueError(f"in_channels must be >= 1, got {in_channels!r}")
    if image_size < multiple or image_size % multiple:
        raise ValueError(f"image_size must be a multiple of {multiple}, got {image_size!r}")


def conv_block(in_channels: int, out_channels: int, neuron: LIF, *, bias: bool) -> list[nn.Module]:
    """Return 3x3 convolution, batch norm and neurons."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias), nn.BatchNorm2d(out_channels), neuron]


def make_network(layers: list[nn.Module], encoder: nn.Module | None, time_steps: int) -> SpikingNetwork:
    """Put an encoder before layers: direct encoding, unless another one is given."""
    return SpikingNetwork(DirectEncoder(time_steps=time_steps) if encoder is None else encoder, nn.Sequential(*layers))
