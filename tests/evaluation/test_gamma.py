"""The search for gamma, and the sweep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from torch import nn

from art_snn import HART
from art_snn.evaluation import make_pgd, tune_gamma
from art_snn.evaluation.gamma import fibonacci_search
from art_snn.evaluation.metrics import attack_success_rate


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


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_curve_is_what_the_attacks_do(classifier, digits, attack):
    x, y = digits.x_test[:80], digits.y_test[:80]
    own = classifier.gradient_rule
    curve = tune_gamma(classifier, attack, x, y, eps=0.1, batch_size=40)
    assert classifier.gradient_rule is own
    assert 8 <= len(curve.gammas) <= 9
    assert list(curve.gammas) == sorted(curve.gammas)
    assert curve.success[curve.gammas.index(curve.best)].hits == max(share.hits for share in curve.success)
    clean = classifier.predict(x)
    for gamma, share, loss in zip(curve.gammas, curve.success, curve.losses, strict=True):
        assert round((gamma - 0.1) / 0.05, 6) == round((gamma - 0.1) / 0.05)
        classifier.gradient_rule = HART(gamma=gamma)
        maker = FastGradientMethod(classifier, eps=0.1) if attack == "fgsm" else make_pgd(classifier, 0.1, 80)
        attacked = classifier.predict(maker.generate(x, y))
        assert share == attack_success_rate(clean, attacked, y)
        expected = nn.functional.cross_entropy(torch.from_numpy(attacked), torch.from_numpy(y)).item()
        assert loss == pytest.approx(expected, rel=1e-4)
    classifier.gradient_rule = own


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_search_ends_as_well_as_the_sweep_with_a_fifth_of_the_values(classifier, digits, attack):
    x, y = digits.x_test[:200], digits.y_test[:200]
    search = tune_gamma(classifier, attack, x, y, eps=0.1)
    sweep = tune_gamma(classifier, attack, x, y, eps=0.1, sweep=True)
    assert len(sweep.gammas) == 48
    assert len(search.gammas) <= 48 / 5
    hits = dict(zip(sweep.gammas, (share.hits for share in sweep.success), strict=True))
    assert [hits[gamma] for gamma in search.gammas] == [share.hits for share in search.success]
    # The curve is flat at its top and steps by single samples: a search of 8 values may miss that many.
    assert hits[search.best] >= max(hits.values()) - 2


def test_fgsm_records_each_batch_once(classifier, digits, monkeypatch):
    passes = []
    shared = type(classifier.model).shared_records

    def spy(self, *args):
        context = shared(self, *args)

        class Spied:
            def __enter__(self):
                passes.append(context.__enter__())
                return passes[-1]

            def __exit__(self, *details):
                return context.__exit__(*details)

        return Spied()

    monkeypatch.setattr(type(classifier.model), "shared_records", spy)
    x, y = digits.x_test[:60], digits.y_test[:60]
    tune_gamma(classifier, "fgsm", x, y, eps=0.1, batch_size=20)
    assert passes[0].passes == 3
    curve = tune_gamma(classifier, "pgd", x, y, eps=0.1, batch_size=20)
    assert passes[1].passes == 3 + 3 * 6 * len(curve.gammas)  # the first of seven steps is shared
    assert passes[1].used == passes[0].used


def test_sweep_measures_the_papers_48_values_and_any_attack_is_taken(classifier, digits):
    x, y = digits.x_test[:10], digits.y_test[:10]
    curve = tune_gamma(classifier, "fgsm", x, y, eps=0.1, sweep=True)
    np.testing.assert_allclose(curve.gammas, np.arange(10, 250, 5) / 100)

    def make(source, eps, batch_size):
        return ProjectedGradientDescent(source, eps=eps, eps_step=eps, max_iter=1, verbose=False)

    own = tune_gamma(classifier, make, x, y, eps=0.1, bounds=(0.5, 1.5), step=0.5, sweep=True)
    assert own.gammas == (0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "cw"}, "unknown attack 'cw'; known: fgsm, pgd"),
        ({"x": np.zeros((0, 1, 8, 8), np.float32)}, "x is empty"),
        ({"bounds": (1.0, 0.5)}, r"bounds must be two rising finite numbers > 0, got \(1.0, 0.5\)"),
        ({"step": 0.0}, r"step must be in \(0, 2.35\], got 0.0"),
        ({"eps": -1.0}, "eps must be a finite number > 0, got -1.0"),
    ],
)
def test_bad_arguments_are_refused(classifier, digits, options, message):
    arguments = {"attack": "fgsm", "x": digits.x_test[:4], "y": digits.y_test[:4], "eps": 0.1, **options}
    with pytest.raises(ValueError, match=message):
        tune_gamma(classifier, arguments.pop("attack"), arguments.pop("x"), arguments.pop("y"), **arguments)
