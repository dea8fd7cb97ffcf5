"""Shares and their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_snn.evaluation.metrics import accuracy, attack_success_rate, wilson_interval


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
    with pytest.raises(ValueError, match="lengths differ"):
        attack_success_rate(np.eye(2), np.eye(2)[:1], np.array([0, 1]))
