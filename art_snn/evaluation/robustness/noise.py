"""Noise inside the budget: the weakest attack, and the control for all others."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from art_snn.attacks.found import Found
from art_snn.attacks.judging import predict_full
from art_snn.attacks.packets import Budget, Packets, move
from art_snn.attacks.walks import ball
from art_snn.evaluation.robustness.chance import ByChance, ChanceAttack, OfEntries, OfFlips, OfShifts
from art_snn.labels import class_indices


class _Noise(ChanceAttack):
    def search(
        self, x: np.ndarray, y: Any, *, start: np.ndarray | None = None, seeds: np.ndarray | None = None, **kwargs: Any
    ) -> Found:
        """Return what the draws found; a sample's noise follows from its entry of ``seeds`` (N,)."""
        x = np.asarray(x, dtype=np.float32)
        labels = class_indices(y, len(x), self.estimator.nb_classes)
        sources = self.sources(len(x), seeds)
        best, margin = x.copy(), np.full(len(x), np.inf, dtype=np.float32)
        broken, step, forwards = np.zeros(len(x), bool), np.full(len(x), -1), np.zeros(len(x))
        for draw in range(self.spec.steps):
            rows = np.flatnonzero(~broken)
            if not len(rows):
                break
            tried = np.stack([self._noisy(x[row], sources[row]) for row in rows])
            logits = predict_full(self.estimator, tried, self.batch_size)
            found, finite = margins(logits, labels[rows]), np.isfinite(logits).all(1)
            better = finite & (found < margin[rows])
            best[rows[better]], margin[rows[better]] = tried[better], found[better]
            forwards[rows] += 1
            wrong = finite & (logits.argmax(1) != labels[rows])
            best[rows[wrong]], broken[rows[wrong]], step[rows[wrong]] = tried[wrong], True, draw
        return Found(best, broken, step, margin, forwards)

    def _noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        low, high = ball(sample, self.spec.eps or np.inf, self.estimator.clip_values)
        return np.clip(self.spec.noisy(sample, source), low, high).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Noise(ByChance):
    """Change samples by chance, several times."""

    attack: ClassVar[type[ChanceAttack]] = _Noise
    steps: int = 10  #: Number of draws, >= 1.

    @abstractmethod
    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample with noise of the largest size that is allowed."""


@dataclass(frozen=True, kw_only=True)
class SignNoise(Noise, OfEntries):
    """Add eps or -eps to every entry, by chance, several times."""

    name: ClassVar[str] = "sign-noise"
    title: ClassVar[str] = "sign noise"

    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample with eps or -eps at every entry, rounded towards the sample."""
        signs = source.choice(np.array([-1, 1], dtype=np.float32), sample.shape)
        return np.where(signs > 0, *reversed(ball(sample, self.eps, None)))


@dataclass(frozen=True, kw_only=True)
class RandomFlips(Noise, OfFlips):
    """Flip a number of entries of binary event frames, by chance, several times."""

    name: ClassVar[str] = "random-flips"
    title: ClassVar[str] = "random flips"

    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample (T, ...) with flips."""
        flipped = sample.copy().reshape(-1)
        chosen = source.choice(flipped.size, min(self.max_flips, flipped.size), replace=False)
        flipped[chosen] = 1 - flipped[chosen]
        return flipped.reshape(sample.shape)


@dataclass(frozen=True, kw_only=True)
class RandomShifts(Noise, OfShifts):
    """Move events to other frames, by chance, several times."""

    name: ClassVar[str] = "random-shifts"
    title: ClassVar[str] = "random shifts"

    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample (T, ...) of whole counts with events moved."""
        packets = Packets.of(torch.from_numpy(sample)[None].flatten(2))
        shape = tuple(packets.frame.shape)
        wanted = torch.from_numpy(source.integers(-self.max_shift, self.max_shift + 1, shape))
        inside = (packets.frame + wanted >= 0) & (packets.frame + wanted < len(sample))
        worth = torch.from_numpy(source.random(shape))
        moved = move(packets, torch.where(inside, wanted, 0), worth, Budget(self.max_shift, None, self.max_moved))
        return moved.numpy().reshape(sample.shape).astype(np.float32)


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ``z_y - max_{k != y} z_k`` (N,): negative where a sample is misclassified."""
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, labels] = -np.inf
    with np.errstate(invalid="ignore"):  # of logits that are not finite
        return (logits[rows, labels] - others.max(1)).astype(np.float32)
