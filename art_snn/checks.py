"""Checks of numbers: a bad one is refused in the same words everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a finite number above 0."""
    if not (_is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a finite number > 0, got {value!r}")


def check_decay(decay: float) -> None:
    """Raise ValueError unless ``decay`` is a number in (0, 1]."""
    if not (_is_number(decay) and 0 < decay <= 1):
        raise ValueError(f"decay (membrane retention lambda) must be in (0, 1], got {decay!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_time_steps(time_steps: int) -> int:
    """Return ``time_steps``; raise ValueError unless it is a whole number >= 1."""
    if isinstance(time_steps, bool) or not isinstance(time_steps, Integral) or time_steps < 1:
        raise ValueError(f"time_steps must be a whole number >= 1, got {time_steps!r}")
    return int(time_steps)


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless ``value`` is a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def check_classes(nb_classes: int) -> None:
    """Raise ValueError unless there are two classes or more."""
    if nb_classes < 2:
        raise ValueError(f"nb_classes must be >= 2, got {nb_classes!r}")


def check_channels(mean: Sequence[float], in_channels: int) -> None:
    """Raise ValueError unless there is one mean a channel."""
    if len(mean) != in_channels:
        raise ValueError(f"mean and std need {in_channels} numbers, one a channel; got {len(mean)}")


def check_width(width: int) -> None:
    """Raise ValueError unless a width is a whole number >= 1."""
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ValueError(f"width must be a whole number >= 1, got {width!r}")
