"""The rate gradient: the mean ratio of firing rate to drive."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from art_snn.rules.base import LayerRecord, RateRule
from art_snn.rules.registry import register_rule
from art_snn.snn.dynamics import in_thresholds


@register_rule
@dataclass(frozen=True, kw_only=True)
class RateGradient(RateRule):
    r"""Give the neurons of a layer one slope, the mean of rate over drive where the mean drive is positive.

    .. math::
        G = \mathbb{E}\left[ r / z \,\middle|\, z > 0 \right] [z > 0], \qquad z = \bar x / \theta

    Here :math:`\bar x` is the mean drive of a neuron. The outer mean runs over one sample's neurons, so that a sample's
    gradient does not depend on its batch.

    Source: Hao et al., "Threaten Spiking Neural Networks through Combining Rate and Temporal Information" (ICLR 2024).
    """

    name = "rate"
    title = "rate gradient"

    def gain(self, record: LayerRecord) -> Tensor:
        """Return the sample's mean ratio where the mean drive is positive, 0 elsewhere."""
        drive = in_thresholds(record.mean_drive, record.params)
        positive = drive > 0
        ratio = (record.rate / drive.where(positive, 1.0)).where(positive, 0.0)
        features = tuple(range(1, drive.ndim))
        if not features:
            return ratio
        count = positive.sum(dim=features, keepdim=True).clamp(min=1)
        return ratio.sum(dim=features, keepdim=True) / count * positive.to(drive.dtype)
