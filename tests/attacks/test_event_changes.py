"""How far events moved, against every way in which they could have moved."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art_snn.attacks import flips, retimed


def least_moves(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int]:
    """Least number, sum and largest of the moves that make one list of frames (E,) of another."""
    ways = [np.abs(before - np.array(way, dtype=int)) for way in permutations(after)]
    return min((w > 0).sum() for w in ways), min(w.sum() for w in ways), min(w.max(initial=0) for w in ways)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=5))
def test_moves_of_a_pixel_are_the_least(moves):
    counts = np.zeros((2, 1, 5, 1), dtype=np.float32)
    for before, after in moves:
        counts[0, 0, before] += 1
        counts[1, 0, after] += 1
    before, after = (np.array([move[i] for move in moves], dtype=int) for i in (0, 1))
    assert tuple(int(part[0]) for part in retimed(*counts)) == least_moves(before, after)


def test_moves_of_pixels_are_added_up_and_the_largest_counts():
    x, x_adv = np.zeros((2, 2, 4, 2, 1, 1))
    x[:, 0], x_adv[:, [1, 3], [0, 1]] = 1, 1
    x[0, 2, 1], x_adv[0, 2, 1] = 5, 5  # with these, nobody has to move by three frames
    moved, delay, shift = retimed(x, x_adv)
    assert (moved.tolist(), delay.tolist(), shift.tolist()) == ([2, 2], [4, 4], [2, 3])
    assert (moved.dtype, delay.dtype, shift.dtype) == (np.int64, np.int64, np.int64)
    assert all(not part.any() for part in retimed(x, x))
    assert [part.shape for part in retimed(x[:0], x_adv[:0])] == [(0,)] * 3


def test_events_that_were_lost_or_made_are_no_moves():
    x = np.ones((1, 3, 2))
    for x_adv in (0 * x, x + np.arange(2), x[:, :2], x[..., ::-1] * [1, 2]):
        with pytest.raises(ValueError, match="another number of events"):
            retimed(x, x_adv)


def test_flips_count_the_entries_that_differ():
    x = np.zeros((3, 4, 2, 2, 2))
    x_adv = x.copy()
    x_adv[1, 0, 0, 0, 0], x_adv[2, :, 1] = 1, 3
    assert flips(x, x_adv).tolist() == [0, 1, 16]
