"""ART's gradient attacks as the SNN papers run them, and the control that does nothing but clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from art.attacks import EvasionAttack
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from art.estimators import BaseEstimator

from art_snn.attacks.base import Attack
from art_snn.attacks.registry import register_attack
from art_snn.checks import check_count, check_positive

# The papers' PGD on images: 7 steps of 2/255 at any eps, from the input itself.
PAPER_STEP, PAPER_STEPS = 2 / 255, 7


@register_attack
@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """Fast gradient sign method: one step of eps, > 0.

    Source: Goodfellow et al., "Explaining and Harnessing Adversarial Examples" (ICLR 2015).
    """

    name: ClassVar[str] = "fgsm"
    eps: float = 8 / 255

    def __post_init__(self) -> None:
        check_positive("eps", self.eps)
        object.__setattr__(self, "eps", float(self.eps))  # ART refuses the numbers of numpy

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return ART's FastGradientMethod."""
        return FastGradientMethod(classifier, eps=self.eps, batch_size=batch_size)


@register_attack
@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Projected gradient descent; as the SNN papers run it, 7 steps from the input itself.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (ICLR 2018).

    Example:
        >>> PGD(eps=0.1)
        PGD(eps=0.1, eps_step=0.025, steps=7, restarts=0)
    """

    name: ClassVar[str] = "pgd"
    eps: float = 8 / 255
    eps_step: float | None = None  #: Change of an entry in a step, > 0; None for eps / 4. The papers' is 2/255.
    steps: int = PAPER_STEPS  #: Number of steps, >= 1.
    restarts: int = 0  #: Random starts in the ball of eps, >= 0; 0 starts at the input.

    def __post_init__(self) -> None:
        check_positive("eps", self.eps)
        step = self.eps / 4 if self.eps_step is None else self.eps_step
        check_positive("eps_step", step)
        for name, size in (("eps", self.eps), ("eps_step", step)):  # ART refuses the numbers of numpy
            object.__setattr__(self, name, float(size))
        check_count("steps", self.steps)
        check_count("restarts", self.restarts, least=0)

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return ART's ProjectedGradientDescent."""
        sizes = {"eps": self.eps, "eps_step": self.eps_step, "max_iter": self.steps, "num_random_init": self.restarts}
        whole = int(batch_size)  # a DataLoader takes no whole number of NumPy
        return ProjectedGradientDescent(classifier, **sizes, batch_size=whole, verbose=False)


@register_attack
@dataclass(frozen=True, kw_only=True)
class ClipOnly(Attack):
    """The control of event data: clip the input to [0, 1], and do nothing else."""

    name: ClassVar[str] = "clip-only"
    title: ClassVar[str] = "clip only"
    eps: ClassVar[float] = 0.0  # type: ignore[misc]

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return an attack of ART's interface that clips."""
        return _Clip(estimator=classifier)


class _Clip(EvasionAttack):
    _estimator_requirements = (BaseEstimator,)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return the inputs, clipped."""
        return np.clip(x, 0, 1)
