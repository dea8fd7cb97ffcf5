"""Unrolled rules, differentiated through the gradients of parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from art_snn.engine.module import rule_logits
from art_snn.engine.unrolling import unroll_rate
from art_snn.rules import get_rule
from tests.conftest import make_network
from tests.reference import RATE_RULES


@pytest.mark.parametrize("name", RATE_RULES)
@pytest.mark.parametrize("kind", ["direct", "event-frame", "residual"])
def test_gradients_through_those_of_parameters_are_the_unrolled_rules(kind, name):
    """Attacks that match gradients differentiate the parameters' gradients by the input."""
    network, x = make_network(kind, dtype=torch.float64)
    rule = get_rule(name)
    weights = list(network.parameters())
    goal = torch.randn(sum(weight.numel() for weight in weights), dtype=torch.float64)

    def through_parameters(logits: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = x.clone().requires_grad_()
        loss = cross_entropy(logits(leaf), torch.arange(len(x)))
        found = torch.autograd.grad(loss, weights, create_graph=True)
        match = cosine_similarity(torch.cat([grad.flatten() for grad in found]), goal, dim=0)
        return torch.autograd.grad(match, leaf)[0]

    replayed = through_parameters(lambda leaf: rule_logits(network, rule, leaf))
    unrolled = through_parameters(lambda leaf: unroll_rate(network, network.encode(leaf), rule))
    surrogate = through_parameters(network)
    size = unrolled.abs().max()
    assert size > 0
    torch.testing.assert_close(replayed, unrolled, rtol=1e-9, atol=1e-12 * size.item())
    assert (surrogate - unrolled).abs().max() > 1e-2 * size
