"""Random search inside a budget: an attack without gradients, on inputs of any shape."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator

from art_snn.attacks import Attack
from art_snn.attacks.found import Found
from art_snn.attacks.judging import draws_of, judge
from art_snn.attacks.packets import Budget, Packets, move
from art_snn.attacks.walks import ball
from art_snn.checks import check_count, check_positive, check_seed
from art_snn.labels import class_indices

LEAST = 0.02  # of what is changed at once in the first query, what is in the last one


class Walker(Protocol):
    """The changes of one sample."""

    def begin(self) -> Any:
        """Return changes to begin with."""

    def vary(self, changes: Any, share: float) -> Any:
        """Return changes of which this share, and at least one, is another; those that are given stay as they are."""

    def made(self, changes: Any) -> np.ndarray:
        """Return the changed sample (*S), float32."""


@dataclass(frozen=True, kw_only=True)
class RandomSearch(Attack):
    """Change a part of what was changed by chance, and keep it where the margin does not grow; base of one a threat.

    As in Square (Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
    search", ECCV 2020), the part shrinks from query to query.
    """

    steps: int = 300  #: Number of queries, >= 1.
    seed: int = 0  #: Seed of the changes.

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_seed(self.seed)

    @abstractmethod
    def walker(self, sample: np.ndarray, clip_values: Any, source: np.random.Generator) -> Walker:
        """Return what changes a sample (*S)."""

    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        """Return the attack."""
        return _RandomSearch(classifier, self, batch_size)


@dataclass(frozen=True, kw_only=True)
class SignSearch(RandomSearch):
    """Entries are eps larger or smaller, and a run of them changes to one of the two."""

    name: ClassVar[str] = "sign-search"
    title: ClassVar[str] = "random search"
    eps: float = 8 / 255

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("eps", self.eps)

    def walker(self, sample: np.ndarray, clip_values: Any, source: np.random.Generator) -> Walker:
        """Return what changes a sample."""
        low, high = ball(sample[None], self.eps, clip_values)
        return _Signs(low[0], high[0], source)


@dataclass(frozen=True, kw_only=True)
class FlipSearch(RandomSearch):
    """Entries of binary event frames flip, and some of the flips are exchanged for others."""

    name: ClassVar[str] = "flip-search"
    title: ClassVar[str] = "random search"
    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    max_flips: int = 200  #: Number of flips, >= 1.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("max_flips", self.max_flips)

    def walker(self, sample: np.ndarray, clip_values: Any, source: np.random.Generator) -> Walker:
        """Return what changes a sample."""
        return _Flips(sample, min(self.max_flips, sample.size), source)


@dataclass(frozen=True, kw_only=True)
class ShiftSearch(RandomSearch):
    """Events move to other frames, and some of the moves are exchanged for others."""

    name: ClassVar[str] = "shift-search"
    title: ClassVar[str] = "random search"
    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    max_shift: int = 1  #: Most frames that an event moves, >= 1.
    max_moved: int | None = None  #: Most events that move, >= 1; None for any number.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("max_shift", self.max_shift)
        if self.max_moved is not None:
            check_count("max_moved", self.max_moved)

    def walker(self, sample: np.ndarray, clip_values: Any, source: np.random.Generator) -> Walker:
        """Return what changes a sample."""
        return _Moves(sample, Budget(self.max_shift, None, self.max_moved), source)


class _Signs:
    def __init__(self, low: np.ndarray, high: np.ndarray, source: np.random.Generator) -> None:
        self._low, self._high, self._source = low, high, source

    def begin(self) -> np.ndarray:
        return self._source.random(self._low.size) < 0.5

    def vary(self, changes: np.ndarray, share: float) -> np.ndarray:
        length = _part(share, changes.size)
        first = int(self._source.integers(0, changes.size - length + 1))
        varied = changes.copy()
        varied[first : first + length] = self._source.random() < 0.5
        return varied

    def made(self, changes: np.ndarray) -> np.ndarray:
        return np.where(changes.reshape(self._low.shape), self._high, self._low)


class _Chosen:
    """Some of ``size`` things are chosen, ``count`` of them."""

    def __init__(self, size: int, count: int, source: np.random.Generator) -> None:
        self._size, self._count, self._source = size, count, source

    def begin(self) -> np.ndarray:
        chosen = np.zeros(self._size, bool)
        chosen[self._source.choice(self._size, self._count, replace=False)] = True
        return chosen

    def vary(self, chosen: np.ndarray, share: float) -> np.ndarray:
        inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        number = min(_part(share, self._count), len(inside), len(outside))
        varied = chosen.copy()
        varied[self._source.choice(inside, number, replace=False)] = False
        varied[self._source.choice(outside, number, replace=False)] = True
        return varied


class _Flips(_Chosen):
    def __init__(self, sample: np.ndarray, count: int, source: np.random.Generator) -> None:
        super().__init__(sample.size, count, source)
        self._sample = sample

    def made(self, changes: np.ndarray) -> np.ndarray:
        return np.where(changes.reshape(self._sample.shape), 1 - self._sample, self._sample)


class _Moves:
    """Moves (E,) of a sample's packets; those that do not move have 0."""

    def __init__(self, sample: np.ndarray, budget: Budget, source: np.random.Generator) -> None:
        self._packets = Packets.of(torch.from_numpy(sample)[None].flatten(2))
        self._shape, self._budget, self._source = sample.shape, budget, source
        size = self._packets.frame.shape[1]
        self._chosen = _Chosen(size, size if budget.moved is None else min(size, budget.moved), source)

    def begin(self) -> np.ndarray:
        return np.where(self._chosen.begin(), self._anywhere(), 0)

    def vary(self, changes: np.ndarray, share: float) -> np.ndarray:
        if self._budget.moved is None or len(changes) <= self._budget.moved:
            again = self._source.choice(len(changes), _part(share, len(changes)), replace=False)
            varied = changes.copy()
            varied[again] = self._anywhere()[again]
            return varied
        chosen = self._chosen.vary(changes != 0, share)
        return np.where(chosen, np.where(changes != 0, changes, self._anywhere()), 0)

    def made(self, changes: np.ndarray) -> np.ndarray:
        worth = torch.from_numpy(self._source.random(len(changes)))[None]
        frames = move(self._packets, torch.from_numpy(changes)[None], worth, self._budget)
        return frames.numpy().reshape(self._shape).astype(np.float32)

    def _anywhere(self) -> np.ndarray:
        """Return a move (E,) of each packet that ends in another frame, if there is one within reach."""
        frame, steps = self._packets.frame[0].numpy(), self._packets.shape[0]
        low, high = np.maximum(-self._budget.shift, -frame), np.minimum(self._budget.shift, steps - 1 - frame)
        wanted = self._source.integers(low, np.maximum(high, low + 1))
        return np.minimum(np.where(wanted >= 0, wanted + 1, wanted), high)


class _RandomSearch(EvasionAttack):
    _estimator_requirements = (BaseEstimator,)

    def __init__(self, classifier: BaseEstimator, spec: RandomSearch, batch_size: int) -> None:
        super().__init__(estimator=classifier)
        self._spec, self._batch_size = spec, batch_size

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return the inputs with the changes that the network takes worst."""
        labels = self.estimator.predict(x, batch_size=self._batch_size).argmax(1) if y is None else y
        return self.search(x, labels).x_adv

    def search(
        self,
        x: np.ndarray,
        y: Any,
        *,
        seeds: np.ndarray | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> Found:
        """Return what the queries found; a sample's changes follow from its entry of ``seeds`` (N,)."""
        x = np.asarray(x, dtype=np.float32)
        labels = class_indices(y, len(x), self.estimator.nb_classes)
        seeds = np.arange(len(x)) if seeds is None else seeds
        walkers = [
            self._spec.walker(sample, self.estimator.clip_values, np.random.default_rng([self._spec.seed, int(seed)]))
            for sample, seed in zip(x, seeds, strict=True)
        ]
        broken, margins = judge(self.estimator, x, labels, self._batch_size)
        each = draws_of(self.estimator)
        found = Found(x.copy(), broken, np.where(broken, 0, -1), margins, np.full(len(x), float(each)))
        told = progress or (lambda _: None)
        told(int(broken.sum()))
        changes: list[Any] = [None] * len(x)
        kept = np.full(len(x), np.inf, dtype=np.float32)  # the margin of the changes
        for query in range(self._spec.steps):
            rows = np.flatnonzero(~found.broken)
            if not len(rows):
                break
            share = LEAST ** (query / self._spec.steps)
            tried = [walkers[i].vary(changes[i], share) if query else walkers[i].begin() for i in rows]
            made = np.stack([walkers[i].made(each) for i, each in zip(rows, tried, strict=True)])
            wrong, margins = judge(self.estimator, made, labels[rows], self._batch_size)
            found.forwards[rows] += each
            for place in np.flatnonzero((margins <= kept[rows]) | wrong):
                i = rows[place]
                changes[i], kept[i] = tried[place], margins[place]
                if wrong[place] or margins[place] < found.margin[i]:
                    found.x_adv[i], found.margin[i] = made[place], margins[place]
            found.broken[rows[wrong]], found.step[rows[wrong]] = True, query
            told(int(wrong.sum()))
        told(int((~found.broken).sum()))
        return found


def _part(share: float, size: int) -> int:
    """Return how many of a number of things a share is: at least one."""
    return max(1, round(share * size))
