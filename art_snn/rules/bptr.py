"""BPTR: back-propagation through the rate."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from art_snn.rules.base import LayerRecord, RateRule
from art_snn.rules.registry import register_rule


@register_rule
@dataclass(frozen=True, kw_only=True)
class BPTR(RateRule):
    r"""Pass the gradient straight through every neuron that fired.

    .. math::
        G = [r > 0]

    Source: Ding et al., "SNN-RAT: Robustness-enhanced Spiking Neural Network through Regularized Adversarial Training"
    (NeurIPS 2022).
    """

    name = "bptr"

    def gain(self, record: LayerRecord) -> Tensor:
        """Return 1 where the neuron fired at least once, 0 elsewhere."""
        return (record.rate > 0).to(record.rate.dtype)
