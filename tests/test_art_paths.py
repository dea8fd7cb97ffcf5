"""Attacks that build another classifier around the model get the values of `loss_gradient`; an attack has its effect.

Every attack of ART is in tests/compatibility.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from art_snn.engine.run import rule_logits
from art_snn.engine.unrolling import unroll_rate
from art_snn.rules import get_rule
from tests.conftest import make_network
from tests.reference import RATE_RULES
from tests.spy import RULE

EPS = 0.1


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


@pytest.mark.parametrize("loss_type", ["cross_entropy", "difference_logits_ratio"])
def test_attacks_that_rebuild_a_plain_classifier_get_loss_gradients_values(classifier, digits, loss_type):
    classifier.gradient_rule = RULE
    x, y = digits.x_test[:8], np.eye(10, dtype=np.float32)[digits.y_test[:8]]
    attack = AutoProjectedGradientDescent(
        classifier, eps=EPS, eps_step=EPS / 4, max_iter=2, loss_type=loss_type, verbose=False
    )
    assert type(attack.estimator) is PyTorchClassifier
    assert attack.estimator.model is classifier.model
    np.testing.assert_allclose(
        attack.estimator.class_gradient(x[:2], label=3), classifier.class_gradient(x[:2], label=3), rtol=1e-4, atol=1e-7
    )
    if loss_type == "cross_entropy":
        found, expected = attack.estimator.loss_gradient(x, y), classifier.loss_gradient(x, y)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_attack_stays_in_its_ball(classifier, digits):
    x, y = digits.x_test[:64], digits.y_test[:64]
    clean = (classifier.predict(x).argmax(1) == y).mean()
    attacked = ProjectedGradientDescent(classifier, eps=0.4, eps_step=0.1, max_iter=10, verbose=False).generate(x, y)
    assert np.abs(attacked - x).max() <= 0.4 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert clean > 0.8
    assert (classifier.predict(attacked).argmax(1) == y).mean() < 0.05
