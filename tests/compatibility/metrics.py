"""Metrics and evaluation."""

from __future__ import annotations

import numpy as np
from art import metrics
from art.attacks import evasion
from art.attacks.inference import membership_inference as membership
from art.evaluations.great_score.great_score import GreatScorePyTorch
from art.evaluations.security_curve import SecurityCurve
from art.metrics.privacy import get_roc_for_fpr, get_roc_for_multi_fprs

from tests.compatibility.probabilities import as_probabilities
from tests.compatibility.table import CLASS, LOSS, QUIET, SHAPES, Case, Table

TABLE = Table()
FAMILY = "Metrics and evaluation"


@TABLE.row("empirical_robustness", FAMILY, "adversarial_accuracy", "empirical_robustness", gradient=[LOSS])
def robustness(case: Case) -> None:
    attack = evasion.FastGradientMethod(case.classifier, eps=0.5)
    share = metrics.adversarial_accuracy(case.classifier, case.x, case.y, attack_crafter=attack)
    assert share == case.accuracy(attack.generate(case.x, case.y), case.y)
    assert metrics.empirical_robustness(case.classifier, case.x, "fgsm", {"eps_step": 0.1, "eps": 1.0}) > 0


@TABLE.row("loss_sensitivity", FAMILY, "loss_sensitivity", "loss_gradient_check", gradient=[LOSS])
def sensitivity(case: Case) -> None:
    assert metrics.loss_sensitivity(case.classifier, case.x, case.y) > 0
    assert not metrics.loss_gradient_check(case.classifier, case.x, case.y, **QUIET)[:, 1:].any()


@TABLE.row("clever", FAMILY, "clever", "clever_t", "clever_u", gradient=[CLASS], no_effect=SHAPES)
def clever(case: Case) -> None:
    target = int((case.labels[0] + 1) % 10)
    assert metrics.clever_t(case.classifier, case.x[0], target, 3, 3, 2.0, norm=2, pool_factor=2) >= 0
    assert metrics.clever_u(case.classifier, case.x[0], 2, 2, 2.0, norm=2, pool_factor=2, **QUIET) >= 0


@TABLE.row("PDTP", FAMILY, "PDTP", "SHAPr", "wasserstein_distance", no_effect=SHAPES)
def privacy(case: Case) -> None:
    other = case.classifier.clone_for_refitting()
    scores, *_ = metrics.PDTP(
        case.classifier, other, case.x_train[:16], case.y_train[:16], indexes=np.array([0, 1]), num_iter=1
    )
    assert scores.shape == (2,)
    values = metrics.SHAPr(case.classifier, case.x_train[:40], case.y_train[:40], case.x_test[:20], case.y_test[:20])
    assert values.shape == (40,)
    assert np.allclose(metrics.wasserstein_distance(case.x, case.x), 0)


@TABLE.row("SecurityCurve", FAMILY, gradient=[LOSS])
def security_curve(case: Case) -> None:
    options = {"max_iter": 2, "eps_step": 0.1}
    _, robust, clean = SecurityCurve(eps=[0.1, 0.4]).evaluate(case.classifier, case.x, case.y, **options)
    assert clean == 1
    assert robust[1] <= robust[0]


@TABLE.row("get_roc_for_fpr", FAMILY, "get_roc_for_fpr", "get_roc_for_multi_fprs")
def worst_case_roc(case: Case) -> None:
    attack = membership.MembershipInferenceBlackBox(case.classifier, attack_model_type="rf")
    attack.fit(case.x_train[:40], case.y_train[:40], case.x_test[:40], case.y_test[:40])
    x, y = (np.concatenate([train[40:80], test[40:80]]) for train, test in _members_and_others(case))
    scores, members = attack.infer(x, y, probabilities=True).ravel(), np.arange(80) < 40
    ((found, hits, _),) = get_roc_for_fpr(scores, members, targeted_fpr=0.3)
    assert 0 <= found <= 0.3
    assert 0 <= hits <= 1
    assert get_roc_for_multi_fprs(scores, members, np.array([0.3]))[:2] == ([found], [hits])


def _members_and_others(case: Case) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return (case.x_train, case.x_test), (case.y_train, case.y_test)


@TABLE.row("GreatScorePyTorch", FAMILY, note="made for probabilities: give the classifier a softmax postprocessor")
def great_score(case: Case) -> None:
    as_probabilities(case.classifier)
    score, accuracy = GreatScorePyTorch(case.classifier).evaluate(case.x, case.y)
    ordered = np.sort(case.classifier.predict(case.x), axis=1)
    assert accuracy == 1
    np.testing.assert_allclose(score, (ordered[:, -1] - ordered[:, -2]).mean(), rtol=1e-5)
