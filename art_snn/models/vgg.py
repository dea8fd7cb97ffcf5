"""VGG as the SNN attack literature uses it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from art_snn.encoders import DirectEncoder
from art_snn.network import Normalize, SpikingNetwork
from art_snn.neurons import LIF
from art_snn.types import Reset

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)

_VGG11 = (64, "A", 128, 256, "A", 512, 512, 512, "A", 512, 512)


def vgg11(
    *,
    time_steps: int = 8,
    decay: float = 0.9,
    threshold: float = 1.0,
    reset: Reset = "hard",
    nb_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
    encoder: nn.Module | None = None,
) -> SpikingNetwork:
    """Build the VGG-11 of the papers: 64-A-128-256-A-512x3-A-512x2, then 4096-4096-K.

    Every convolution is 3x3 with batch norm and LIF neurons, A averages 2x2. 61,377,034 parameters for 32x32 images of
    three channels and ten classes. The input normalisation is the first layer.

    Args:
        time_steps: T of the direct encoding, >= 1.
        decay: Membrane retention lambda, in (0, 1].
        threshold: Firing threshold, > 0.
        reset: "hard" or "soft".
        nb_classes: K, >= 2.
        in_channels: Channels of the input.
        image_size: Height and width of the input, a multiple of 8.
        mean: Mean of each channel; CIFAR-10's by default.
        std: Standard deviation of each channel; CIFAR-10's by default.
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
    if len(mean) != in_channels:
        raise ValueError(f"mean and std need {in_channels} numbers, one a channel; got {len(mean)}")

    def lif() -> LIF:
        return LIF(decay=decay, threshold=threshold, reset=reset)

    layers: list[nn.Module] = [Normalize(mean, std)]
    channels = in_channels
    for width in _VGG11:
        if width == "A":
            layers.append(nn.AvgPool2d(2))
        else:
            layers += [nn.Conv2d(channels, int(width), 3, padding=1), nn.BatchNorm2d(int(width)), lif()]
            channels = int(width)
    features = channels * (image_size // 8) ** 2
    layers += [
        nn.Flatten(),
        nn.Linear(features, 4096),
        lif(),
        nn.Linear(4096, 4096),
        lif(),
        nn.Linear(4096, nb_classes),
    ]
    return SpikingNetwork(DirectEncoder(time_steps=time_steps) if encoder is None else encoder, nn.Sequential(*layers))
