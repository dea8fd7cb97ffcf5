"""Iterates that walk through the ball of eps, a batch at a time; how they step is their subclasses' own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Walks(ABC):
    """A batch of walks, one a row, each at a step of its own; no row knows of the others.

    Attributes:
        x: The iterates (B, *S), float32.
        low: Smallest value that an entry may have (B, *S), float32.
        high: Largest value that an entry may have (B, *S), float32.
        step: Number of moves that each walk has made (B,), int64.
    """

    def __init__(self, x: Tensor) -> None:
        self.x, self.low, self.high = x.clone(), x.clone(), x.clone()
        self.step = torch.zeros(len(x), dtype=torch.int64, device=x.device)

    def begin(self, rows: Tensor, x: Tensor, low: Tensor, high: Tensor) -> None:
        """Begin walks in these rows (R,), from ``x`` (R, *S) between ``low`` and ``high``."""
        self.x[rows], self.low[rows], self.high[rows] = x, low, high
        self.step[rows] = 0
        self._forget(rows)

    def move(self, gradient: Tensor, loss: Tensor) -> None:
        """Make a move up the loss (B,), with its gradient (B, *S) at the iterates."""
        moved = self._moved(gradient.double(), loss.double())
        self.x = self._inside(moved)
        self.step += 1

    @abstractmethod
    def _forget(self, rows: Tensor) -> None:
        """Forget what earlier walks left in these rows."""

    @abstractmethod
    def _moved(self, gradient: Tensor, loss: Tensor) -> Tensor:
        """Return where the walks go (B, *S), float64; they are brought back into their ranges."""

    def _inside(self, x: Tensor) -> Tensor:
        return x.to(torch.float32).clamp(self.low, self.high)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Return one value a row (B,) in the shape that broadcasts to ``like`` (B, *S)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def checkpoints(steps: int) -> list[int]:
    """Return after which steps AutoAttack's schedule looks at the step size.

    These are ``ceil(p_j N)``, p_0 = 0, p_1 = 0.22, ``p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)`` (Croce & Hein,
    "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML 2020).

    Example:
        >>> checkpoints(100)
        [22, 41, 57, 70, 80, 87, 93, 99]
    """
    shares, interval = [22], 19  # in hundredths, which are exact
    while shares[-1] + interval <= 100:
        shares.append(shares[-1] + interval)
        interval = max(interval - 3, 6)
    return sorted({math.ceil(share * steps / 100) for share in shares})


def ball(x: np.ndarray, eps: float, clip_values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and largest values (N, *S), float32, within eps of ``x`` and the clip values, None for all.

    They are rounded towards ``x``. An input that is outside the clip values by more than eps stays where it is.
    """
    exact = x.astype(np.float64)
    low, high = exact - eps, exact + eps
    if clip_values is not None:
        least, most = clip_values
        low, high = np.maximum(low, least), np.minimum(high, most)
    low_in, high_in = low.astype(np.float32), high.astype(np.float32)
    low_in = np.where(low_in < low, np.nextafter(low_in, np.float32(np.inf)), low_in)
    high_in = np.where(high_in > high, np.nextafter(high_in, np.float32(-np.inf)), high_in)
    empty = low_in > high_in
    return np.where(empty, x, low_in), np.where(empty, x, high_in)


def random_starts(x: np.ndarray, eps: float, seed: int, seeds: np.ndarray) -> np.ndarray:
    """Return points (N, *S), float64, at random in the ball, each with its own seed (N,) and an entry eps away."""
    starts = x.astype(np.float64)
    for i, own in enumerate(seeds):
        noise = np.random.default_rng([seed, int(own)]).uniform(-1, 1, x.shape[1:])
        starts[i] += eps * noise / max(np.abs(noise).max(), np.finfo(np.float64).tiny)
    return starts
