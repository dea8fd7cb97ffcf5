"""How much an attack changed event frames, in the units of its budgets."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Retimed(NamedTuple):
    """The least that has to happen to the events of N samples to make other frames of them.

    Attributes:
        moved: Number of events that change their frame (N,), int64 (L0).
        delay: Sum over events of how many frames they move (N,), int64 (L1).
        shift: Number of frames that the event moves which moves most (N,), int64 (L-infinity).
    """

    moved: np.ndarray
    delay: np.ndarray
    shift: np.ndarray


def flips(x: np.ndarray, x_adv: np.ndarray) -> np.ndarray:
    """Return how many entries of each sample differ (N,), int64 (L0), of frames (N, T, ...)."""
    return (x != x_adv).sum(tuple(range(1, x.ndim)))


def retimed(x: np.ndarray, x_adv: np.ndarray) -> Retimed:
    """Return how far events moved between frames (N, T, ...) with whole counts, pixel by pixel.

    The first event of a pixel and polarity is taken to become the first one, the second the second: no other
    assignment has a smaller sum of moves, or a smaller largest one.

    Raises:
        ValueError: A pixel has another number of events than before: events were lost or made, not moved.

    Example:
        >>> x, x_adv = np.array([[[1], [1], [0], [0]]]), np.array([[[0], [1], [0], [1]]])
        >>> retimed(x, x_adv)
        Retimed(moved=array([1]), delay=array([3]), shift=array([2]))
    """
    before, after = (frames.reshape(*frames.shape[:2], math.prod(frames.shape[2:])) for frames in (x, x_adv))
    if before.shape != after.shape or (before.sum(1) != after.sum(1)).any():
        raise ValueError("a pixel has another number of events than before, so that they were not only moved")
    passed, passed_after = before.cumsum(1), after.cumsum(1)  # events of a pixel up to a frame
    moved = np.maximum(before - after, 0).sum((1, 2))
    delay = np.abs(passed - passed_after).sum((1, 2))
    shift = np.zeros(len(x), dtype=np.int64)
    for size in range(x.shape[1]):
        late, early = _later(passed, size) > passed_after, _later(passed_after, size) > passed
        shift[(late | early).any((1, 2))] = size + 1
    return Retimed(moved.astype(np.int64), delay.astype(np.int64), shift)


def _later(passed: np.ndarray, steps: int) -> np.ndarray:
    """Return sums over time (N, T, P) as they would be if all events came so many frames later."""
    later = np.zeros_like(passed)
    later[:, steps:] = passed[:, : passed.shape[1] - steps]
    return later
