"""What an attacker may change: entries by eps, or events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from art_snn.attacks import flips, retimed
from art_snn.checks import check_count, check_positive
from art_snn.evaluation.outcomes import allowed_examples


class Threat(ABC):
    """A threat model: which changes of a sample are allowed.

    Attributes:
        of_events: Whether events are changed, so that the network has to take event frames.
    """

    of_events: ClassVar[bool]

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What attacks call the budget: names of their settings to values."""

    @property
    @abstractmethod
    def size(self) -> float:
        """How much is allowed, a number that `sized` takes."""

    @abstractmethod
    def sized(self, size: float) -> Threat | None:
        """Return the same threat of another size, infinity for any change at all; None where none has that size."""

    @abstractmethod
    def allows(self, x: np.ndarray, examples: np.ndarray, clip_values: Any) -> np.ndarray:
        """Return whether each example (N,) is finite, inside the budget and inside the clip values."""


@dataclass(frozen=True)
class Linf(Threat):
    """Every entry may change by at most eps.

    Attributes:
        eps: Largest change of an entry, > 0, in units of the input.
    """

    of_events: ClassVar[bool] = False
    eps: float

    def __post_init__(self) -> None:
        check_positive("eps", self.eps)
        object.__setattr__(self, "eps", float(self.eps))  # ART's Square takes no scalar of NumPy

    def __str__(self) -> str:
        return f"eps={self.eps:g}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The attacks' eps."""
        return {"eps": self.eps}

    @property
    def size(self) -> float:
        """Eps."""
        return self.eps

    def sized(self, size: float) -> Linf:
        """Return the threat of another eps."""
        return Linf(size)

    def allows(self, x: np.ndarray, examples: np.ndarray, clip_values: Any) -> np.ndarray:
        """Return whether each example (N,) is allowed."""
        return allowed_examples(x, examples, self.eps, clip_values)


@dataclass(frozen=True)
class Flips(Threat):
    """A number of entries of binary event frames may flip: events that are added, and events that are lost (L0).

    Attributes:
        count: Most entries that may differ, >= 1.
    """

    of_events: ClassVar[bool] = True
    count: int

    def __post_init__(self) -> None:
        check_count("flips", self.count)

    def __str__(self) -> str:
        return "1 flip" if self.count == 1 else f"{self.count} flips"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The attacks' ``max_flips``."""
        return {"max_flips": self.count}

    @property
    def size(self) -> float:
        """The number of flips."""
        return self.count

    def sized(self, size: float) -> Flips:
        """Return the threat of another number of flips."""
        return Flips(2**62 if size == np.inf else max(1, round(size)))

    def allows(self, x: np.ndarray, examples: np.ndarray, clip_values: Any) -> np.ndarray:
        """Return whether each example (N,) is binary, and has few enough flips."""
        binary = ((examples == 0) | (examples == 1)).all(axis=tuple(range(1, x.ndim)))
        return binary & (flips(x, examples) <= self.count)


@dataclass(frozen=True)
class Shifts(Threat):
    """Events may move to other frames; none is lost or made.

    Attributes:
        frames: Most frames that an event may move, >= 1.
        moved: Most events that may move, >= 1; None for any number.
    """

    of_events: ClassVar[bool] = True
    frames: int
    moved: int | None = None

    def __post_init__(self) -> None:
        check_count("shift", self.frames)
        if self.moved is not None:
            check_count("moved", self.moved)

    def __str__(self) -> str:
        frames = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        number = "events moved" if self.moved is None else f"{self.moved} events moved"
        return f"{number} by up to {frames}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The attacks' ``max_shift`` and ``max_moved``."""
        return {"max_shift": self.frames, "max_moved": self.moved}

    @property
    def size(self) -> float:
        """The number of frames."""
        return self.frames

    def sized(self, size: float) -> Shifts | None:
        """Return the threat of another number of frames; None for any change: events that only move cannot make it."""
        return None if size == np.inf else Shifts(max(1, round(size)), self.moved)

    def allows(self, x: np.ndarray, examples: np.ndarray, clip_values: Any) -> np.ndarray:
        """Return whether each example (N,) has every event of its input, few enough of them in another frame."""
        axes = tuple(range(1, x.ndim))
        counts = ((examples >= 0) & (examples == np.floor(examples))).all(axis=axes)
        same = counts & (x.sum(1) == examples.sum(1)).all(axis=axes[:-1])
        rows = np.flatnonzero(same)
        found = retimed(x[rows], examples[rows])
        good = found.shift <= self.frames
        same[rows] = good if self.moved is None else good & (found.moved <= self.moved)
        return same
