"""Random search inside a budget: an attack without gradients, on inputs of any shape."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from art_snn.attacks.found import Found
from art_snn.attacks.judging import draws_of, judge
from art_snn.attacks.packets import Budget, Packets, move
from art_snn.attacks.walks import ball
from art_snn.evaluation.robustness.chance import ByChance, ChanceAttack, OfEntries, OfFlips, OfShifts
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


class _RandomSearch(ChanceAttack):
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
        walkers = [
            self.spec.walker(sample, self.estimator.clip_values, source)
            for sample, source in zip(x, self.sources(len(x), seeds), strict=True)
        ]
        broken, margins = judge(self.estimator, x, labels, self.batch_size)
        cost = draws_of(self.estimator)
        found = Found(x.copy(), broken, np.where(broken, 0, -1), margins, np.full(len(x), float(cost)))
        told = progress or (lambda _: None)
        told(int(broken.sum()))
        changes: list[Any] = [None] * len(x)
        kept = np.full(len(x), np.inf, dtype=np.float32)  # the margin of the changes
        for query in range(self.spec.steps):
            rows = np.flatnonzero(~found.broken)
            if not len(rows):
                break
            share = LEAST ** (query / self.spec.steps)
            tried = [walkers[i].vary(changes[i], share) if query else walkers[i].begin() for i in rows]
            made = np.stack([walkers[i].made(each) for i, each in zip(rows, tried, strict=True)])
            wrong, margins = judge(self.estimator, made, labels[rows], self.batch_size)
            found.forwards[rows] += cost
            for place in np.flatnonzero((margins <= kept[rows]) | wrong):
                i = rows[place]
                changes[i], kept[i] = tried[place], margins[place]
                if wrong[place] or margins[place] < found.margin[i]:
                    found.x_adv[i], found.margin[i] = made[place], margins[place]
            found.broken[rows[wrong]], found.step[rows[wrong]] = True, query
            told(int(wrong.sum()))
        told(int((~found.broken).sum()))
        return found


@dataclass(frozen=True, kw_only=True)
class RandomSearch(ByChance):
    """Change a part of what was changed by chance, and keep it where the margin does not grow; base of one a threat.

    As in Square (Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
    search", ECCV 2020), the part shrinks from query to query.
    """

    attack: ClassVar[type[ChanceAttack]] = _RandomSearch
    title: ClassVar[str] = "random search"
    steps: int = 300  #: Number of queries, >= 1.

    @abstractmethod
    def walker(self, sample: np.ndarray, clip_values: Any, source: np.random.Generator) -> Walker:
        """Return what changes a sample (*S)."""


@dataclass(frozen=True, kw_only=True)
class SignSearch(RandomSearch, OfEntries):
    """Entries are eps larger or smaller, and a run of them changes to one of the two."""

    name: ClassVar[str] = "sign-search"
    title: ClassVar[str] = RandomSearch.title

    def walker(self, sample: np.ndarray, clip_values: Any, source: np.random.Generator) -> Walker:
        """Return what changes a sample."""
        low, high = ball(sample[None], self.eps, clip_values)
        return _Signs(low[0], high[0], source)


@dataclass(frozen=True, kw_only=True)
class FlipSearch(RandomSearch, OfFlips):
    """Entries of binary event frames flip, and some of the flips are exchanged for others."""

    name: ClassVar[str] = "flip-search"
    title: ClassVar[str] = RandomSearch.title

    def walker(self, sample: np.ndarray, clip_values: Any, source: np.random.Generator) -> Walker:
        """Return what changes a sample."""
        return _Flips(sample, min(self.max_flips, sample.size), source)


@dataclass(frozen=True, kw_only=True)
class ShiftSearch(RandomSearch, OfShifts):
    """Events move to other frames, and some of the moves are exchanged for others."""

    name: ClassVar[str] = "shift-search"
    title: ClassVar[str] = RandomSearch.title

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


def _part(share: float, size: int) -> int:
    """Return how many of a number of things a share is: at least one."""
    return max(1, round(share * size))
