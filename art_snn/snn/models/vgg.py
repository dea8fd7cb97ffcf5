"""VGGs as the SNN attack literature uses them, and one that two cores can train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from art_snn.checks import check_count
from art_snn.snn.encoders import EventFrameEncoder
from art_snn.snn.models.blocks import CIFAR10_MEAN, CIFAR10_STD, check_shape, conv_layers, make_network, make_neuron
from art_snn.snn.models.table import register_architecture
from art_snn.snn.network import Normalize, SpikingNetwork


@register_architecture("VGG-11", multiple=8)
def vgg11(
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
    """Build the VGG-11 of the papers: 64-A-128-256-A-512x3-A-512x2, then 4096-4096-K.

    Every convolution is 3x3 with batch norm and LIF neurons, A averages 2x2. 61,377,034 parameters for 32x32 images of
    three channels and ten classes. The input normalisation is the first layer.

    Args:
        time_steps: T of the direct encoding, >= 1.
        nb_classes: K, >= 2.
        in_channels: Channels of the input, >= 1.
        image_size: Height and width of the input, a multiple of 8.
        mean: Mean of each channel; CIFAR-10's by default.
        std: Standard deviation of each channel; CIFAR-10's by default.
        encoder: Another encoder than direct encoding; ``time_steps`` is unused then.
        **neuron: Options of the neurons: ``decay``, ``threshold``, ``reset`` and others of `make_neuron`.

    Returns:
        A network from images (N, C, H, W) in [0, 1] to logits (N, K), in training mode.

    Raises:
        ValueError: A value is out of its range.
    """
    check_shape(nb_classes, in_channels, image_size, 8, mean)
    lif = make_neuron(**neuron)
    plan = (64, "A", 128, 256, "A", 512, 512, 512, "A", 512, 512)
    layers = [Normalize(mean, std), *conv_layers(plan, in_channels, lif, bias=True), nn.Flatten()]
    layers += [nn.Linear(512 * (image_size // 8) ** 2, 4096), lif(), nn.Linear(4096, 4096), lif()]
    return make_network([*layers, nn.Linear(4096, nb_classes)], encoder, time_steps)


@register_architecture("small VGG", multiple=8)
def vgg_small(
    *,
    time_steps: int = 4,
    nb_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    width: int = 16,
    encoder: nn.Module | None = None,
    **neuron: Any,
) -> SpikingNetwork:
    """Build a VGG that two cores can train: w-A-3w-A-6wx2-A-12w-K, 329,274 parameters for RGB, 32x32, K = 10, w = 16.

    Convolutions and A are those of `vgg11`, and so are arguments, result and errors; ``width`` is the number of
    channels of the first layer, w, >= 1. It is narrow, since most of the time goes to the neurons of the first layer.
    The input normalisation brings pixels to [-2, 2].
    """
    check_shape(nb_classes, in_channels, image_size, 8)
    check_count("width", width)
    plan = (width, "A", 3 * width, "A", 6 * width, 6 * width, "A", 12 * width)
    normalize = Normalize([0.5] * in_channels, [0.25] * in_channels)
    layers = [normalize, *conv_layers(plan, in_channels, make_neuron(**neuron)), nn.Flatten()]
    layers += [nn.Linear(12 * width * (image_size // 8) ** 2, nb_classes)]
    return make_network(layers, encoder, time_steps)


@register_architecture("VGG-DVS", events=True, multiple=16)
def vgg_dvs(
    *, nb_classes: int = 10, in_channels: int = 2, image_size: int = 48, width: int = 64, **neuron: Any
) -> SpikingNetwork:
    """Build the VGG-DVS of the papers for event frames: 64-128-A-256x2-A-512x2-A-512x2-A-K.

    Convolutions and A are those of `vgg11`, and so are errors and arguments, but that ``image_size`` is a multiple of
    16, ``in_channels`` are the polarities, and ``width`` is the number of channels of the first layer, w, >= 1; the
    others have 2w, 4w and 8w. 9,271,498 parameters for two polarities, 48x48 and ten classes. Counts of events need no
    normalisation.

    Returns:
        A network from event frames (N, T, C, H, W) to logits (N, K), in training mode; T is read off the frames.
    """
    check_shape(nb_classes, in_channels, image_size, 16)
    check_count("width", width)
    w = width
    plan = (w, 2 * w, "A", 4 * w, 4 * w, "A", 8 * w, 8 * w, "A", 8 * w, 8 * w, "A")
    layers = conv_layers(plan, in_channels, make_neuron(**neuron), bias=True)
    layers += [nn.Flatten(), nn.Linear(8 * w * (image_size // 16) ** 2, nb_classes)]
    return make_network(layers, EventFrameEncoder(), 1)
