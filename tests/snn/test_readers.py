"""Readers: neurons of another library."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from art_snn import HART, DirectEncoder, GradientRuleModule, SpikingNetwork
from art_snn.engine.unrolling import unroll_rate
from art_snn.snn import readers as adapters
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SpikingSequential
from art_snn.snn.readers import neuron_params, register_reader


def test_foreign_neuron_needs_only_a_reader(monkeypatch):
    class Foreign(nn.Module):
        """A neuron of another library: leak 1 - 1/tau, input weight 1/tau."""

        def __init__(self, tau: float) -> None:
            super().__init__()
            self.tau = tau

        def forward(self, current_seq: Tensor) -> Tensor:
            potential, spikes = torch.zeros_like(current_seq[0]), []
            for current in current_seq:
                potential = potential + (current - potential) / self.tau
                spikes.append((potential >= 1).to(current.dtype))
                potential = torch.where(potential >= 1, 0.0, potential)
            return torch.stack(spikes)

    monkeypatch.setattr(adapters, "_READERS", list(adapters._READERS))

    @register_reader
    def read(module: nn.Module) -> NeuronParams | None:
        return NeuronParams(decay=1 - 1 / module.tau, c=1 / module.tau) if isinstance(module, Foreign) else None

    assert neuron_params(Foreign(2.0)) == NeuronParams(decay=0.5, c=0.5)
    torch.manual_seed(0)
    body = SpikingSequential(
        nn.Flatten(), nn.Linear(16, 12), Foreign(2.0), nn.Linear(12, 12), Foreign(4.0), nn.Linear(12, 3)
    )
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval().double()
    x = (6 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    module = GradientRuleModule(network, HART(gamma=2.0)).eval()
    logits = module(x)
    torch.testing.assert_close(logits, network(x), rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(logits.square().sum(), x)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(x), HART(gamma=2.0)).square().sum(), x)[0]
    assert found.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
