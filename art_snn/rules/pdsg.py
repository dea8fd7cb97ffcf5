"""PDSG: a slope as wide as the potentials spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from art_snn.checks import check_choice
from art_snn.rules.base import Slope, TemporalRule
from art_snn.rules.registry import register_rule

Statistics: TypeAlias = Literal["sample", "batch"]


@register_rule
@dataclass(frozen=True, kw_only=True)
class PDSG(TemporalRule):
    r"""Unroll the network, and differentiate each spike with a Gaussian as wide as the potentials so far spread.

    .. math::
        h(u) = \frac{1}{\sqrt{2 \pi} \sigma(t)} \exp\left(-\frac{(u - \sigma(t) / 2)^2}{2 \sigma(t)^2}\right)

    Here :math:`\sigma(t)` is the unbiased standard deviation of a layer's :math:`u(t')`, :math:`t' \leq t`, in
    thresholds; 1 where it is 0 or where there is one value alone.

    Source: Lun et al., "Towards Effective and Sparse Adversarial Attack on Spiking Neural Networks via Breaking
    Invisible Surrogate Gradients" (CVPR 2025).

    Attributes:
        statistics: Over which potentials the deviation is taken, beside all steps so far: "sample" for those of the
            sample's channel, or of its layer where features have one axis; "batch", as the paper's code, for those of
            the channel in all samples, or of the feature. A sample's gradient depends on its batch then.
        detach_reset: Keep the gradient from flowing through the reset. The paper lets it flow, so that its rule is
            ``PDSG(statistics="batch", detach_reset=False)``; attacks are as strong either way. A reset that comes a
            step after the spike is always detached.
    """

    name = "pdsg"
    statistics: Statistics = "sample"
    detach_reset: bool = True

    def __post_init__(self) -> None:
        check_choice("statistics", self.statistics, get_args(Statistics))

    def slope(self, distance: Tensor) -> Tensor:
        """Return the slope with the deviation of these potentials (N, *F) alone."""
        return Spread(self.statistics)(distance)

    def stepwise(self, layer: str, call: int) -> Slope:
        """Return the slope with the deviation of a step's potentials and of those before."""
        return Spread(self.statistics)


class Spread:
    """The slopes of a layer, whose potentials come step by step."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None  # sum of squared distances from the mean

    def __call__(self, distance: Tensor) -> Tensor:
        """Return the slopes at the next step's distances (N, *F)."""
        sigma = self._deviation(distance)
        return torch.exp(-((distance / sigma - 0.5).square()) / 2) / (math.sqrt(2 * math.pi) * sigma)

    def _deviation(self, distance: Tensor) -> Tensor:
        axes = _axes(distance.ndim, self._statistics)
        values = distance.double()
        mean = values.mean(axes, keepdim=True) if axes else values
        squares = (values - mean).square()
        squares = squares.sum(axes, keepdim=True) if axes else squares
        count = math.prod(distance.shape[axis] for axis in axes)
        if self._mean is not None and self._squares is not None:  # merged with those before, as Chan et al. (1979) do
            total, apart = self._count + count, mean - self._mean
            squares = squares + self._squares + apart.square() * (self._count * count / total)
            mean = self._mean + apart * (count / total)
        self._count, self._mean, self._squares = self._count + count, mean, squares
        sigma = (squares / max(1, self._count - 1)).sqrt()
        return torch.where(sigma > 0, sigma, 1.0).to(distance.dtype)


def _axes(ndim: int, statistics: Statistics) -> tuple[int, ...]:
    """Return over which axes of potentials (N, *F) a deviation is taken, which has one value for each other index."""
    inner = tuple(range(2, ndim)) if ndim > 2 else tuple(range(1, ndim))
    if statistics == "sample":
        return inner
    return (0, *inner) if ndim > 2 else (0,)
