"""Noise inside the budget: the weakest attack, and the control for all others."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator

from art_snn.attacks import Attack
from art_snn.attacks.found import Found
from art_snn.attacks.packets import Budget, Packets, move
from art_snn.attacks.walks import ball
from art_snn.checks import check_count, check_positive, check_seed
from art_snn.labels import class_indices


@dataclass(frozen=True, kw_only=True)
class Noise(Attack):
    """Change samples by chance, several times."""

    steps: int = 10  #: Number of draws, >= 1.
    seed: int = 0  #: Seed of the noise.

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_seed(self.seed)

    @abstractmethod
    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample with noise of the largest size that is allowed."""

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return the attack."""
        return _Noise(classifier, self, batch_size)


@dataclass(frozen=True, kw_only=True)
class SignNoise(Noise):
    """Add eps or -eps to every entry, by chance, several times."""

    name: ClassVar[str] = "sign-noise"
    title: ClassVar[str] = "sign noise"
    eps: float = 8 / 255

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("eps", self.eps)

    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample with eps or -eps at every entry, rounded towards the sample."""
        signs = source.choice(np.array([-1, 1], dtype=np.float32), sample.shape)
        return np.where(signs > 0, *reversed(ball(sample, self.eps, None)))


@dataclass(frozen=True, kw_only=True)
class RandomFlips(Noise):
    """Flip a number of entries of binary event frames, by chance, several times."""

    name: ClassVar[str] = "random-flips"
    title: ClassVar[str] = "random flips"
    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    max_flips: int = 200  #: Number of flips, >= 1.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("max_flips", self.max_flips)

    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample (T, ...) with flips."""
        flipped = sample.copy().reshape(-1)
        chosen = source.choice(flipped.size, min(self.max_flips, flipped.size), replace=False)
        flipped[chosen] = 1 - flipped[chosen]
        return flipped.reshape(sample.shape)


@dataclass(frozen=True, kw_only=True)
class RandomShifts(Noise):
    """Move events to other frames, by chance, several times."""

    name: ClassVar[str] = "random-shifts"
    title: ClassVar[str] = "random shifts"
    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    max_shift: int = 1  #: Most frames that an event moves, >= 1.
    max_moved: int | None = None  #: Most events that move, >= 1; None for any number.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("max_shift", self.max_shift)
        if self.max_moved is not None:
            check_count("max_moved", self.max_moved)

    def noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        """Return a sample (T, ...) of whole counts with events moved."""
        packets = Packets.of(torch.from_numpy(sample)[None].flatten(2))
        shape = tuple(packets.frame.shape)
        wanted = torch.from_numpy(source.integers(-self.max_shift, self.max_shift + 1, shape))
        inside = (packets.frame + wanted >= 0) & (packets.frame + wanted < len(sample))
        worth = torch.from_numpy(source.random(shape))
        moved = move(packets, torch.where(inside, wanted, 0), worth, Budget(self.max_shift, None, self.max_moved))
        return moved.numpy().reshape(sample.shape).astype(np.float32)


class _Noise(EvasionAttack):
    _estimator_requirements = (BaseEstimator,)

    def __init__(self, classifier: BaseEstimator, spec: Noise, batch_size: int) -> None:
        super().__init__(estimator=classifier)
        self._spec, self._batch_size = spec, batch_size

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return the inputs with the noise that the network takes worst."""
        labels = self.estimator.predict(x, batch_size=self._batch_size).argmax(1) if y is None else y
        return self.search(x, labels).x_adv

    def search(
        self, x: np.ndarray, y: Any, *, start: np.ndarray | None = None, seeds: np.ndarray | None = None, **kwargs: Any
    ) -> Found:
        """Return what the draws found; a sample's noise follows from its entry of ``seeds`` (N,)."""
        x = np.asarray(x, dtype=np.float32)
        labels = class_indices(y, len(x), self.estimator.nb_classes)
        seeds = np.arange(len(x)) if seeds is None else seeds
        sources = [np.random.default_rng([self._spec.seed, int(seed)]) for seed in seeds]
        best, margin = x.copy(), np.full(len(x), np.inf, dtype=np.float32)
        broken, step, forwards = np.zeros(len(x), bool), np.full(len(x), -1), np.zeros(len(x))
        for draw in range(self._spec.steps):
            rows = np.flatnonzero(~broken)
            if not len(rows):
                break
            tried = np.stack([self._noisy(x[row], sources[row]) for row in rows])
            logits = self._predict(tried)
            found, finite = margins(logits, labels[rows]), np.isfinite(logits).all(1)
            better = finite & (found < margin[rows])
            best[rows[better]], margin[rows[better]] = tried[better], found[better]
            forwards[rows] += 1
            wrong = finite & (logits.argmax(1) != labels[rows])
            best[rows[wrong]], broken[rows[wrong]], step[rows[wrong]] = tried[wrong], True, draw
        return Found(best, broken, step, margin, forwards)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        filled = np.concatenate([x, np.repeat(x[:1], -len(x) % self._batch_size, axis=0)])
        return self.estimator.predict(filled, batch_size=self._batch_size)[: len(x)]

    def _noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        low, high = ball(sample, self._spec.eps or np.inf, self.estimator.clip_values)
        return np.clip(self._spec.noisy(sample, source), low, high).astype(np.float32)


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ``z_y - max_{k != y} z_k`` (N,): negative where a sample is misclassified."""
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, labels] = -np.inf
    with np.errstate(invalid="ignore"):  # of logits that are not finite
        return (logits[rows, labels] - others.max(1)).astype(np.float32)
