"""ASSG: slopes as sharp as each potential's distance from the threshold asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from art_snn.checks import check_positive
from art_snn.rules.base import RateRule, TemporalRule
from art_snn.rules.registry import register_rule


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


_SHARPNESS, _DELTA = 3.07, 0.2


@register_rule
@dataclass(frozen=True, kw_only=True)
class ASSG(TemporalRule):
    r"""Unroll the network, and differentiate each spike with a slope that adapts to its potential; resets are detached.

    This is the form without memory of the adaptively sharp surrogate gradient: the mean of :math:`|u|` over an attack's
    steps, which the paper divides by, is :math:`|u|` itself, with :math:`\delta` added (`adaptive_slope`). The
    slope does not depend on an attack's history or on other samples, so that every attack of ART has it.

    Source: Wang et al., "Towards Reliable Evaluation of Adversarial Robustness for Spiking Neural Networks" (2025); the
    form without memory is this package's.

    Attributes:
        sharpness: The paper's a, > 0. Its 3.07 bounds the gradient that vanishes by 13 % on average.
        delta: Distance in thresholds below which the slope grows no sharper, > 0.
    """

    name = "assg"
    sharpness: float = _SHARPNESS
    delta: float = _DELTA
    detach_reset = True  # its gradient multiplies up over the steps where slopes are sharp

    def __post_init__(self) -> None:
        check_positive("sharpness", self.sharpness)
        check_positive("delta", self.delta)

    def slope(self, distance: Tensor) -> Tensor:
        """Return ``adaptive_slope(distance)``."""
        return adaptive_slope(distance, self.sharpness, self.delta)


@register_rule
@dataclass(frozen=True, kw_only=True)
class HARTASSG(RateRule):
    r"""HART with ASSG's slope: its mean over time is the gain; no gradient through the membrane's history.

    It has the cost of a rate rule, and its gradient never vanishes.

    Attributes:
        sharpness: As in `ASSG`.
        delta: As in `ASSG`.
    """

    name = "hart-assg"
    title = "HART-ASSG"
    sharpness: float = _SHARPNESS
    delta: float = _DELTA

    def __post_init__(self) -> None:
        check_positive("sharpness", self.sharpness)
        check_positive("delta", self.delta)

    def slope(self, distance: Tensor) -> Tensor:
        """Return ``adaptive_slope(distance)``."""
        return adaptive_slope(distance, self.sharpness, self.delta)
