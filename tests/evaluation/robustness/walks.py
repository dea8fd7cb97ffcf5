"""A small attack that keeps its iterates, and budgets made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator

from art_snn import STBP
from art_snn.attacks import Attack
from art_snn.attacks.found import Found
from art_snn.evaluation.robustness import Budget, SignNoise, Stage
from art_snn.evaluation.robustness.noise import margins


@dataclass(frozen=True, kw_only=True)
class Walk(Attack):
    """Steps of eps / 3 along the sign of the gradient, from the input or a start."""

    name: ClassVar[str] = "walk"
    eps: float = 0.1
    steps: int = 4
    seed: int = 0
    spoil: Callable[[np.ndarray], np.ndarray] | None = None  # what is made of the examples in the end
    most_eps: float = 1e9  # above which it goes nowhere

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        return SmallWalk(classifier, self, batch_size)


class SmallWalk(EvasionAttack):
    _estimator_requirements = (BaseEstimator,)

    def __init__(self, classifier: BaseEstimator, spec: Walk, size: int) -> None:
        super().__init__(estimator=classifier)
        self.spec, self.size = spec, size

    def generate(self, x: np.ndarray, y: Any = None, **kwargs: Any) -> np.ndarray:
        return self.search(x, y).x_adv

    def search(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        start: np.ndarray | None = None,
        seeds: np.ndarray | None = None,
        progress: Any = None,
    ) -> Found:
        parts = []
        for begin in range(0, len(x), self.size):
            part = slice(begin, begin + self.size)
            parts.append(self._walk(x[part], y[part], x[part] if start is None else start[part]))
        found = Found(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        return found if self.spec.spoil is None else found._replace(x_adv=self.spec.spoil(found.x_adv))

    def _walk(self, x: np.ndarray, y: np.ndarray, start: np.ndarray) -> Found:
        count, fill = len(x), -len(x) % self.size
        rows = np.r_[np.arange(count), np.zeros(fill, int)]
        x, y, now = x[rows], y[rows], start[rows]
        best, least = now.copy(), np.full(len(x), np.inf, np.float32)
        step, cost = np.full(len(x), -1), np.zeros(len(x))
        for number in range(self.spec.steps + 1):
            logits = self.estimator.predict(now, batch_size=self.size)
            cost[step < 0] += 3
            found = margins(logits, y)
            nearer = (step < 0) & (found < least)
            best[nearer], least[nearer] = now[nearer], found[nearer]
            step[(step < 0) & (logits.argmax(1) != y)] = number
            if self.spec.eps > self.spec.most_eps:
                break
            gradient = self.estimator.loss_gradient(now, y)
            now = np.clip(now + self.spec.eps / 3 * np.sign(gradient), x - self.spec.eps, x + self.spec.eps)
            now = now if self.estimator.clip_values is None else np.clip(now, *self.estimator.clip_values)
        return Found(best[:count], step[:count] >= 0, step[:count], least[:count], cost[:count])


def small_budget(eps: float = 0.1, **options: Any) -> Budget:
    """Noise and two short walks, the second one warm; few checks."""
    stages = [
        Stage(name="noise", attack=SignNoise(eps=eps, steps=3)),
        Stage(name="walk", attack=Walk(eps=eps), rule="hart"),
        Stage(name="warm walk", attack=Walk(eps=eps, steps=6), rule=STBP(), warm=True),
    ]
    options = {"check_samples": 16, "check_steps": 4, "unbounded_steps": 8, "longer_steps": 4, "queries": 10, **options}
    return Budget(name="small", stages=options.pop("stages", stages), **options)
