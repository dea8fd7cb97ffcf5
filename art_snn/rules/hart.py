"""HART: the hybrid rate-temporal gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from art_snn.checks import check_positive
from art_snn.rules.base import RateRule
from art_snn.rules.registry import register_rule


@register_rule
@dataclass(frozen=True, kw_only=True)
class HART(RateRule):
    r"""Average the surrogate slope over time, and the gradient with it; no gradient through the membrane's history.

    .. math::
        G = \frac{1}{T} \sum_t h_\gamma\left(\frac{m(t) - \theta}{\theta}\right), \qquad
        h_\gamma(u) = \max(0, \gamma - |u|) / \gamma^2

    Source: Hao et al., "Threaten Spiking Neural Networks through Combining Rate and Temporal Information" (ICLR 2024).

    Attributes:
        gamma: Width of the slope, in thresholds, > 0. Smaller: more temporal attribute; larger: more rate attribute.
            The attack success rate over gamma is about unimodal.
    """

    name = "hart"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_positive("gamma", self.gamma)

    def slope(self, distance: Tensor) -> Tensor:
        """Return ``h_gamma(distance)``."""
        peak = torch.full((), 1 / self.gamma, dtype=distance.dtype, device=distance.device)
        return torch.add(peak, distance.abs(), alpha=-1 / self.gamma**2).clamp_(min=0.0)
