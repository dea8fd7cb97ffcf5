"""Checks of values: a bad one is refused in the same words everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from numbers import Integral, Real
from typing import Any


def check_count(name: str, value: int, least: int = 1) -> int:
    """Return a whole number; raise ValueError unless it is one, and at least ``least``.

    Example:
        >>> check_count("epochs", 0)
        Traceback (most recent call last):
        ValueError: epochs must be a whole number >= 1, got 0
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(value)


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a finite number above 0."""
    if not (_is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a finite number > 0, got {value!r}")


def check_not_negative(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a finite number, 0 or above."""
    if not (_is_number(value) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a finite number >= 0, got {value!r}")


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a number in (0, 1)."""
    if not (_is_number(value) and 0 < value < 1):
        raise ValueError(f"{name} must be in (0, 1), got {value!r}")


def check_decay(decay: float) -> None:
    """Raise ValueError unless ``decay`` is a number in (0, 1]."""
    if not (_is_number(decay) and 0 < decay <= 1):
        raise ValueError(f"decay (membrane retention lambda) must be in (0, 1], got {decay!r}")


def check_seed(seed: int, most: int = 2**32 - 1) -> None:
    """Raise ValueError unless ``seed`` is a whole number that torch and numpy take."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed <= most:
        raise ValueError(f"seed must be a whole number in 0 to {most}, got {seed!r}")


def check_choice(name: str, value: object, known: Iterable[object]) -> None:
    """Raise ValueError unless ``value`` is one of those known.

    Example:
        >>> check_choice("reset", "mild", ("hard", "soft"))
        Traceback (most recent call last):
        ValueError: reset must be 'hard' or 'soft', got 'mild'
    """
    choices = list(known)
    if value not in choices:
        *first, last = map(repr, choices)
        said = f"{', '.join(first)} or {last}" if first else last
        raise ValueError(f"{name} must be {said}, got {value!r}")


def check_entry(what: str, entry: Any, bases: tuple[type, ...], known: Mapping[str, type]) -> None:
    """Raise unless a class may be registered: a frozen dataclass with a name of its own in lower case.

    Args:
        what: What the class is to be, such as "a rule".
        entry: The class.
        bases: What it has to derive from, one of them.
        known: Names to the classes that are registered.

    Raises:
        TypeError: It is no such class.
        ValueError: Its name is missing, not in lower case, or another class's.
    """
    frozen = is_dataclass(entry) and getattr(entry, "__dataclass_params__").frozen  # noqa: B009  (unknown to mypy)
    if not (isinstance(entry, type) and issubclass(entry, bases) and frozen):
        families = " or ".join(base.__name__ for base in bases)
        raise TypeError(f"{what} must be a frozen dataclass derived from {families}, got {entry!r}")
    name: str = getattr(entry, "name")  # noqa: B009
    if not name or name != name.lower():
        raise ValueError(f"{entry.__name__}.name must be a non-empty name in lower case, got {name!r}")
    taken = known.get(name)
    if taken is not None and taken.__qualname__ != entry.__qualname__:
        raise ValueError(f"the name {name!r} is taken by {taken.__name__}; choose another")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
