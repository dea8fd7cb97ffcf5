"""Rules times attacks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from hypothesis import given

from art_snn import HART
from art_snn.attacks import FGSM, PGD, RetimingSpec
from art_snn.errors import UnsupportedInputError
from art_snn.evaluation import accuracy, attack_success_rate, evaluate_rules
from tests.labels import any_form, for_each_form, labels_as


def test_rows_are_what_the_attacks_do(classifier, digits):
    x, y = digits.x_test[:100], digits.y_test[:100]
    attacks = [FGSM(eps=0.15), PGD(eps=0.15)]
    rows = list(evaluate_rules(classifier, x, y, rules=[HART(gamma=0.7), "cba"], attacks=attacks, batch_size=60))
    assert [(row.rule, row.gamma, row.attack) for row in rows] == [
        ("hart", 0.7, "fgsm"),
        ("hart", 0.7, "pgd"),
        ("cba", None, "fgsm"),
        ("cba", None, "pgd"),
    ]
    assert classifier.gradient_rule == HART()
    clean = classifier.predict(x)
    for row in rows:
        classifier.gradient_rule = HART(gamma=0.7) if row.rule == "hart" else "cba"
        attack = (
            FastGradientMethod(classifier, eps=0.15, batch_size=60)
            if row.attack == "fgsm"
            else ProjectedGradientDescent(
                classifier, eps=0.15, eps_step=0.15 / 4, max_iter=7, batch_size=60, verbose=False
            )
        )
        attacked = classifier.predict(attack.generate(x, y))
        assert row.clean_accuracy == accuracy(clean, y)
        assert row.robust_accuracy == accuracy(attacked, y)
        assert row.attack_success_rate == attack_success_rate(clean, attacked, y)
        assert row.attack_success_rate.value > 0.1
        assert row.seconds > 0


def test_zero_gradients_are_counted_not_warned_of(classifier, digits):
    x = digits.x_test[:10].copy()
    x[:4] = 0
    classifier.gradient_rule = "bptr"
    rows = list(evaluate_rules(classifier, x, digits.y_test[:10], rules=["bptr"], attacks=[FGSM(eps=0.1)]))
    zeros = 0
    for i in range(10):
        leaf = torch.from_numpy(x[i : i + 1]).requires_grad_()
        loss = torch.nn.functional.cross_entropy(classifier.model(leaf), torch.from_numpy(digits.y_test[i : i + 1]))
        zeros += int(torch.autograd.grad(loss, leaf)[0].abs().max() == 0)
    assert rows[0].zero_gradients == zeros / 10


def test_classifier_keeps_its_rule_after_an_error(classifier, digits):
    work = evaluate_rules(
        classifier, digits.x_test[:8], digits.y_test[:8], rules=["cba", "rga"], attacks=[FGSM(eps=0.1), PGD(eps=0.1)]
    )
    assert next(work).rule == "cba"
    assert classifier.gradient_rule == HART()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(classifier), "loss_gradient", None)
        with pytest.raises(TypeError):
            list(work)
    assert classifier.gradient_rule == HART()


def test_labels_of_every_form_have_the_rows_of_indices(classifier, digits):
    x, y = digits.x_test[:16], digits.y_test[:16]
    options = {"rules": ["hart"], "attacks": [FGSM(eps=0.15)]}
    (expected,) = evaluate_rules(classifier, x, y, **options)

    @for_each_form
    @given(any_form)
    def check(form):
        (row,) = evaluate_rules(classifier, x, labels_as(form, y, 10), **options)
        assert replace(row, seconds=0) == replace(expected, seconds=0)

    check()


def test_bad_arguments_are_refused_before_any_work(classifier, digits):
    x, y = digits.x_test[:8], digits.y_test[:8]
    attacks = [FGSM(eps=0.1)]
    with pytest.raises(ValueError, match="x is empty"):
        evaluate_rules(classifier, x[:0], y[:0], rules=["hart"], attacks=attacks)
    with pytest.raises(ValueError, match="y has 7 labels for 8 samples"):
        evaluate_rules(classifier, x, y[:7], rules=["hart"], attacks=attacks)
    with pytest.raises(TypeError, match="y must be an array, a tensor or a list of real numbers, got dtype <U1"):
        evaluate_rules(classifier, x, list("01234567"), rules=["hart"], attacks=attacks)
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1, got 0"):
        evaluate_rules(classifier, x, y, rules=["hart"], attacks=attacks, batch_size=0)
    with pytest.raises(TypeError, match=r"an attack must be an Attack such as FGSM\(eps=0.1\), got 'cw'"):
        evaluate_rules(classifier, x, y, rules=["hart"], attacks=["cw"])
    with pytest.raises(ValueError, match="unknown gradient rule"):
        evaluate_rules(classifier, x, y, rules=["nope"], attacks=attacks)
    with pytest.raises(UnsupportedInputError, match="SpikeRetiming changes event frames"):
        evaluate_rules(classifier, x, y, rules=["stbp"], attacks=[*attacks, RetimingSpec()])
