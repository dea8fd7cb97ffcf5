"""A VGG that two cores can train."""

from __future__ import annotations

from torch import nn

from art_snn.encoders import DirectEncoder
from art_snn.network import Normalize, SpikingNetwork
from art_snn.neurons import LIF
from art_snn.types import Reset

_WIDTHS = (32, "A", 64, "A", 128, 128, "A", 256)


def vgg_small(
    *,
    time_steps: int = 4,
    decay: float = 0.9,
    threshold: float = 1.0,
    reset: Reset = "hard",
    nb_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    encoder: nn.Module | None = None,
) -> SpikingNetwork:
    """Build a small VGG: 32-A-64-A-128x2-A-256-K, 577,578 parameters for 32x32 RGB images and ten classes.

    Every convolution is 3x3 with batch norm and LIF neurons, A averages 2x2. The first layer brings pixels to [-2, 2].

    Args:
        time_steps: T of the direct encoding, >= 1.
        decay: Membrane retention lambda, in (0, 1].
        threshold: Firing threshold, > 0.
        reset: "hard" or "soft".
        nb_classes: K, >= 2.
        in_channels: Channels of the input, >= 1.
        image_size: Height and width of the input, a multiple of 8.
        encoder: Another encoder than direct encoding; ``time_steps`` is unused then.

    Returns:
        A network from images (N, C, H, W) in [0, 1] to logits (N, K), in training mode.

    Raises:
        ValueError: A value is out of its range.
    """
    if nb_classes < 2:
        raise ValueError(f"nb_classes must be >= 2, got {nb_classes!r}")
    if image_size < 8 or image_size % 8:
        raise ValueError(f"image_size must be a multiple of 8, got {image_size!r}")
    layers: list[nn.Module] = [Normalize([0.5] * in_channels, [0.25] * in_channels)]
    channels = in_channels
    for width in _WIDTHS:
        if isinstance(width, str):
            layers.append(nn.AvgPool2d(2))
        else:
            neuron = LIF(decay=decay, threshold=threshold, reset=reset)
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), neuron]
            channels = width
    layers += [nn.Flatten(), nn.Linear(channels * (image_size // 8) ** 2, nb_classes)]
    return SpikingNetwork(DirectEncoder(time_steps=time_steps) if encoder is None else encoder, nn.Sequential(*layers))
