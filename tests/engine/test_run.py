"""Running a network under a rule: whole sequences, empty batches, what is kept and what is refused."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from art_snn import LIF, DirectEncoder, GradientRuleModule, InexactReplayWarning, SpikingNetwork
from art_snn.engine import run as engine
from art_snn.engine.steps import is_time_blind
from tests.conftest import make_network


def test_body_of_unknown_make_gets_the_whole_sequence():
    seen = []

    class Shift(nn.Module):
        """Adds the step before: it must see all steps at once."""

        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            seen.append(len(x_seq))
            before = torch.cat([torch.zeros_like(x_seq[:1]), x_seq[:-1]])
            return self.neuron(x_seq + before)

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), Shift(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval()
    x = 4 * torch.rand(100, 1, 4, 4)
    assert not is_time_blind(network.body)
    torch.testing.assert_close(engine.simulate(network, x), network(x))
    assert seen == [6, 6]
    with pytest.warns(InexactReplayWarning):
        logits = GradientRuleModule(network).eval()(x.requires_grad_())
    torch.testing.assert_close(logits, network(x))


def test_networks_are_not_kept_alive():
    network, x = make_network("max-pool")
    with pytest.warns(InexactReplayWarning):
        GradientRuleModule(network).eval()(x.clone().requires_grad_())
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None


def test_unknown_family_is_refused():
    network, x = make_network("plain")
    with pytest.raises(TypeError, match="RateRule"):
        engine.rule_logits(network, object(), x.clone().requires_grad_())


def test_empty_batch_has_empty_gradients():
    network, x = make_network("plain")
    for rule in ("hart", "stbp", "rga", "bptr", "rate", "cba"):
        leaf = x[:0].clone().requires_grad_()
        assert torch.autograd.grad(GradientRuleModule(network, rule).eval()(leaf).sum(), leaf)[0].shape == (0, 2, 8, 8)
