"""Values out of their range: how many they are, and a warning that comes once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from art_snn.errors import InputRangeWarning


class Outside(NamedTuple):
    """Values of which some are out of their range.

    Attributes:
        share: Share of the values that are outside, in (0, 1].
        low: Smallest of all values.
        high: Largest of all values.
    """

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"values from {_number(self.low)} to {_number(self.high)}, {100 * self.share:.3g} % of them outside"


def outside(x: np.ndarray | Tensor, low: Any, high: Any, *, rounding: bool = False) -> Outside | None:
    """Look for values of ``x`` below ``low`` or above ``high``; None if there are none.

    Args:
        x: Values, of any shape; NaN is in every range.
        low: Smallest value allowed: a number, or an array that broadcasts to ``x``.
        high: Largest value allowed, in the same way.
        rounding: Allow what rounding in float32 does to values at the ends of the range.

    Raises:
        ValueError: An array does not broadcast to ``x``.

    Example:
        >>> print(outside(np.array([0.0, 0.5, 3.0, 1.0]), 0, 1))
        values from 0 to 3, 25 % of them outside
    """
    least, most = np.asarray(low), np.asarray(high)
    _check_broadcast(np.broadcast_shapes(least.shape, most.shape), tuple(x.shape))
    if 0 in x.shape:
        return None
    if rounding:
        slack = rounding_slack(least, most)
        least, most = least - slack, most + slack
    values = x.detach() if isinstance(x, Tensor) else x
    found = float(values.min()), float(values.max())
    if found[0] >= least.max() and found[1] <= most.min():  # all that most calls cost
        return None
    ends: list[Any] = [least, most]
    if isinstance(values, Tensor):
        ends = [torch.as_tensor(end, device=values.device) for end in ends]
    share = float(((values < ends[0]) | (values > ends[1])).sum()) / math.prod(x.shape)
    return Outside(share, *found) if share else None


def rounding_slack(low: Any, high: Any) -> Any:
    """Return by how much a value in float32 may go past the ends of a range, arrays or numbers, by rounding alone."""
    return 1e-5 * np.maximum(1, np.maximum(np.abs(low), np.abs(high)))


def check_range(name: str, x: np.ndarray, clip_values: Any, error: type[Exception]) -> None:
    """Raise an error if inputs leave the clip values, a pair as `outside` takes them, or None."""
    found = None if clip_values is None else outside(x, *clip_values, rounding=True)
    if found is not None:
        raise error(
            f"{name} has {found} the clip values {range_text(*clip_values)}; attacks would move them there, whatever "
            "their gradient is. Bring the data into this range, as the network was or is trained on them"
        )


def spread(x: np.ndarray, clip_values: Any) -> float:
    """Return the distance from the smallest to the largest value that inputs may have, or have where nothing says so.

    Args:
        x: Inputs, at least one.
        clip_values: A pair as `outside` takes it, or None.

    Example:
        >>> spread(np.array([0.5, 2.0]), None), spread(np.array([0.5, 2.0]), (0, 255))
        (1.5, 255.0)
    """
    low, high = (x.min(), x.max()) if clip_values is None else clip_values
    return float(np.max(high) - np.min(low))


def check_eps(eps: float, x: np.ndarray, clip_values: Any) -> None:
    """Raise ValueError if eps, as a change of inputs ``x``, is more than the distance between any two values.

    Inputs that are all the same have none where there are no clip values, a pair as `outside` takes it.
    """
    most = spread(x, clip_values)
    if eps > most > 0:
        of = "inputs have a range" if clip_values is None else f"the clip values {range_text(*clip_values)} a range"
        raise ValueError(f"eps is {eps:g}, and {of} of {most:g}: nothing is beyond it. 8/255 is a number, 8 / 255")


def range_text(low: Any, high: Any) -> str:
    """Return a range as messages have it: "[0, 1]", or for arrays from the smallest value to the largest."""
    least, most = np.asarray(low), np.asarray(high)
    text = f"[{_number(least.min())}, {_number(most.max())}]"
    return text if least.ndim == most.ndim == 0 else f"{text} (arrays; some ends are nearer)"


def _number(value: Any) -> str:
    return str(np.float32(value)).removesuffix(".0")


def _check_broadcast(bounds: tuple[int, ...], shape: tuple[int, ...]) -> None:
    ends = zip(reversed(bounds), reversed(shape), strict=False)
    if len(bounds) > len(shape) or any(size not in (1, full) for size, full in ends):
        raise ValueError(f"the range is an array of shape {bounds}, which does not broadcast to {shape}")


class Once:
    """Give each warning once. A copy of it, also from a pickle, starts anew."""

    def __init__(self) -> None:
        self.told: set[str] = set()  #: What was warned of.

    def warn(self, key: str, text: str, category: type[Warning], stacklevel: int = 1) -> None:
        """Warn, unless ``key`` was warned of; ``stacklevel`` is that of `warnings.warn` in the caller."""
        if key not in self.told:
            warnings.warn(text, category, stacklevel=stacklevel + 1)
            self.told.add(key)

    def __reduce__(self) -> tuple[type[Once], tuple[()]]:
        return type(self), ()


class RangeWatch(Once):
    """Look for values out of a range until a warning of them was given."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = False  #: Look for nothing, as while a model is tried on inputs that nobody gave.

    def look(
        self,
        x: np.ndarray | Tensor,
        low: Any,
        high: Any,
        text: str,
        *,
        rounding: bool = False,
        origin: Callable[[np.ndarray | Tensor], np.ndarray | Tensor] | None = None,
    ) -> None:
        """Warn of values outside the range, once for each range.

        Args:
            x: Values, of any shape.
            low: Smallest value allowed, as in `outside`.
            high: Largest value allowed, as in `outside`.
            text: The warning, with ``{}`` where what was found goes.
            rounding: As in `outside`.
            origin: Where ``x`` is outside, it says what to judge in its place: what somebody gave, of which ``x`` was
                made.

        Warns:
            InputRangeWarning: There are such values.
        """
        key = f"{low} {high}"
        if not self.paused and key not in self.told:
            found = outside(x, low, high, rounding=rounding)
            if found is not None and origin is not None:
                found = outside(origin(x), low, high, rounding=rounding)
            if found is not None:
                self.warn(key, text.format(found), InputRangeWarning, stacklevel=5)
