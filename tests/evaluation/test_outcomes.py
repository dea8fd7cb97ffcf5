"""What an attack does to each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod
from hypothesis import given
from torch import nn

from art_snn import HART, ExampleWarning
from art_snn.attacks import FGSM, PGD, Attack, ClipOnly
from art_snn.evaluation import (
    accuracy,
    attack_success_rate,
    attack_through,
    evaluate_rules,
    tune,
    zero_entries,
    zero_gradients,
)
from art_snn.evaluation.outcomes import correct_samples
from tests.labels import any_form, for_each_form, labels_as


def test_outcome_is_what_the_attack_does_to_each_sample(classifier, digits):
    x, y = digits.x_test[:60], digits.y_test[:60]
    outcome = attack_through(classifier, HART(gamma=0.7), FGSM(eps=0.15), x, y, batch_size=25)
    assert classifier.gradient_rule == HART()
    clean = classifier.predict(x)
    classifier.gradient_rule = HART(gamma=0.7)
    examples = FastGradientMethod(classifier, eps=0.15).generate(x, y)
    attacked = classifier.predict(examples)
    np.testing.assert_array_equal(outcome.correct, clean.argmax(1) == y)
    np.testing.assert_array_equal(outcome.robust, attacked.argmax(1) == y)
    np.testing.assert_array_equal(outcome.changed, [not np.array_equal(a, b) for a, b in zip(x, examples, strict=True)])
    expected = nn.functional.cross_entropy(torch.from_numpy(attacked), torch.from_numpy(y), reduction="none")
    np.testing.assert_allclose(outcome.losses, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(outcome.zero_gradient, zero_gradients(classifier, HART(gamma=0.7), x, y))
    assert attack_through(classifier, None, ClipOnly(), x, y).zero_gradients is None
    assert outcome.clean_accuracy == accuracy(clean, y)
    assert outcome.robust_accuracy == accuracy(attacked, y)
    assert outcome.attack_success_rate == attack_success_rate(clean, attacked, y)
    assert 0 < outcome.attack_success_rate.value < 1


def test_the_own_rule_gives_the_same(classifier, digits):
    x, y = digits.x_test[:20], digits.y_test[:20]
    expected = attack_through(classifier, "hart", PGD(eps=0.1), x, y)
    outcome = attack_through(classifier, None, PGD(eps=0.1), x, y)
    for name in ("correct", "robust", "changed", "losses"):
        np.testing.assert_array_equal(getattr(outcome, name), getattr(expected, name))


def test_labels_of_every_form_have_the_outcome_of_indices(classifier, digits):
    x, y = digits.x_test[:20], digits.y_test[:20]
    expected = attack_through(classifier, "hart", FGSM(eps=0.15), x, y)
    assert 0 < expected.attack_success_rate.value < 1

    @for_each_form
    @given(any_form)
    def check(form):
        labels = labels_as(form, y, 10)
        outcome = attack_through(classifier, "hart", FGSM(eps=0.15), torch.from_numpy(x), labels)
        for name in ("correct", "robust", "changed", "losses", "zero_gradient"):
            np.testing.assert_array_equal(getattr(outcome, name), getattr(expected, name))
        np.testing.assert_array_equal(zero_gradients(classifier, "hart", x, labels), expected.zero_gradient)
        np.testing.assert_array_equal(correct_samples(classifier, x, labels, 7), expected.correct)

    check()


def test_samples_may_be_a_list_as_for_predict(classifier, digits):
    x, y = digits.x_test[:6], digits.y_test[:6]
    expected = attack_through(classifier, "hart", FGSM(eps=0.15), x, y)
    for form in (x.tolist(), list(x), tuple(torch.from_numpy(x)), x.astype(np.float64).tolist()):
        outcome = attack_through(classifier, "hart", FGSM(eps=0.15), form, y.tolist())
        for name in ("correct", "robust", "changed", "losses", "zero_entry"):
            np.testing.assert_array_equal(getattr(outcome, name), getattr(expected, name))
    curve = tune("hart", "gamma", classifier, FGSM(eps=0.15), x.tolist(), y, bounds=(1.0, 1.05), sweep=True)
    assert curve.success[0] == expected.attack_success_rate
    with pytest.raises(ValueError, match="x must hold rows of one length"):
        attack_through(classifier, "hart", FGSM(eps=0.15), [x[0], x[1, :, :3]], y[:2])
    options = {"rules": ["hart"], "attacks": [FGSM(eps=0.15), PGD(eps=0.1, steps=1)], "batch_size": np.int64(128)}
    row, _ = evaluate_rules(classifier, x.tolist(), y, **options)
    assert row.robust_accuracy == expected.robust_accuracy


def test_what_is_no_classifier_of_ours_is_refused(classifier, digits):
    x, y, network = digits.x_test[:2], digits.y_test[:2], classifier.model.network
    for call in (
        lambda: attack_through(network, "hart", FGSM(eps=0.1), x, y),
        lambda: evaluate_rules(network, x, y, rules=["hart"], attacks=[FGSM(eps=0.1)]),
    ):
        with pytest.raises(TypeError, match="must be a PyTorchSNNClassifier around the network, got SpikingNetwork"):
            call()


def test_what_is_known_of_samples_is_a_truth_value_each(classifier, digits):
    x, y = digits.x_test[:4], digits.y_test[:4]
    known = np.array([True, False, True, True])
    for form in (known, torch.from_numpy(known), known.tolist()):
        outcome = attack_through(classifier, "hart", FGSM(eps=0.1), x, y, correct=form, zero_gradient=form)
        np.testing.assert_array_equal(outcome.correct, known)
        np.testing.assert_array_equal(outcome.zero_gradient, known)
    for name, wrong in (("correct", known.astype(int)), ("correct", known[:, None]), ("zero_gradient", known[:3])):
        with pytest.raises(ValueError, match=f"{name} must be 4 truth values, as `Outcome.{name}` is, got"):
            attack_through(classifier, "hart", FGSM(eps=0.1), x, y, **{name: wrong})


def test_zero_gradients_are_said_of_each_sample(classifier, digits):
    x, y = digits.x_test[:10].copy(), digits.y_test[:10]
    x[:4] = 0
    found = zero_gradients(classifier, "bptr", x, y, batch_size=3)
    for i in range(10):
        leaf = torch.from_numpy(x[i : i + 1]).requires_grad_()
        model = classifier.model.with_rule("bptr")
        loss = nn.functional.cross_entropy(model(leaf), torch.from_numpy(y[i : i + 1]))
        assert found[i] == (torch.autograd.grad(loss, leaf)[0].abs().max() == 0)
    outcome = attack_through(classifier, "bptr", FGSM(eps=0.1), x, y, zero_gradient=found)
    assert outcome.zero_gradients == found.mean()
    shares = zero_entries(classifier, "bptr", x, y, batch_size=3)
    np.testing.assert_array_equal(shares == 1, found)
    outcome = attack_through(classifier, "bptr", FGSM(eps=0.1), x, y, zero_entry=shares)
    assert (outcome.zero_gradients, outcome.zero_entries) == (found.mean(), shares.mean())
    assert attack_through(classifier, "bptr", FGSM(eps=0.1), x, y).zero_entries == shares.mean()
    for wrong in (shares[:3], shares + 1.5, shares - 1.5):
        with pytest.raises(ValueError, match="zero_entry must be 10 shares in"):
            attack_through(classifier, "bptr", FGSM(eps=0.1), x, y, zero_entry=wrong)


@pytest.mark.filterwarnings("ignore::art_snn.errors.InputRangeWarning")
def test_clipping_alone_changes_what_is_out_of_its_range(classifier, digits):
    x, y = digits.x_test[:10].copy(), digits.y_test[:10]
    assert not attack_through(classifier, None, ClipOnly(), x, y).changed.any()
    x[3:] *= 3
    outcome = attack_through(classifier, None, ClipOnly(), x, y)
    np.testing.assert_array_equal(outcome.changed, [False] * 3 + [True] * 7)
    np.testing.assert_array_equal(outcome.robust, classifier.predict(np.clip(x, 0, 1)).argmax(1) == y)


def test_bad_arguments_are_refused_before_any_work(classifier, digits):
    x, y = digits.x_test[:4], digits.y_test[:4]
    for samples, labels, rule, batch_size, message in (
        (x[:0], y[:0], "hart", 8, "x is empty: there is nothing to attack"),
        (x, y[:2], "hart", 8, "y has 2 labels for 4 samples"),
        (x, y + 7, "hart", 8, "labels must be classes in 0 to 9"),
        (x, torch.tensor(y) + 0.5, "hart", 8, "labels must be classes in 0 to 9"),
        (x, np.full((4, 10), 0.1), "hart", 8, "row 0 of y has several largest entries"),
        (np.where(x == x.max(), np.nan, x), y, "hart", 8, "x holds NaN or inf"),
        (x, y, "hart", 0, "batch_size must be a whole number >= 1, got 0"),
        (np.array(0.5), y, "hart", 8, r"x has shape \(\), expected \(N, 1, 8, 8\)"),
        (x, y, "hrat", 8, "unknown gradient rule 'hrat'"),
    ):
        with pytest.raises(ValueError, match=message):
            attack_through(classifier, rule, FGSM(eps=0.1), samples, labels, batch_size=batch_size)
        with pytest.raises(ValueError, match=message):
            zero_gradients(classifier, rule, samples, labels, batch_size=batch_size)


def test_inputs_in_double_are_not_changed_by_their_rounding(classifier, digits):
    x = digits.x_test[:4].astype(np.float64) + 1e-12
    outcome = attack_through(classifier, HART(gamma=1e-6), FGSM(eps=0.1), x, digits.y_test[:4])
    assert outcome.zero_gradient.all()
    assert not outcome.changed.any()


def test_what_is_no_attack_is_refused_before_any_work(classifier, digits, monkeypatch):
    monkeypatch.setattr(type(classifier), "predict", None)
    for wrong in ("pgd", PGD):
        with pytest.raises(TypeError, match=r"an attack must be an Attack such as FGSM\(eps=0.1\), got"):
            attack_through(classifier, "hart", wrong, digits.x_test[:2], digits.y_test[:2])
        with pytest.raises(TypeError, match="an attack must be an Attack"):
            tune("hart", "gamma", classifier, wrong, digits.x_test[:2], digits.y_test[:2])


@dataclass(frozen=True, kw_only=True)
class Cheat(Attack):
    """Makes examples that it may not make."""

    name: ClassVar[str] = "cheat"
    eps: float = 0.1
    how: str = "nan"

    def make(self, classifier: object, *, batch_size: int = 128) -> object:
        cheat = self

        class Made:
            def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
                made = np.clip(x + cheat.eps * (x < 0.5) - cheat.eps * (x >= 0.5), 0, 1)
                if cheat.how == "nan":
                    made[:7, 0, 2] = np.nan
                elif cheat.how == "far":
                    made[:7] = 1 - x[:7]
                elif cheat.how == "out of range":
                    made[:7] = x[:7] - cheat.eps
                return made

        return Made()


@pytest.mark.parametrize("how", ["nan", "far", "out of range"])
def test_an_example_that_may_not_be_is_no_success(how, classifier, digits):
    x, y = digits.x_test[:40], digits.y_test[:40]
    with pytest.warns(ExampleWarning, match="7 of 40 examples of Cheat"):
        found = attack_through(classifier, "hart", Cheat(how=how), x, y)
    fair = attack_through(classifier, "hart", Cheat(how="fair"), x, y)
    np.testing.assert_array_equal(found.robust[:7], found.correct[:7])
    np.testing.assert_array_equal(found.robust[7:], fair.robust[7:])
    assert not found.changed[:7].any()
    assert fair.changed.all()
    assert np.isfinite(found.losses).all()
