"""The spike function and the slopes that stand in for its derivative."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from art_snn.checks import check_positive
from art_snn.errors import UnsupportedModelError

Slope = Callable[[Tensor], Tensor]

_HERE = threading.local()

UNKNOWN = "let a module run it, and make that known as a neuron with art_snn.snn.readers.register_reader"


@contextmanager
def surrogates_in_use(allowed: bool) -> Iterator[None]:
    """Allow or refuse surrogates in this thread for the time of a ``with`` block; outside of any, they are allowed."""
    outer = getattr(_HERE, "allowed", True)
    _HERE.allowed = allowed
    try:
        yield
    finally:
        _HERE.allowed = outer


def refuse_surrogate(what: str, cure: str) -> None:
    """Raise UnsupportedModelError where surrogates are refused: a rule is in force that does not reach this one."""
    if not getattr(_HERE, "allowed", True):
        raise UnsupportedModelError([f"a gradient rule does not reach {what}; {cure}"])


def triangle(distance: Tensor, width: float = 1.0) -> Tensor:
    r"""Evaluate the triangular slope :math:`h_\gamma(u) = \max(0, \gamma - |u|) / \gamma^2` (area 1).

    Source: Deng et al., "Temporal Efficient Training of Spiking Neural Network via Gradient Re-weighting" (ICLR 2022).

    Args:
        distance: ``u = m - threshold``, any shape.
        width: gamma, half the width of the triangle's foot, > 0.

    Example:
        >>> triangle(torch.tensor([-1.0, 0.0, 0.5]), width=2.0)
        tensor([0.2500, 0.5000, 0.3750])
    """
    return (width - distance.abs()).clamp(min=0.0) / width**2


def triangle_(distance: Tensor, width: float = 1.0) -> Tensor:
    """Evaluate `triangle` in place, without a graph: three passes over memory and no allocation."""
    peak = torch.full((), 1 / width, dtype=distance.dtype, device=distance.device)
    return torch.add(peak, distance.abs_(), alpha=-1 / width**2, out=distance).clamp_(min=0.0)


@dataclass(frozen=True, kw_only=True)
class Triangle:
    """Triangular slope (see `triangle`) for training.

    Attributes:
        width: Half the width of the foot, > 0.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        check_positive("width", self.width)

    def __call__(self, distance: Tensor) -> Tensor:
        """Return the slope at ``distance``."""
        return triangle(distance, self.width)


@dataclass(frozen=True, kw_only=True)
class ATan:
    r"""Slope of the arctangent, :math:`(\alpha / 2) / (1 + (\pi \alpha u / 2)^2)`.

    Source: Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural
    Networks" (ICCV 2021).

    Attributes:
        alpha: Steepness, > 0.
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        check_positive("alpha", self.alpha)

    def __call__(self, distance: Tensor) -> Tensor:
        """Return the slope at ``distance``."""
        return (self.alpha / 2) / (1 + (math.pi * self.alpha / 2 * distance) ** 2)


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    r"""Slope of the logistic function, :math:`\alpha \sigma(\alpha u) (1 - \sigma(\alpha u))`.

    Attributes:
        alpha: Steepness, > 0.
    """

    alpha: float = 4.0

    def __post_init__(self) -> None:
        check_positive("alpha", self.alpha)

    def __call__(self, distance: Tensor) -> Tensor:
        """Return the slope at ``distance``."""
        level = torch.sigmoid(self.alpha * distance)
        return self.alpha * level * (1 - level)


class _Spike(torch.autograd.Function):
    """Spikes with a chosen slope; the backward is itself differentiable."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, slope: Slope, fire: Slope) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.slope = slope
        return fire(distance)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (distance,) = ctx.saved_tensors
        return grads[0] * ctx.slope(distance), None, None


def step(distance: Tensor) -> Tensor:
    """Return 1 where ``distance = m - threshold`` is >= 0, 0 elsewhere."""
    return (distance >= 0).to(distance.dtype)


def spike(distance: Tensor, slope: Slope, fire: Slope = step) -> Tensor:
    """Return the spikes that ``fire`` makes of ``distance = m - threshold``; differentiate with ``slope``."""
    refuse_surrogate("a spike function in the network", UNKNOWN)
    return _Spike.apply(distance, slope, fire)
