"""Is this a gradient that an attack can follow? Looked at before it is handed out."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from art_snn.errors import GradientWarning
from art_snn.ranges import Once, range_text

# Shares of the entries without a gradient, in samples that have one, above which a warning comes. On the digits network
# no rule has a single one. Max pooling in front of all weights has 75 % with windows of 2x2 and 94 % with 3x3, at
# values of all sizes; what clips in front of the network has them at values outside an interval.
MOST = 0.95
MOST_BY_VALUE = 0.25
LEAST_ALIVE = 32  # entries with a gradient, below which they do not tell an interval


def without_nan(grad: Tensor, name: str) -> Tensor:
    """Return a gradient, called ``name``, with 0 in the place of NaN and inf, which are warned of."""
    if not torch.isfinite(_sizes(grad)).all():
        text = f"{name} is NaN or inf for some samples; its entries are taken as 0"
        warnings.warn(text, GradientWarning, stacklevel=5)
        grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
    return grad


def warn_of_zeros(grad: Tensor, name: str) -> None:
    """Warn of samples that no gradient (N, ...) reaches."""
    if (_sizes(grad) == 0).any():
        text = (
            f"{name} is all zero for some samples: attacks cannot move them, which is no robustness. "
            "Try another rule, or a larger gamma where the rule has one"
        )
        warnings.warn(text, GradientWarning, stacklevel=5)


def warn_of_zero_entries(grad: Tensor, x: Tensor, name: str, once: Once) -> None:
    """Warn once for each name of many entries without a gradient, in samples that have one.

    These are more than `MOST` of them, or more than `MOST_BY_VALUE` whose value is outside the interval of all values
    that have a gradient: something in front of the network clips, then.

    Args:
        grad: Gradient with respect to ``x``, its shape, or of several classes, (N, K, ...).
        x: Inputs (N, ...).
        name: What the gradient is called.
        once: What remembers which names were warned of.
    """
    if name in once.told:
        return
    alive = grad != 0
    alive = alive.any(1) if grad.ndim > x.ndim else alive
    moved = alive.flatten(1).any(1) if alive.numel() else alive.new_zeros(len(alive))
    if not moved.any():
        return
    values, alive = x.detach()[moved], alive[moved]
    share = float((~alive).float().mean())
    if share <= MOST_BY_VALUE:
        return
    low, high = float(values[alive].min()), float(values[alive].max())
    by_value = float(((values < low) | (values > high)).float().mean())
    if by_value > MOST_BY_VALUE and int(alive.sum()) >= LEAST_ALIVE:
        where = (
            f"{share:.0%} of the entries of x, among them all whose values are outside {range_text(low, high)}: "
            "something in front of the network clips or rounds. Bring x, or what a normalisation makes of it, into the "
            "range that is let through"
        )
    elif share > MOST:
        where = f"{share:.0%} of the entries of x. Try another rule, or a larger gamma where the rule has one"
    else:
        return
    text = f"{name} is zero for {where}. Attacks cannot move these entries, which is no robustness"
    once.warn(name, text, GradientWarning, stacklevel=5)


def _sizes(grad: Tensor) -> Tensor:
    """Return the largest entry of each sample's gradient (N,); (1,) of a 1 if there is none."""
    return grad.flatten(1).abs().amax(1) if grad.numel() else grad.new_ones(1)
