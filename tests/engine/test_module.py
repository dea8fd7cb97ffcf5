"""Networks that the module refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from art_snn import LIF, DirectEncoder, GradientRuleModule, SpikingNetwork, UnsupportedModelError


def test_spiking_encoder_and_overridden_forward_are_refused():
    encoder = nn.Sequential(DirectEncoder(time_steps=4), LIF())
    with pytest.raises(UnsupportedModelError, match="encoder holds spiking layers"):
        GradientRuleModule(
            SpikingNetwork(encoder, nn.Sequential(nn.Flatten(), nn.Linear(4, 4), LIF(), nn.Linear(4, 2)))
        )

    class Noisy(LIF):
        def forward(self, current_seq: Tensor) -> Tensor:
            return super().forward(current_seq + 0.1)

    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(nn.Linear(4, 4), Noisy(), nn.Linear(4, 2)))
    with pytest.raises(UnsupportedModelError, match=r"Noisy overrides LIF\.forward"):
        network(torch.rand(2, 4))
    with pytest.raises(UnsupportedModelError, match=r"Noisy overrides LIF\.forward"):
        GradientRuleModule(network).eval()(torch.rand(2, 4, requires_grad=True))
