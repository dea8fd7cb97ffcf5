"""Searches on inputs, and with settings, of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_snn.errors import GradientWarning
from art_snn.rules import HART
from tests.attacks.searches import (
    Constant,
    clipped,
    correct,
    correct_without_warning,
    watched_iterates,
)
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network


def test_no_samples_and_misclassified_ones_cost_no_gradient(attack):
    classifier, x = clipped()
    search = attack(classifier, eps=0.1, steps=3, batch_size=4)
    none = search.search(x[:0], np.zeros(0, dtype=int))
    assert [len(values) for values in none] == [0] * 5
    assert none.x_adv.shape == (0, 2, 8, 8)
    wrong = (correct(classifier, x) + 1) % 5
    with watched_iterates() as seen:
        found = search.search(x, wrong)
        np.testing.assert_array_equal(search.generate(x, wrong), x)
    assert seen == []
    np.testing.assert_array_equal(found.x_adv, x)
    assert found.broken.all()
    assert (found.step == 0).all()
    assert (found.margin <= 0).all()
    assert (found.forwards == 1).all()


@pytest.mark.parametrize("value", [0.0, float("nan")], ids=["zero", "nan"])
def test_without_a_gradient_nothing_becomes_nan(attack, value):
    classifier, x = clipped()
    y = correct(classifier, x)
    view = classifier.with_rule(Constant(value=value))
    with pytest.warns(GradientWarning, match="all zero" if value == 0 else "NaN or inf"):
        found = attack(view, eps=1e-4, steps=8, batch_size=4).search(x, y)
    assert not found.broken.any()
    assert np.isfinite(found.x_adv).all()
    assert (np.abs(found.x_adv - x) <= 1e-4 * (1 + 1e-6)).all()
    assert np.isfinite(found.margin).all()
    assert (found.step == -1).all()


def test_samples_with_a_gradient_move_beside_those_without(attack):
    classifier, x = clipped()
    x[1] = 0  # nothing fires, so that every gain of HART that is wide enough is there, and a narrow one is not
    y = correct(classifier, x)
    view = classifier.with_rule(HART(gamma=1e-3), warn=False)
    with watched_iterates() as seen:
        found = attack(view, eps=0.01, steps=5, batch_size=4).search(x, y)
    assert np.isfinite(found.x_adv).all()
    assert all(np.isfinite(iterates).all() for iterates in seen)


def test_networks_whose_logits_are_nan_are_not_broken(attack):
    network, x = make_network("plain")
    classifier = small_classifier(network, clip_values=(0, 1), gradient_rule="stbp")
    with torch.no_grad():
        classifier.model.network.body[-1].bias[0] = torch.nan
    with pytest.warns(GradientWarning, match="NaN or inf"):
        found = attack(classifier, eps=0.1, steps=2, batch_size=4).search(x.numpy(), Y)
    assert not found.broken.any()
    np.testing.assert_array_equal(found.x_adv, x.numpy())
    assert np.isinf(found.margin).all()


def test_inputs_outside_the_clip_values_are_brought_in_or_stay(attack):
    classifier, x = clipped()
    x[0, 0, 0, :3] = (1.05, 3.0, -2.0)
    y = correct_without_warning(classifier, x)
    found = attack(classifier, eps=0.1, steps=4, batch_size=4).search(x, y)
    change = np.abs(found.x_adv.astype(np.float64) - x)
    assert (change <= 0.1 * (1 + 1e-6)).all()
    assert ((change == 0) | ((found.x_adv >= 0) & (found.x_adv <= 1))).all()
    np.testing.assert_array_equal(found.x_adv[0, 0, 0, 1:3], x[0, 0, 0, 1:3])


def test_clip_values_may_be_arrays(attack):
    network, x = make_network("plain")
    low, high = np.zeros((2, 1, 1), np.float32), np.array([0.5, 1], np.float32).reshape(2, 1, 1)
    classifier = small_classifier(network, clip_values=(low, high))
    inputs = x.numpy() * high
    found = attack(classifier, eps=0.2, steps=4, batch_size=4).search(inputs, correct(classifier, inputs))
    assert (found.x_adv <= high).all()
    assert (found.x_adv >= low).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": 0}, "eps must be a finite number > 0, got 0"),
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"steps": 1.5}, "steps must be a whole number >= 1, got 1.5"),
        ({"loss": "dlr"}, "loss must be 'cross-entropy' or 'margin', got 'dlr'"),
        ({"first_step": -1}, "first_step must be a finite number > 0, got -1"),
        ({"seed": -1}, "seed must be a whole number in 0 to"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
    ],
)
def test_bad_settings_are_refused(attack, settings, message):
    classifier, _ = clipped()
    with pytest.raises(ValueError, match=message):
        attack(classifier, **settings)
    made = attack(classifier)
    with pytest.raises(ValueError, match=message):
        made.set_params(**settings)


def test_bad_input_is_refused_before_anything_runs(attack):
    classifier, x = clipped()
    search = attack(classifier, eps=0.1, steps=2)
    never = "gradient_and_logits"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(classifier), never, None)
        patch.setattr(type(classifier), "predict", None)
        for options, message in (
            ({"start": x[:2]}, r"start has shape \(2, 2, 8, 8\), expected that of x, \(4, 2, 8, 8\)"),
            ({"start": np.full_like(x, np.nan)}, "holds NaN or inf in 4 of 4 samples"),
            ({"seeds": [1, 2]}, r"seeds must be 4 whole numbers >= 0, one a sample, got \[1, 2\]"),
            ({"seeds": [1, 2, 3, -4]}, "seeds must be 4 whole numbers"),
            ({"seeds": [1, 2, 3, 0.5]}, "seeds must be 4 whole numbers"),
        ):
            with pytest.raises(ValueError, match=message):
                search.search(x, Y, **options)
        with pytest.raises(ValueError, match="x holds NaN or inf in 4 of 4 samples"):
            search.search(x * np.nan, Y)
        with pytest.raises(ValueError, match=r"labels must be classes in 0 to 4 \(nb_classes=5\), got 5"):
            search.search(x, Y + 1)
        with pytest.raises(ValueError, match=r"x has shape \(4, 2, 8\), expected \(N, 2, 8, 8\)"):
            search.search(x[..., 0], Y)
        with pytest.raises(TypeError, match="generate takes x and y, got mask, too"):
            search.generate(x, Y, mask=np.ones_like(x))
        search.targeted = True
        with pytest.raises(ValueError, match="is untargeted; leave targeted False"):
            search.search(x, Y)
    with pytest.raises(ValueError, match='"targeted" cannot be set'):
        search.set_params(targeted=True)
