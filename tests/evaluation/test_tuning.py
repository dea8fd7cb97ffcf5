"""The search for a rule's hyperparameter, and the sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from hypothesis import given
from torch import nn

from art_snn import BPTR, HART, RGA, STBP
from art_snn.attacks import FGSM, PGD, Attack
from art_snn.evaluation import attack_success_rate, tune
from art_snn.evaluation.tuning import candidates, fibonacci_search
from tests.labels import any_form, for_each_form, labels_as

ATTACKS = [FGSM(eps=0.1), PGD(eps=0.1)]


def test_fibonacci_search_finds_every_peak_in_few_steps():
    worst = 0
    for count in range(1, 60):
        for peak in range(count):
            asked = set()

            def score(index: int, peak: int = peak, asked: set[int] = asked) -> tuple[int, float]:
                asked.add(index)
                return -abs(index - peak), 0.0

            assert fibonacci_search(score, count) == peak
            if count == 48:
                worst = max(worst, len(asked))
    assert worst == 8


def art_attack(classifier, attack):
    if attack == FGSM(eps=0.1):
        return FastGradientMethod(classifier, eps=0.1)
    return ProjectedGradientDescent(classifier, eps=0.1, eps_step=0.025, max_iter=7, batch_size=80, verbose=False)


@pytest.mark.parametrize("attack", ATTACKS, ids=["fgsm", "pgd"])
@pytest.mark.parametrize("kind", [HART, STBP])
def test_curve_is_what_the_attacks_do(classifier, digits, attack, kind):
    x, y = digits.x_test[:80], digits.y_test[:80]
    own = classifier.gradient_rule
    curve = tune(kind(), "gamma", classifier, attack, x, y, batch_size=40)
    assert classifier.gradient_rule is own
    assert 8 <= len(curve.values) <= 9
    assert list(curve.values) == sorted(curve.values)
    assert curve.success[curve.values.index(curve.best)].hits == max(share.hits for share in curve.success)
    assert curve.rule == kind(gamma=curve.best)
    assert curve.points() == [[v, s.hits, s.total] for v, s in zip(curve.values, curve.success, strict=True)]
    clean = classifier.predict(x)
    for gamma, share, loss in zip(curve.values, curve.success, curve.losses, strict=True):
        assert round((gamma - 0.1) / 0.05, 6) == round((gamma - 0.1) / 0.05)
        classifier.gradient_rule = kind(gamma=gamma)
        attacked = classifier.predict(art_attack(classifier, attack).generate(x, y))
        assert share == attack_success_rate(clean, attacked, y)
        expected = nn.functional.cross_entropy(torch.from_numpy(attacked), torch.from_numpy(y)).item()
        assert loss == pytest.approx(expected, rel=1e-4)
    classifier.gradient_rule = own


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=["fgsm", "pgd"])
def test_search_ends_as_well_as_the_sweep_with_a_fifth_of_the_values(classifier, digits, attack):
    x, y = digits.x_test[:200], digits.y_test[:200]
    search = tune("hart", "gamma", classifier, attack, x, y)
    sweep = tune("hart", "gamma", classifier, attack, x, y, sweep=True)
    assert len(sweep.values) == 48
    assert len(search.values) <= 48 / 5
    hits = dict(zip(sweep.values, (share.hits for share in sweep.success), strict=True))
    assert [hits[gamma] for gamma in search.values] == [share.hits for share in search.success]
    # The curve is flat at its top and steps by single samples: a search of 8 values may miss that many.
    assert hits[search.best] >= max(hits.values()) - 2


def test_sweep_measures_the_papers_48_values_and_any_attack_is_taken(classifier, digits):
    x, y = digits.x_test[:10], digits.y_test[:10]
    curve = tune("hart", "gamma", classifier, FGSM(eps=0.1), x, y, sweep=True)
    np.testing.assert_allclose(curve.values, np.arange(10, 250, 5) / 100)

    @dataclass(frozen=True)
    class Step(Attack):
        name: ClassVar[str] = "step"
        eps: float = 0.1

        def make(self, source, *, batch_size=128):
            return ProjectedGradientDescent(source, eps=self.eps, eps_step=self.eps, max_iter=1, verbose=False)

    coarse = tune("hart", "gamma", classifier, Step(), x, y, bounds=(0.5, 1.5), step=0.5, sweep=True)
    assert coarse.values == (0.5, 1.0, 1.5)


def test_any_number_of_any_rule_is_tuned_and_the_others_are_kept(classifier, digits):
    x, y = digits.x_test[:10], digits.y_test[:10]
    curve = tune(RGA(), "slope_below", classifier, FGSM(eps=0.1), x, y, bounds=(0.0, 1.0), step=0.25, sweep=True)
    assert curve.values == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert curve.rule == RGA(slope_below=curve.best)
    rules = candidates(STBP(detach_reset=True), "gamma", bounds=(0.5, 1.0), step=0.5)
    assert rules == {0.5: STBP(gamma=0.5, detach_reset=True), 1.0: STBP(gamma=1.0, detach_reset=True)}


def test_black_box_success_is_the_targets(classifier, digits):
    x, y = digits.x_test[:40], digits.y_test[:40]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    from art_snn import LIF, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork

    network = SpikingNetwork(DirectEncoder(time_steps=2), nn.Sequential(body, LIF(), nn.Linear(10, 10)))
    target = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, device_type="cpu")
    options = {"target": target, "bounds": (0.5, 1.0), "step": 0.5, "sweep": True}
    curve = tune("hart", "gamma", classifier, FGSM(eps=0.1), x, y, **options)
    for gamma, share in zip(curve.values, curve.success, strict=True):
        examples = FastGradientMethod(classifier.with_rule(HART(gamma=gamma)), eps=0.1).generate(x, y)
        assert share == attack_success_rate(target.predict(x), target.predict(examples), y)


def test_labels_of_every_form_have_the_curve_of_indices(classifier, digits):
    x, y = digits.x_test[:16], digits.y_test[:16]
    options = {"bounds": (0.5, 1.5), "step": 0.5, "sweep": True}
    expected = tune("hart", "gamma", classifier, FGSM(eps=0.15), x, y, **options)

    @for_each_form
    @given(any_form)
    def check(form):
        assert tune("hart", "gamma", classifier, FGSM(eps=0.15), x, labels_as(form, y, 10), **options) == expected

    check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": np.zeros((0, 1, 8, 8), np.float32)}, "x is empty"),
        ({"y": np.zeros(3, np.int64)}, "y has 3 labels for 4 samples"),
        ({"y": torch.tensor([[0.5]] * 4)}, r"labels must be classes in 0 to 9 \(nb_classes=10\), got 0.5 in y"),
        ({"bounds": (1.0, 0.5)}, r"bounds must be two rising finite numbers, got \(1.0, 0.5\)"),
        ({"bounds": (0.0, 1.0)}, "gamma must be a finite number > 0, got 0.0"),
        ({"step": 0.0}, r"step must be in \(0, 2.35\], got 0.0"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
        ({"field": "gama"}, r"HART\(gamma=1.0\) has no number 'gama' to tune; it has gamma"),
        ({"rule": STBP(), "field": "detach_reset"}, r"has no number 'detach_reset' to tune; it has gamma"),
        ({"rule": BPTR()}, r"BPTR\(\) has no number 'gamma' to tune; it has none"),
        ({"rule": "rga", "field": "slope_below"}, r"slope_below must be in \[0, 1\], got 1.05"),
        ({"rule": "hrat"}, "unknown gradient rule 'hrat'"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(classifier, digits, monkeypatch, options, message):
    monkeypatch.setattr(type(classifier), "predict", lambda *_, **__: pytest.fail("worked"))
    positional = {"rule": "hart", "field": "gamma", "classifier": classifier, "attack": FGSM(eps=0.1)}
    with pytest.raises(ValueError, match=message):
        tune(**{**positional, "x": digits.x_test[:4], "y": digits.y_test[:4], **options})
