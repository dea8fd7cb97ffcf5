"""Unusual networks have the gradient that brute force gives, for every rule, and a warning where it takes longer."""

from __future__ import annotations

import warnings

import pytest
import torch

from art_snn import GradientRuleModule, InexactReplayWarning
from tests.engine.brute_force import RULES, gradient
from tests.engine.zoo import ZOO
from tests.reference import RATE_RULES

assert len(ZOO) >= 30


@pytest.mark.parametrize("name", ZOO)
def test_gradients_are_those_of_brute_force(name):
    animal = ZOO[name]
    network, x = animal.build()
    weights = torch.linspace(-1, 1.3, 4, dtype=torch.float64)
    nonzero = 0
    for rule in RULES:
        expected_logits, expected = gradient(network, rule, x, weights)
        module = GradientRuleModule(animal.network(network.encoder, network.body).eval(), rule).eval()
        for parameters in (False, True):
            leaf = x.clone().requires_grad_()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                logits = next(module.attack_samples(leaf, parameters=parameters))
            told = [warning.category for warning in caught]
            assert told == ([InexactReplayWarning] if animal.unrolled and rule in RATE_RULES and not parameters else [])
            (found,) = torch.autograd.grad((logits * weights).sum(), leaf)
            torch.testing.assert_close(logits.detach(), expected_logits, rtol=1e-9, atol=1e-9)
            assert (found - expected).norm() <= 1e-6 * expected.norm(), (rule, parameters)
        nonzero += bool(expected.norm() > 0)
    assert nonzero >= 4 or name == "silent_layer"
