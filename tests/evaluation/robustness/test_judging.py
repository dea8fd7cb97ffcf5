"""What counts as misclassified, and the noise that is judged by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from art_snn import PyTorchSNNClassifier
from art_snn.evaluation.robustness import Linf, SignNoise
from art_snn.evaluation.robustness.judging import Judge, seeded
from art_snn.evaluation.robustness.noise import RandomFlips
from tests.evaluation.robustness.networks import like, poisson


def predicting(classifier: PyTorchSNNClassifier, logits: Callable[[np.ndarray], np.ndarray]) -> PyTorchSNNClassifier:
    """Return a view whose logits are a function of inputs (N, ...)."""
    view = classifier.with_rule(classifier.gradient_rule, warn=False)
    view.predict = lambda x, **_: logits(x)
    return view


def broken_off(value: float, column: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return logits of class 3, with another value in a column where the first entry of an input is above 0.5."""

    def logits(x: np.ndarray) -> np.ndarray:
        made = np.tile(np.eye(10, dtype=np.float32)[3], (len(x), 1))
        made[x.reshape(len(x), -1)[:, 0] > 0.5, column] = value
        return made

    return logits


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 3])
def test_logits_that_are_no_numbers_are_neither_right_nor_wrong(classifier, value, column):
    judge = Judge(predicting(classifier, broken_off(value, column)), Linf(0.1), 4, 1)
    x = np.zeros((4, 1, 8, 8), np.float32)
    x[2:, 0, 0, 0] = 1
    y = np.array([3, 0, column, 1 - column // 3])
    np.testing.assert_array_equal(judge.right(x, y), [True, False, False, False])
    np.testing.assert_array_equal(judge.wrong(x, y), [False, True, False, False])


def test_one_draw_that_is_no_number_is_enough(classifier, digits):
    network = poisson(classifier, time_steps=1)
    judge, draws = Judge(network, Linf(0.1), 8, 5), []

    def predict(x: np.ndarray) -> np.ndarray:
        draws.append(broken_off(np.nan, 0)(x) if len(draws) == 3 else broken_off(1.0, 3)(x))
        return draws[-1]

    judge.predict = predict
    x = np.ones((2, 1, 8, 8), np.float32)
    assert not judge.right(x, np.array([3, 4])).any()
    draws.clear()
    assert not judge.wrong(x, np.array([3, 4])).any()
    assert len(draws) == 5


def test_right_is_what_is_not_wrong_where_all_logits_are_numbers(classifier, digits):
    network, x, y = poisson(classifier, time_steps=1), digits.x_test[:40], digits.y_test[:40]
    judge = Judge(network, Linf(0.1), 16, 4)  # also ties of two draws against two
    with seeded(network, 0):
        wrong = judge.wrong(x, y)
    with seeded(network, 0):
        right = judge.right(x, y)
    np.testing.assert_array_equal(right, ~wrong)
    assert 0 < right.sum() < 40
    assert judge.right(x[:0], y[:0]).shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_noise_does_not_break_what_has_no_numbers(classifier, value):
    attack = SignNoise(eps=0.1, steps=3).make(predicting(classifier, broken_off(value, 5)), batch_size=4)
    x = np.ones((2, 1, 8, 8), np.float32)
    found = attack.search(x, np.array([3, 4]))
    assert not found.broken.any()
    assert (found.step == -1).all()
    np.testing.assert_array_equal(found.x_adv, x)
    assert (found.margin == np.inf).all()


def wide(classifier: PyTorchSNNClassifier, low: Any, high: Any) -> PyTorchSNNClassifier:
    """Return a classifier of inputs from low to high."""

    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / torch.tensor(np.max(high), dtype=torch.float32)

    return like(classifier, Scaled(), clip_values=(low, high))


@pytest.mark.parametrize(("high", "eps"), [(1, 0.1), (1, 8 / 255), (255, 0.02), (255, 2.5), (0.7, 0.3)])
def test_sign_noise_stays_inside_eps_to_the_last_bit(classifier, high, eps):
    network = wide(classifier, 0, high)
    x = (
        (np.random.default_rng(0).random((50, 1, 8, 8)) * high)
        .astype(np.float32)
        .clip(0, np.nextafter(np.float32(high), np.float32(0)))
    )
    found = SignNoise(eps=eps, steps=2).make(network, batch_size=50).search(x, network.predict(x).argmax(1))
    assert np.abs(found.x_adv.astype(np.float64) - x).max() <= eps
    assert found.x_adv.min() >= 0
    assert found.x_adv.astype(np.float64).max() <= high
    assert Linf(eps).allows(x, found.x_adv, network.clip_values).all()
    inside = (x > eps) & (x < high - eps)
    moved = np.abs(found.x_adv - x)[inside]
    assert (moved > eps - 2 * np.spacing(np.float32(high))).all()


def test_sign_noise_leaves_entries_alone_that_are_too_far_outside(classifier):
    x = np.full((2, 1, 8, 8), 0.5, np.float32)
    x[:, 0, 0, 0] = 2
    with pytest.warns(UserWarning, match="clip"):
        found = SignNoise(eps=0.1, steps=1).make(classifier, batch_size=2).search(x, np.array([0, 1]))
    assert (found.x_adv[:, 0, 0, 0] == 2).all()
    assert Linf(0.1).allows(x, found.x_adv, classifier.clip_values).all()


def test_noise_of_events_has_no_ball(classifier):
    x = np.zeros((2, 1, 8, 8), np.float32)
    found = RandomFlips(max_flips=5, steps=1).make(classifier, batch_size=2).search(x, np.array([0, 1]))
    np.testing.assert_array_equal((found.x_adv != x).sum((1, 2, 3)), 5 * (found.x_adv != x).any((1, 2, 3)))
    assert set(np.unique(found.x_adv)) == {0, 1}
