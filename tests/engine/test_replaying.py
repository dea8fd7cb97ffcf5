"""The replay: when it is exact, layers that are used twice, outputs that are changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from art_snn import HART, LIF, DirectEncoder, GradientRuleModule, InexactReplayWarning, SpikingNetwork
from art_snn.engine import replaying
from art_snn.engine.recording import record
from art_snn.engine.replaying import replay
from art_snn.engine.unrolling import unroll_rate
from tests.conftest import make_network


def test_max_pool_is_noticed_though_the_logits_agree():
    network, x = make_network("max-pool", dtype=torch.float64)
    x_seq = network.encode(x)
    passed = record(network, x_seq, HART())
    replayed = replay(network, x_seq, HART(), passed)
    torch.testing.assert_close(replayed.logits, passed.logits, rtol=1e-9, atol=1e-9)
    assert len(replayed.inexact) == 1
    assert replayed.inexact[0].startswith("the layer body.6 (off by ")


def test_one_neuron_module_may_be_used_twice():
    torch.manual_seed(0)
    shared, other = LIF(decay=0.7), LIF(decay=0.7)
    layers = [nn.Flatten(), nn.Linear(16, 12), shared, nn.Linear(12, 12), shared, nn.Linear(12, 3)]
    twice = SpikingNetwork(DirectEncoder(time_steps=5), nn.Sequential(*layers)).eval().double()
    layers[4] = other
    apart = SpikingNetwork(DirectEncoder(time_steps=5), nn.Sequential(*layers)).eval().double()
    x = (3 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    grads = [torch.autograd.grad(GradientRuleModule(n).eval()(x).square().sum(), x)[0] for n in (twice, apart)]
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(*grads, rtol=1e-12, atol=0)


def test_one_large_channel_does_not_hide_an_error(monkeypatch):
    network, x = make_network("max-pool", dtype=torch.float64)
    with torch.no_grad():
        network.body[5].bias[0] = -1e6
    monkeypatch.setattr(replaying, "obstacles", lambda *_: ())
    with pytest.warns(InexactReplayWarning, match=r"the layer body\.6"):
        GradientRuleModule(network).eval()(x.requires_grad_())


def test_outputs_may_be_changed_in_place():
    class AddInPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            out = self.neuron(x_seq)
            out += x_seq
            return out

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), AddInPlace(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval().double()
    leaf = (4 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    grads = []
    for logits in (GradientRuleModule(network).eval()(leaf), unroll_rate(network, network.encode(leaf), HART())):
        logits -= 1
        grads.append(torch.autograd.grad(logits.square().sum(), leaf)[0])
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-15)
