"""Shares and their intervals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from art_snn.evaluation.metrics import accuracy, attack_success_rate, wilson_interval
from tests.labels import FLOATS, any_form, for_each_form, labels_as


@given(total=st.integers(1, 2000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_wilson_ends_solve_the_score_equation(total, share, confidence):
    hits = round(share * total)
    found = wilson_interval(hits, total, confidence)
    z = -math.sqrt(2) * _erfcinv(2 * (1 + confidence) / 2)
    assert 0 <= found.low <= found.value <= found.high <= 1
    for end in (found.low, found.high):
        if 1e-9 < end < 1 - 1e-9:
            assert (hits / total - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / total, rel=1e-4)


def _erfcinv(y: float) -> float:
    from scipy.special import erfcinv

    return float(erfcinv(y))


def test_shares_by_hand():
    clean = np.eye(3)[[0, 1, 2, 0, 1]]
    attacked = np.eye(3)[[0, 2, 2, 1, 2]]
    labels = np.array([0, 1, 0, 0, 1])
    assert accuracy(clean, labels)[:1] == (0.8,)
    assert accuracy(attacked, labels)[:1] == (0.2,)
    success = attack_success_rate(clean, attacked, labels)
    assert (success.hits, success.total, success.value) == (3, 4, 0.75)
    assert attack_success_rate(clean, attacked, np.eye(3)[labels]) == success


def test_nothing_correct_has_no_success_rate():
    success = attack_success_rate(np.eye(2), np.eye(2), np.array([1, 0]))
    assert math.isnan(success.value)
    assert (success.low, success.high, success.total) == (0, 1, 0)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="count must be in 0 to total=3, got 4"):
        wilson_interval(4, 3)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 3, 1.0)
    with pytest.raises(ValueError, match=r"shapes differ: clean \(2, 2\), attacked \(1, 2\)"):
        attack_success_rate(np.eye(2), np.eye(2)[:1], np.array([0, 1]))


@for_each_form
@given(st.data(), any_form, st.sampled_from(sorted(FLOATS)), st.integers(1, 12), st.integers(2, 6))
def test_shares_are_the_same_for_labels_and_logits_of_every_form(data, form, kind, samples, classes):
    y, before, after = (
        np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples))) for _ in range(3)
    )
    labels, clean, attacked = labels_as(form, y, classes), np.eye(classes)[before], -2 * np.eye(classes)[after]
    attacked = np.roll(attacked, 1, axis=1) + np.eye(classes)[after]
    hits = [int(a == b) for a, b in zip(before, y, strict=True)]
    flipped = [after[i] != y[i] for i in range(samples) if hits[i]]
    assert accuracy(FLOATS[kind](clean), labels)[3:] == (sum(hits), samples)
    assert attack_success_rate(FLOATS[kind](clean), FLOATS[kind](attacked), labels)[3:] == (sum(flipped), len(flipped))


def test_an_attack_that_changed_nothing_has_no_success_with_labels_on_any_device():
    logits, device = np.eye(3, dtype=np.float32), "cuda" if torch.cuda.is_available() else "cpu"
    for y in ([0, 1, 2], [[0], [1], [2]], np.eye(3).tolist()):
        labels = torch.tensor(y, device=device)
        assert attack_success_rate(torch.tensor(logits, device=device), logits, labels).value == 0
        assert accuracy(logits, labels).value == 1


@pytest.mark.parametrize(
    ("predictions", "labels", "error", "message"),
    [
        (
            [0, 1],
            [0, 1],
            ValueError,
            r"predictions has shape \(2,\), expected logits \(N, K\), as predict returns them",
        ),
        ([[0], [1]], [0, 1], ValueError, r"predictions has shape \(2, 1\), expected logits \(N, K\), .* K >= 2"),
        (np.zeros((2, 2, 2)), [0, 1], ValueError, r"predictions has shape \(2, 2, 2\)"),
        ([[0.1, np.nan], [0.1, 0.2]], [0, 1], ValueError, "predictions holds NaN in row 0: it has no class"),
        (np.array([["a", "b"]]), [0], TypeError, "predictions must be an array, a tensor or a list of real numbers"),
        (np.eye(2), [0, 2], ValueError, "labels must be classes in 0 to 1 .*, got 2 in labels"),
        (np.eye(2), [0, -1], ValueError, "got -1 in labels"),
        (np.eye(2), [0.0, 0.5], ValueError, "got 0.5 in labels"),
        (np.eye(2), torch.tensor([0.0, torch.nan]), ValueError, "got nan in labels"),
        (np.eye(2), [0, 1, 1], ValueError, "labels has 3 labels for 2 samples"),
        (np.eye(2), [[0, 1]], ValueError, "labels has 1 labels for 2 samples"),
        (np.eye(2), np.eye(3)[:2], ValueError, r"labels has shape \(2, 3\), expected .* rows \(N, 2\)"),
        (np.eye(2), [[0, 1], [0.5, 0.5]], ValueError, "row 1 of labels has several largest entries"),
        (np.eye(2), None, TypeError, "labels must be an array"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_refused(predictions, labels, error, message):
    with pytest.raises(error, match=message):
        accuracy(predictions, labels)
    with pytest.raises(error, match=message.replace("predictions", "clean")):
        attack_success_rate(predictions, predictions, labels)
    with pytest.raises(error, match=message.replace("predictions", "attacked")):
        attack_success_rate(np.eye(2)[: np.size(predictions, 0)], predictions, labels)
