"""Flags, and the verdict that follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple

from art_snn.evaluation.robustness.plain import plain


class Verdict(str, Enum):
    """How far a number may be trusted."""

    RELIABLE = "reliable"
    UPPER_BOUND = "upper bound only"
    INVALID = "invalid"

    def __str__(self) -> str:
        return self.value


class Flag(NamedTuple):
    """What a check found.

    Attributes:
        name: What the check is called.
        value: What was measured; None where it was not, for the reason in ``detail``.
        threshold: The largest value that is fine.
        fired: Whether the value is above it.
        verdict: The verdict, at best, where it fired; None for a note beside the number.
        meaning: What it means if it fires.
        detail: What else is to be said of the value, such as the rule that it is of; "" for nothing.
    """

    name: str
    value: float | None
    threshold: float
    fired: bool
    verdict: Verdict | None
    meaning: str
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the flag as plain values: those of JSON, which has None for a value that is not finite."""
        record: dict[str, Any] = plain(self._asdict())
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Flag:
        """Return the flag that `to_json` wrote, with NaN for a value that was not finite."""
        verdict, value = record["verdict"], record["value"]
        value = math.nan if value is None and record["fired"] else value  # what has not run does not fire
        return cls(**{**record, "value": value, "verdict": None if verdict is None else Verdict(verdict)})

    def __str__(self) -> str:
        state = "not run" if self.value is None else f"{shown(self.value)} (at most {shown(self.threshold)})"
        said = f"{self.name}: {state}{', FIRED' if self.fired else ''}"
        return f"{said}; {self.detail}" if self.detail else said


def shown(number: float) -> str:
    """Return what texts and tables show of a number."""
    return f"{number:.3g}" if math.isfinite(number) else "not a number"


def flag(
    name: str,
    value: float,
    threshold: float,
    verdict: Verdict | None,
    meaning: str,
    detail: str = "",
) -> Flag:
    """Return a flag that fires if its value is above its threshold, or no number."""
    return Flag(name, float(value), float(threshold), not value <= threshold, verdict, meaning, detail)


def not_run(name: str, threshold: float, verdict: Verdict | None, meaning: str, why: str) -> Flag:
    """Return a flag of a check that could not run."""
    return Flag(name, None, float(threshold), False, verdict, meaning, why)


def verdict_of(flags: Iterable[Flag]) -> Verdict:
    """Return the worst verdict of the flags that fired; reliable where none did.

    Example:
        >>> str(verdict_of([]))
        'reliable'
    """
    fired = [flag.verdict for flag in flags if flag.fired]
    return next((worst for worst in (Verdict.INVALID, Verdict.UPPER_BOUND) if worst in fired), Verdict.RELIABLE)
