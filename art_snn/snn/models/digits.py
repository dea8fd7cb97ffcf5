"""Small networks for small images."""

from __future__ import annotations

from typing import Any

from torch import nn

from art_snn.checks import check_count
from art_snn.snn.models.blocks import conv_layers, make_network, make_neuron
from art_snn.snn.models.table import register_architecture
from art_snn.snn.network import SpikingNetwork


@register_architecture("digits network", fixed_shape=(1, 8, 8))
def digits_net(
    *, time_steps: int = 8, nb_classes: int = 10, encoder: nn.Module | None = None, **neuron: Any
) -> SpikingNetwork:
    """Build a convolutional SNN for 8x8 grey images: 32C3-A2-64C3-A2-128-K, 53,226 parameters for ten classes.

    Arguments, result and errors are those of `vgg11`.
    """
    check_count("nb_classes", nb_classes, least=2)
    lif = make_neuron(**neuron)
    layers = [*conv_layers((32, "A", 64, "A"), 1, lif), nn.Flatten()]
    layers += [nn.Linear(256, 128, bias=False), nn.BatchNorm1d(128), lif(), nn.Linear(128, nb_classes)]
    return make_network(layers, encoder, time_steps)
