"""What attacks by chance share: how much they may change, and how often they try."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator

from art_snn.attacks import Attack
from art_snn.attacks.found import Found
from art_snn.checks import check_count, check_positive, check_seed


class ChanceAttack(EvasionAttack):
    """Base of attacks that change samples by chance. They have no gradient, and take every classifier.

    Args:
        classifier: The classifier.
        spec: The settings.
        batch_size: Samples that run at the same time.
    """

    _estimator_requirements = (BaseEstimator,)

    def __init__(self, classifier: BaseEstimator, spec: ByChance, batch_size: int) -> None:
        super().__init__(estimator=classifier)
        self.spec: Any = spec
        self.batch_size = batch_size

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return the inputs with the changes that the network takes worst."""
        labels = self.estimator.predict(x, batch_size=self.batch_size).argmax(1) if y is None else y
        return self.search(x, labels).x_adv

    @abstractmethod
    def search(
        self,
        x: np.ndarray,
        y: Any,
        *,
        seeds: np.ndarray | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> Found:
        """Return what was found; what happens to a sample follows from its entry of ``seeds`` (N,)."""

    def sources(self, count: int, seeds: np.ndarray | None) -> list[np.random.Generator]:
        """Return where each of the samples takes its chances from."""
        own = np.arange(count) if seeds is None else seeds
        return [np.random.default_rng([self.spec.seed, int(seed)]) for seed in own]


@dataclass(frozen=True, kw_only=True)
class ByChance(Attack):
    """The settings of a `ChanceAttack`."""

    attack: ClassVar[type[ChanceAttack]]  #: What `make` makes.
    steps: int = 10  #: Number of tries, >= 1.
    seed: int = 0  #: Seed of the changes.

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_seed(self.seed)

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> ChanceAttack:
        """Return the attack."""
        return self.attack(classifier, self, batch_size)


@dataclass(frozen=True, kw_only=True)
class OfEntries(ByChance):
    """Every entry may change by eps."""

    eps: float = 8 / 255  #: Largest change of an entry, > 0.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("eps", self.eps)


@dataclass(frozen=True, kw_only=True)
class OfFlips(ByChance):
    """A number of entries of binary event frames flip."""

    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    max_flips: int = 200  #: Number of flips, >= 1.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("max_flips", self.max_flips)


@dataclass(frozen=True, kw_only=True)
class OfShifts(ByChance):
    """Events move to other frames."""

    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    max_shift: int = 1  #: Most frames that an event moves, >= 1.
    max_moved: int | None = None  #: Most events that move, >= 1; None for any number.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("max_shift", self.max_shift)
        if self.max_moved is not None:
            check_count("max_moved", self.max_moved)
