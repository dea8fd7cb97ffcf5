"""Small networks for small images."""

from __future__ import annotations

from typing import Any

from torch import nn

from art_snn.checks import check_count
from art_snn.snn.models.blocks import make_network, make_neuron
from art_snn.snn.models.table import register_architecture
from art_snn.snn.network import SpikingNetwork


@register_architecture("digits network", fixed_shape=(1, 8, 8))
def digits_net(
    *,
    time_steps: int = 8,
    nb_classes: int = 10,
    encoder: nn.Module | None = None,
    **neuron: Any,
) -> SpikingNetwork:
    """Build a convolutional SNN for 8x8 grey images: 32C3-A2-64C3-A2-128-K, 53,226 parameters for ten classes.

    Args:
        time_steps: T of the direct encoding, >= 1.
        nb_classes: K, >= 2.
        encoder: Another encoder than direct encoding; ``time_steps`` is unused then.
        **neuron: Options of the neurons: ``decay``, ``threshold``, ``reset`` and others of `make_neuron`.

    Returns:
        A network from images (N, 1, 8, 8) in [0, 1] to logits (N, K), in training mode.

    Raises:
        ValueError: A value is out of its range.
    """
    check_count("nb_classes", nb_classes, least=2)
    lif = make_neuron(**neuron)
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
