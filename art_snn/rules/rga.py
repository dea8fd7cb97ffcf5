"""RGA: the rate gradient approximation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from art_snn.rules.base import LayerRecord, RateRule
from art_snn.rules.registry import register_rule


@register_rule
@dataclass(frozen=True, kw_only=True)
class RGA(RateRule):
    r"""Take the firing rate as a piecewise linear function of the mean input current.

    .. math::
        G(\bar x) = \begin{cases}
        g & 0 \le \bar x < (1-\lambda)\theta \\
        (1 - g (1-\lambda)) / (1+\lambda) & (1-\lambda)\theta \le \bar x \le 2\theta \\
        0 & \text{otherwise}
        \end{cases}

    Source: Bu et al., "Rate Gradient Approximation Attack Threats Deep Spiking Neural Networks" (CVPR 2023).

    Attributes:
        slope_below: g, the slope below the current that makes a neuron fire at all, in [0, 1].
    """

    name = "rga"
    slope_below: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.slope_below <= 1:
            raise ValueError(f"slope_below must be in [0, 1], got {self.slope_below!r}")

    def gain(self, record: LayerRecord) -> Tensor:
        """Return the slope of the piece that each mean current falls in."""
        current, params = record.mean_current, record.params
        onset = (1 - params.decay) * params.threshold
        slope_above = (1 - self.slope_below * (1 - params.decay)) / (1 + params.decay)
        below = (current >= 0) & (current < onset)
        above = (current >= onset) & (current <= 2 * params.threshold)
        return self.slope_below * below.to(current.dtype) + slope_above * above.to(current.dtype)
