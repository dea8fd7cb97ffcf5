"""RGA: the rate gradient approximation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from art_snn.rules.base import LayerRecord, RateRule
from art_snn.rules.registry import register_rule
from art_snn.snn.dynamics import in_thresholds


@register_rule
@dataclass(frozen=True, kw_only=True)
class RGA(RateRule):
    r"""Take the firing rate as a piecewise linear function of the mean drive :math:`\bar x`, in thresholds.

    .. math::
        G(z) = \begin{cases}
        g & 0 \le z < 1-\lambda \\
        (1 - g (1-\lambda)) / (1+\lambda) & 1-\lambda \le z \le 2 \\
        0 & \text{otherwise}
        \end{cases}
        \qquad z = \bar x / \theta

    Neurons that may give several spikes a step do not saturate: their second piece has no upper end.

    Source: Bu et al., "Rate Gradient Approximation Attack Threats Deep Spiking Neural Networks" (CVPR 2023).

    Attributes:
        slope_below: g, the slope below the drive that makes a neuron fire at all, in [0, 1].
    """

    name = "rga"
    slope_below: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.slope_below <= 1:
            raise ValueError(f"slope_below must be in [0, 1], got {self.slope_below!r}")

    def gain(self, record: LayerRecord) -> Tensor:
        """Return the slope of the piece that each mean drive falls in."""
        drive, decay = in_thresholds(record.mean_drive, record.params), record.params.decay
        onset = 1 - decay
        slope_above = (1 - self.slope_below * onset) / (1 + decay)
        below = (drive >= 0) & (drive < onset)
        above = drive >= onset
        if not record.params.several:
            above &= drive <= 2
        return self.slope_below * below.to(drive.dtype) + slope_above * above.to(drive.dtype)
