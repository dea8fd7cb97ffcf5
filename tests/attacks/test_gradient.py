"""The built-in attacks: values that make ART's attack objects."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent

from art_snn.attacks import FGSM, PAPER_STEP, PAPER_STEPS, PGD, ClipOnly


def test_fgsm_is_arts(classifier, digits):
    attack = FGSM(eps=0.1).make(classifier, batch_size=7)
    assert isinstance(attack, FastGradientMethod)
    assert (attack.estimator, attack.eps, attack.batch_size) == (classifier, 0.1, 7)
    x, y = digits.x_test[:10], digits.y_test[:10]
    np.testing.assert_array_equal(attack.generate(x, y), FastGradientMethod(classifier, eps=0.1).generate(x, y))


def test_pgd_is_arts_as_the_papers_run_it(classifier, digits):
    assert (PAPER_STEP, PAPER_STEPS) == (2 / 255, 7)
    x, y = digits.x_test[:10], digits.y_test[:10]
    for spec, step, steps in ((PGD(eps=0.1), 0.025, 7), (PGD(eps=0.1, eps_step=0.02, steps=3), 0.02, 3)):
        attack = spec.make(classifier, batch_size=7)
        assert isinstance(attack, ProjectedGradientDescent)
        assert (attack.eps, attack.eps_step, attack.max_iter, attack.num_random_init) == (0.1, step, steps, 0)
        expected = ProjectedGradientDescent(classifier, eps=0.1, eps_step=step, max_iter=steps, verbose=False)
        np.testing.assert_array_equal(attack.generate(x, y), expected.generate(x, y))
    assert PGD(eps=0.1, restarts=2).make(classifier).num_random_init == 2


def test_clip_only_clips(classifier):
    x = np.array([[-1.0, 0.5, 3.0]], dtype=np.float32)
    np.testing.assert_array_equal(ClipOnly().make(classifier).generate(x), [[0.0, 0.5, 1.0]])
    assert ClipOnly().eps == 0


def test_attacks_are_values():
    assert PGD(eps=0.1) == PGD(eps=0.1, eps_step=0.025)
    assert len({FGSM(eps=0.1), FGSM(eps=0.1), FGSM(eps=0.2), PGD(eps=0.1)}) == 3
    assert repr(PGD(eps=0.1)) == "PGD(eps=0.1, eps_step=0.025, steps=7, restarts=0)"
    assert [kind.title for kind in (FGSM, PGD, ClipOnly)] == ["FGSM", "PGD", "clip only"]
    with pytest.raises(FrozenInstanceError):
        FGSM().eps = 1


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (FGSM, {"eps": 0}, "eps must be a finite number > 0, got 0"),
        (FGSM, {"eps": float("nan")}, "eps must be a finite number > 0, got nan"),
        (PGD, {"eps": "0.1"}, "eps must be a finite number > 0, got '0.1'"),
        (PGD, {"eps_step": -0.1}, "eps_step must be a finite number > 0, got -0.1"),
        (PGD, {"steps": 0}, "steps must be a whole number >= 1, got 0"),
        (PGD, {"restarts": -1}, "restarts must be a whole number >= 0, got -1"),
    ],
)
def test_bad_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)
