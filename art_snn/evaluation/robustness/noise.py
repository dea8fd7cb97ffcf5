"""Noise of the size of eps: the weakest attack, and the control for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator

from art_snn.attacks import Attack
from art_snn.attacks.found import Found
from art_snn.checks import check_count, check_positive, check_seed
from art_snn.labels import class_indices


@dataclass(frozen=True, kw_only=True)
class SignNoise(Attack):
    """Add eps or -eps to every entry, by chance, several times."""

    name: ClassVar[str] = "sign-noise"
    title: ClassVar[str] = "sign noise"
    eps: float = 8 / 255
    steps: int = 10  #: Number of draws, >= 1.
    seed: int = 0  #: Seed of the noise.

    def __post_init__(self) -> None:
        check_positive("eps", self.eps)
        check_count("steps", self.steps)
        check_seed(self.seed)

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return the attack."""
        return _SignNoise(classifier, self, batch_size)


class _SignNoise(EvasionAttack):
    _estimator_requirements = (BaseEstimator,)

    def __init__(self, classifier: BaseEstimator, spec: SignNoise, batch_size: int) -> None:
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
            found = margins(logits, labels[rows])
            better = found < margin[rows]
            best[rows[better]], margin[rows[better]] = tried[better], found[better]
            forwards[rows] += 1
            wrong = logits.argmax(1) != labels[rows]
            best[rows[wrong]], broken[rows[wrong]], step[rows[wrong]] = tried[wrong], True, draw
        return Found(best, broken, step, margin, forwards)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        filled = np.concatenate([x, np.repeat(x[:1], -len(x) % self._batch_size, axis=0)])
        return self.estimator.predict(filled, batch_size=self._batch_size)[: len(x)]

    def _noisy(self, sample: np.ndarray, source: np.random.Generator) -> np.ndarray:
        noisy = sample + self._spec.eps * source.choice(np.array([-1, 1], dtype=np.float32), sample.shape)
        clip_values = self.estimator.clip_values
        noisy = noisy if clip_values is None else np.clip(noisy, *clip_values)
        return noisy.astype(np.float32)


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ``z_y - max_{k != y} z_k`` (N,): negative where a sample is misclassified."""
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return (logits[rows, labels] - others.max(1)).astype(np.float32)
