"""ResNet-17 as the SNN attack literature uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from art_snn.snn.models.blocks import CIFAR10_MEAN, CIFAR10_STD, check_shape, conv_layers, make_network, make_neuron
from art_snn.snn.models.table import register_architecture
from art_snn.snn.network import Normalize, Residual, SpikingNetwork

_STAGES = ((64, 3), (128, 4))  # channels and number of residual blocks


@register_architecture("ResNet-17", multiple=8)
def resnet17(
    *,
    time_steps: int = 8,
    nb_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
    encoder: nn.Module | None = None,
    **neuron: Any,
) -> SpikingNetwork:
    """Build the ResNet-17 of RGA and HART: 64, 3 blocks of 64, 4 blocks of 128, A, 256-K.

    A block is 3x3 convolution, batch norm, neurons, 3x3 convolution, batch norm; neurons follow the sum. The first
    block of each stage halves the image and has a 1x1 convolution as its shortcut. No neurons stand between the two
    linear layers. 1,872,074 parameters for 32x32 images of three channels and ten classes.

    Source: Bu et al., "Rate Gradient Approximation Attack Threats Deep Spiking Neural Networks" (CVPR 2023), and its
    code; 15 convolutions and 2 linear layers make 17.

    Arguments, result and errors are those of `vgg11`.
    """
    check_shape(nb_classes, in_channels, image_size, 8, mean)
    lif = make_neuron(**neuron)
    channels = 64
    layers: list[nn.Module] = [Normalize(mean, std), *conv_layers([channels], in_channels, lif)]
    for width, count in _STAGES:
        for i in range(count):
            layers += [_block(channels, width, 2 if i == 0 else 1, lif), lif()]
            channels = width
    layers += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(channels * (image_size // 8) ** 2, 256), nn.BatchNorm1d(256)]
    return make_network([*layers, nn.Linear(256, nb_classes)], encoder, time_steps)


def _block(in_channels: int, channels: int, stride: int, lif: Callable[[], nn.Module]) -> Residual:
    first = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
    branch = [first, nn.BatchNorm2d(channels), lif()]
    branch += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
    if stride == 1:
        return Residual(nn.Sequential(*branch))
    shortcut = [nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)]
    return Residual(nn.Sequential(*branch), nn.Sequential(*shortcut))
