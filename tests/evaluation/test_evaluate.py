"""Rules times attacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from hypothesis import given

from art_snn import HART
from art_snn.attacks import FGSM, PGD, RetimingSpec
from art_snn.errors import UnsupportedInputError
from art_snn.evaluation import accuracy, attack_success_rate, attack_through, evaluate_rules
from tests.evaluation.robustness.networks import poisson
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


def test_a_random_network_is_judged_by_most_draws_not_by_the_luck_of_each_rule(classifier, digits):
    network, x, y = poisson(classifier, time_steps=1), digits.x_test[:96], digits.y_test[:96]
    rules = ["hart", "cba", "bptr", "stbp"]
    *rows, worst = evaluate_rules(network, x, y, rules=rules, attacks=[FGSM(eps=1e-6)], worst=True)
    assert worst.rule == "worst case"
    one_each = np.logical_and.reduce([network.predict(x).argmax(1) == y for _ in rules])
    assert worst.robust_accuracy.value > one_each.mean() + 0.1
    for row in [*rows, worst]:
        assert abs(row.robust_accuracy.value - row.clean_accuracy.value) < 0.15  # 20 draws of a share near a half
        assert row.zero_gradients is not None


def test_the_worst_case_of_a_random_network_is_its_worst_example(classifier, digits):
    network, x, y = poisson(classifier), digits.x_test[:48], digits.y_test[:48]
    options = {"rules": ["cba", "hart"], "attacks": [PGD(eps=0.2)], "worst": True}
    *rows, worst = evaluate_rules(network, x, y, **options)
    assert worst.robust_accuracy.value < min(row.robust_accuracy.value for row in rows) + 0.1
    assert worst.robust_accuracy.value < worst.clean_accuracy.value - 0.2


def test_an_eps_beyond_the_clip_values_is_refused_before_any_work(classifier, digits, monkeypatch):
    monkeypatch.setattr(type(classifier), "predict", None)
    x, y = digits.x_test[:8], digits.y_test[:8]
    with pytest.raises(ValueError, match=r"eps is 8, and the clip values \[0, 1\] a range of 1"):
        evaluate_rules(classifier, x, y, rules=["hart"], attacks=[FGSM(eps=0.1), PGD(eps=8)])
    with pytest.raises(ValueError, match="eps is 8"):
        attack_through(classifier, "hart", PGD(eps=8), x, y)


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
