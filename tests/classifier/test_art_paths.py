"""Attacks that build another classifier around the model get `loss_gradient`'s values; an attack has its effect."""

from __future__ import annotations

import numpy as np
import pytest
from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier

from tests.spy import RULE

EPS = 0.1


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
