"""The networks by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, SpikingNetwork
from art_snn.snn.models import architecture_names, get_architecture, register_architecture, table


def test_every_network_says_what_it_takes():
    assert architecture_names()[:5] == ("digits_net", "resnet17", "vgg11", "vgg_small", "vgg_dvs")
    for name in architecture_names()[:5]:
        entry = get_architecture(name)
        channels, side = (1, 8) if entry.fixed_shape else (3, entry.multiple)
        sizes = {"in_channels": channels, "image_size": side}
        with torch.device("meta"):
            network = entry.build(**{key: size for key, size in sizes.items() if key in entry.options})
        x = torch.zeros(2, *((3,) if entry.events else ()), channels, side, side, device="meta")
        assert network(x).shape == (2, 10)
        assert entry.title
        assert ("width" in entry.options) == (name in ("vgg_small", "vgg_dvs"))
    with pytest.raises(ValueError, match=r"architecture must be 'digits_net', .* or 'vgg_dvs', got 'vgg19'"):
        get_architecture("vgg19")


def test_new_network_is_a_builder_and_a_decorator(monkeypatch):
    monkeypatch.setattr(table, "_ARCHITECTURES", dict(table._ARCHITECTURES))

    @register_architecture("linear network")
    def linear_net(*, nb_classes: int = 10, **neuron: float) -> SpikingNetwork:
        body = nn.Sequential(nn.Flatten(), LIF(**neuron), nn.LazyLinear(nb_classes))
        return SpikingNetwork(DirectEncoder(time_steps=2), body)

    assert get_architecture("linear_net").build is linear_net
    assert get_architecture("linear_net").options == ("nb_classes", "neuron")
    with pytest.raises(ValueError, match=r"the name 'vgg11' is taken by art_snn.snn.models.vgg; choose another"):

        @register_architecture("another")
        def vgg11(**options: object) -> SpikingNetwork:
            raise AssertionError
