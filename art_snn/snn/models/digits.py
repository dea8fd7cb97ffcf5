"""Small networks for small images."""

from __future__ import annotations

from functools import partial

from torch import nn

from art_snn.checks import check_count
from art_snn.snn.dynamics import Reset
from art_snn.snn.models.blocks import make_network
from art_snn.snn.network import SpikingNetwork
from art_snn.snn.neurons import LIF


def digits_net(
    *,
    time_steps: int = 8,
    decay: float = 0.9,
    threshold: float = 1.0,
    reset: Reset = "hard",
    nb_classes: int = 10,
    encoder: nn.Module | None = None,
) -> SpikingNetwork:
    """Build a convolutional SNN for 8x8 grey images: 32C3-A2-64C3-A2-128-K, 53,226 parameters for ten classes.

    Args:
        time_steps: T of the direct encoding, >= 1.
        decay: Membrane retention lambda, in (0, 1].
        threshold: Firing threshold, > 0.
        reset: "hard" or "soft".
        nb_classes: K, >= 2.
        encoder: Another encoder than direct encoding; ``time_steps`` is unused then.

    Returns:
        A network from images (N, 1, 8, 8) in [0, 1] to logits (N, K), in training mode.

    Raises:
        ValueError: A value is out of its range.
    """
    check_count("nb_classes", nb_classes, least=2)
    lif = partial(LIF, decay=decay, threshold=threshold, reset=reset)
    layers = [
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        lif(),
        nn.AvgPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        lif(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 128, bias=False),
        nn.BatchNorm1d(128),
        lif(),
        nn.Linear(128, nb_classes),
    ]
    return make_network(layers, encoder, time_steps)
