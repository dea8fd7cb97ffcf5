"""Training and evaluation mode for a while."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from art_snn.snn.modes import evaluating, mode
from tests.conftest import make_network


def test_modes_come_back_after_an_exception():
    network, x = make_network("poisson")
    network.body[1].train()
    flags = [module.training for module in network.modules()]
    state = network.encoder.generator.get_state()

    def fail() -> None:
        with evaluating(network):
            network(x)
            assert not network.body[1].training
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [module.training for module in network.modules()] == flags
    assert torch.equal(network.encoder.generator.get_state(), state)
    layer = nn.Dropout()
    with mode(layer):
        assert not layer.training
    assert layer.training
