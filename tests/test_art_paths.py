"""Whichever way an ART attack takes to a gradient, it gets the rule's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from art.attacks.evasion import (
    AdversarialPatchPyTorch,
    AutoAttack,
    AutoConjugateGradient,
    AutoProjectedGradientDescent,
    DeepFool,
    FastGradientMethod,
    ProjectedGradientDescent,
)
from art.estimators.classification import PyTorchClassifier
from torch import Tensor

from art_snn import HART, GradientRuleModule, PyTorchSNNClassifier
from art_snn.data import Split
from art_snn.engine import unroll_rate

RULE = HART(gamma=0.6)
EPS = 0.1


class Spy:
    """Compares each gradient that flows out of the model with the rule's, for the same gradient flowing in."""

    def __init__(self) -> None:
        self.calls = 0
        self.wrong = 0

    def watch(self, module: GradientRuleModule, x: Tensor, logits: Tensor) -> Tensor:
        incoming: list[Tensor] = []
        inside = x.detach()

        def check(found: Tensor) -> None:
            leaf = inside.clone().requires_grad_()
            with torch.enable_grad():
                reference = unroll_rate(module.network, module.network.encode(leaf), RULE)
                expected = torch.autograd.grad(reference, leaf, grad_outputs=incoming[-1])[0]
            self.calls += 1
            size = expected.abs().max()
            self.wrong += int((found - expected).abs().max() > 1e-4 * size + 1e-12)

        logits.register_hook(lambda grad: incoming.append(grad.clone()))
        x.register_hook(check)
        return logits


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Watch every forward of the model that is asked for a gradient of its input."""
    spy = Spy()
    forward = GradientRuleModule.forward

    def watched(self: GradientRuleModule, x: Tensor) -> Tensor:
        if self.training or not torch.is_grad_enabled() or not x.requires_grad:
            return forward(self, x)
        inner = x.view_as(x)  # a node of this call's own, for the hook
        return spy.watch(self, inner, forward(self, inner))

    monkeypatch.setattr(GradientRuleModule, "forward", watched)
    monkeypatch.setattr(GradientRuleModule, "attack_logits", watched)
    return spy


def patch_attack(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray) -> None:
    attack = AdversarialPatchPyTorch(
        classifier,
        rotation_max=0.0,
        scale_min=0.5,
        scale_max=0.6,
        max_iter=2,
        batch_size=4,
        patch_shape=(1, 4, 4),
        verbose=False,
    )
    attack.generate(x, y)


def auto_attack(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray) -> None:
    attack = AutoAttack(classifier, eps=EPS, eps_step=EPS / 4, batch_size=8)
    attack.attacks = [
        a for a in attack.attacks if isinstance(a, AutoProjectedGradientDescent)
    ]  # the default's gradients
    for member in attack.attacks:
        member.set_params(max_iter=2, nb_random_init=1)
    assert len(attack.attacks) == 2
    attack.generate(x, y)


def evasion(cls: Any, **options: Any) -> Callable[[PyTorchSNNClassifier, np.ndarray, np.ndarray], object]:
    return lambda classifier, x, y: cls(classifier, **options).generate(x, y)


_AUTO = {"eps": EPS, "eps_step": EPS / 4, "max_iter": 3, "nb_random_init": 1, "verbose": False}

# Attack -> how it comes by its gradient.
ATTACKS: dict[str, Callable[[PyTorchSNNClassifier, np.ndarray, np.ndarray], object]] = {
    "fgsm": evasion(FastGradientMethod, eps=EPS),
    "pgd": evasion(ProjectedGradientDescent, eps=EPS, eps_step=EPS / 4, max_iter=3, verbose=False),
    "apgd": evasion(AutoProjectedGradientDescent, **_AUTO),
    "apgd-ce": evasion(AutoProjectedGradientDescent, loss_type="cross_entropy", **_AUTO),
    "apgd-dlr": evasion(AutoProjectedGradientDescent, loss_type="difference_logits_ratio", **_AUTO),
    "acg-ce": evasion(AutoConjugateGradient, loss_type="cross_entropy", **_AUTO),
    "auto-attack": auto_attack,
    "deepfool": evasion(DeepFool, max_iter=2, nb_grads=3, verbose=False),
    "patch": patch_attack,
}


@pytest.fixture(params=ATTACKS)
def attack(request: pytest.FixtureRequest) -> Callable[[PyTorchSNNClassifier, np.ndarray, np.ndarray], object]:
    if request.param == "auto-attack":
        pytest.importorskip("multiprocess")
    if request.param == "patch":
        try:
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"adversarial patches need a torchvision that imports: {error}")
    return ATTACKS[request.param]


def run(attack: Callable[..., object], classifier: PyTorchSNNClassifier, digits: Split) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ART's own, of its own making
        attack(classifier, digits.x_test[:8], np.eye(10, dtype=np.float32)[digits.y_test[:8]])


def test_attack_gets_the_rules_gradient(attack, classifier, digits, spy):
    classifier.gradient_rule = RULE
    run(attack, classifier, digits)
    assert spy.calls > 0
    assert spy.wrong == 0


def test_spy_notices_when_the_rule_is_taken_out(attack, classifier, digits, spy, monkeypatch):
    watched = GradientRuleModule.forward
    monkeypatch.setattr("art_snn.engine.rule_logits", lambda network, rule, x: network(x))
    assert GradientRuleModule.forward is watched
    classifier.gradient_rule = RULE
    run(attack, classifier, digits)
    assert spy.calls > 0
    assert spy.wrong > 0


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
