"""ASSG: slopes as sharp as each potential's distance from the threshold asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from art_snn.checks import check_not_negative, check_positive, check_share
from art_snn.rules.base import RateRule, Remembering, Slope, TemporalRule
from art_snn.rules.memory import Memory
from art_snn.rules.registry import register_rule

LEAST = 1e-4  # in thresholds; keeps the sharpness finite


def adaptive_slope(distance: Tensor, sharpness: float, delta: float) -> Tensor:
    r"""Return the slope of an arctangent that is the sharper the nearer a potential is to the threshold.

    .. math::
        h(u) = \frac{\alpha / 2}{1 + (\pi \alpha u / 2)^2}, \qquad \alpha = \frac{a}{|u| + \delta}

    Far from the threshold it falls as 1 / u and never is 0, so that no gradient vanishes.

    Args:
        distance: ``u = (m - threshold) / threshold``, any shape.
        sharpness: a, > 0.
        delta: The distance below which the slope grows no sharper, > 0.
    """
    reach = distance.abs() + delta
    return (sharpness / 2) * reach / (reach.square() + (math.pi * sharpness / 2 * distance).square())


def remembered_slope(distance: Tensor, memory: Memory, place: Hashable, *, rule: Adaptive) -> Tensor:
    r"""Return the slope at distances (N, *F) in one place, a layer and step, and remember how far they were.

    With :math:`|u_k|` the distance in the k-th gradient of an attack, k = 0, 1, ..., and b the momentum:

    .. math::
        M_k = b M_{k-1} + (1 - b) |u_k|, \quad D_k = b D_{k-1} + (1 - b) \left| |u_k| - M_k \right|, \quad
        \alpha_k = \frac{a}{M_k + \rho D_k + 10^{-4}}

    where :math:`M_{-1} = 1` and :math:`D_{-1} = 0`: slopes start wide, and sharpen in the course of the attack.
    """
    far, kept = distance.abs(), rule.momentum or 0.0
    mean = memory.read((place, "mean"), far, start=1.0).lerp(far, 1 - kept)
    deviation = memory.read((place, "deviation"), far, start=0.0).lerp((far - mean).abs(), 1 - kept)
    memory.write((place, "mean"), mean)
    memory.write((place, "deviation"), deviation)
    alpha = rule.sharpness / (mean + rule.relax * deviation + LEAST)
    return arctangent_slope(distance, alpha)


def arctangent_slope(distance: Tensor, alpha: Tensor) -> Tensor:
    """Return ``(alpha / 2) / (1 + (pi / 2 * alpha * distance)**2)``, shapes that broadcast."""
    return (alpha / 2) / (1 + (math.pi / 2 * alpha * distance).square())


@dataclass(frozen=True, kw_only=True)
class Adaptive(Remembering):
    r"""Slopes that adapt to each potential: the part that `ASSG` and `HARTASSG` share.

    Attributes:
        sharpness: The paper's a, > 0. Its 3.07 bounds the gradient that vanishes by 13 % on average.
        momentum: The paper's b, in (0, 1): how slowly the distance that an attack remembers follows. None remembers
            nothing in any attack.
        relax: The paper's :math:`\rho`, >= 0: the weight of how much the distance varies.
        delta: Without a memory, the distance in thresholds below which the slope grows no sharper, > 0.
    """

    sharpness: float = 3.07
    momentum: float | None = 0.9
    relax: float = 1.5
    delta: float = 0.2

    def __post_init__(self) -> None:
        check_positive("sharpness", self.sharpness)
        check_positive("delta", self.delta)
        check_not_negative("relax", self.relax)
        if self.momentum is not None:
            check_share("momentum", self.momentum)

    @property
    def remembers(self) -> bool:
        """Whether an attack with a memory gives it to the rule."""
        return self.momentum is not None

    def slope(self, distance: Tensor) -> Tensor:
        """Return ``adaptive_slope(distance)``, the slope without a memory."""
        return adaptive_slope(distance, self.sharpness, self.delta)

    def stepwise(self, layer: str, call: int) -> Slope | None:
        """Return `remembered_slope` for each step in turn, if there is a memory."""
        if self.memory is None:
            return None
        memory, steps = self.memory, itertools.count()
        return lambda distance: remembered_slope(distance, memory, (layer, call, next(steps)), rule=self)


@register_rule
@dataclass(frozen=True, kw_only=True)
class ASSG(Adaptive, TemporalRule):
    r"""Unroll the network, and differentiate each spike with a slope that adapts to its potential; resets are detached.

    The adaptively sharp surrogate gradient divides its sharpness by a running mean of :math:`|u|` over the gradients of
    an attack (`remembered_slope`). Attacks that have a memory for it are those of `art_snn.attacks`. In all others,
    ART's included, the slope has no memory: the mean is :math:`|u|` itself, with :math:`\delta` added
    (`adaptive_slope`). Neither depends on other samples.

    Source: Wang et al., "Towards Reliable Evaluation of Adversarial Robustness for Spiking Neural Networks" (2025); the
    form without memory is this package's.

    Attributes:
        sharpness: The paper's a, > 0. Its 3.07 bounds the gradient that vanishes by 13 % on average.
        momentum: The paper's b, in (0, 1); None remembers nothing in any attack.
        relax: The paper's :math:`\rho`, >= 0.
        delta: Without a memory, the distance in thresholds below which the slope grows no sharper, > 0.
    """

    name = "assg"
    detach_reset = True  # its gradient multiplies up over the steps where slopes are sharp


@register_rule
@dataclass(frozen=True, kw_only=True)
class HARTASSG(Adaptive, RateRule):  # type: ignore[misc]
    r"""HART with ASSG's slope: its mean over time is the gain; no gradient through the membrane's history.

    It has the cost of a rate rule, and its gradient never vanishes.

    Attributes:
        sharpness, momentum, relax, delta: As in `ASSG`.
    """

    name = "hart-assg"
    title = "HART-ASSG"
