"""STBP: back-propagation through time and space with a surrogate slope."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from art_snn.checks import check_positive
from art_snn.rules.base import TemporalRule
from art_snn.rules.registry import register_rule
from art_snn.snn.surrogates import triangle


@register_rule
@dataclass(frozen=True, kw_only=True)
class STBP(TemporalRule):
    r"""Unroll the network and differentiate each spike with the triangular slope :math:`h_\gamma(u(t))`.

    Here :math:`u(t) = (m(t) - \theta) / \theta`, and :math:`h_\gamma(u) = \max(0, \gamma - |u|) / \gamma^2`.

    Source: Wu et al., "Spatio-Temporal Backpropagation for Training High-Performance Spiking Neural Networks"
    (Frontiers in Neuroscience 2018).

    Attributes:
        gamma: Width of the slope, in thresholds, > 0.
        detach_reset: Keep the gradient from flowing through the reset.
    """

    name = "stbp"
    gamma: float = 1.0
    detach_reset: bool = False

    def __post_init__(self) -> None:
        check_positive("gamma", self.gamma)

    def slope(self, distance: Tensor) -> Tensor:
        """Return ``h_gamma(distance)``."""
        return triangle(distance, self.gamma)
