"""CBA: the conversion-based attack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from art_snn.checks import check_choice, check_count
from art_snn.rules.base import ConversionRule
from art_snn.rules.registry import register_rule
from art_snn.snn.dynamics import NeuronParams


@register_rule
@dataclass(frozen=True, kw_only=True)
class CBA(ConversionRule):
    r"""Attack the ANN that the SNN's weights make, and let the SNN have the result.

    With :math:`z = \bar x / \theta`, the mean drive in thresholds, a neuron becomes the quantised clip-floor activation
    :math:`\lfloor L \, \mathrm{clip}(z, 0, 1) + 1/2 \rfloor / L`, whose derivative is 1 for z in [0, 1]
    (straight-through), or :math:`\max(0, z)`. Outputs are firing rates, as the next layer's weights expect; for
    :math:`\theta = 1` this is the activation of the papers. Event frames are averaged over time first. For neurons
    that may give several spikes a step, there is no upper end at 1.

    Sources: Sharmin et al., "A Comprehensive Analysis on Adversarial Robustness of Spiking Neural Networks" (IJCNN
    2019) for the attack; Bu et al., "Optimal ANN-SNN Conversion for High-accuracy and Ultra-low-latency Spiking Neural
    Networks" (ICLR 2022) for the activation.

    Attributes:
        activation: "qcfs" (quantised) or "relu".
        levels: L, the number of quantisation levels, >= 1.
    """

    name = "cba"
    activation: Literal["qcfs", "relu"] = "qcfs"
    levels: int = 8

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ("qcfs", "relu"))
        check_count("levels", self.levels)

    def activate(self, drive: Tensor, params: NeuronParams) -> Tensor:
        """Return the firing rate that the ANN's activation gives for a mean drive."""
        scaled = drive / params.threshold
        if self.activation == "relu":
            return scaled.relu()
        return _QCFS.apply(scaled, self.levels, math.inf if params.several else 1.0)


class _QCFS(torch.autograd.Function):
    """Quantise to multiples of 1/L in [0, top]; pass the gradient straight through inside [0, top]."""

    @staticmethod
    def forward(ctx: Any, scaled: Tensor, levels: int, top: float) -> Tensor:
        ctx.save_for_backward((scaled >= 0) & (scaled <= top))
        return (scaled.clamp(0, top) * levels + 0.5).floor() / levels

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None, None
