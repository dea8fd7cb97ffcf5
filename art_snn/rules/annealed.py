"""Annealed slopes: wide at the beginning of an attack, and sharper with each of its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from art_snn.checks import check_positive, check_share
from art_snn.rules.assg import arctangent_slope
from art_snn.rules.base import Remembering, Slope, TemporalRule
from art_snn.rules.memory import Memory


@dataclass(frozen=True, kw_only=True)
class Annealed(Remembering, TemporalRule):
    r"""Unroll the network, and differentiate each spike with an arctangent that sharpens in the course of an attack.

    Its sharpness in the k-th gradient, k = 0, 1, ..., is the same for all neurons:

    .. math::
        \alpha_k = a / w_k, \qquad w_k = b w_{k-1} + (1 - b) w, \qquad w_{-1} = 1

    so that it tells what `ASSG` gains by annealing from what it gains by adapting to each potential. Attacks of
    `art_snn.attacks` anneal; in others the width is ``end`` from the start. Resets are detached. The rule has no name
    in the registry; give it as a value.

    Attributes:
        sharpness: a, > 0.
        end: The width w in the end, in thresholds, > 0.
        momentum: b, in (0, 1).
    """

    title = "annealed arctangent"
    detach_reset = True
    sharpness: float = 6.0
    end: float = 0.4
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_positive("sharpness", self.sharpness)
        check_positive("end", self.end)
        check_share("momentum", self.momentum)

    def slope(self, distance: Tensor) -> Tensor:
        """Return the slope of the width ``end``."""
        return arctangent_slope(distance, torch.full_like(distance, self.sharpness / self.end))

    def stepwise(self, layer: str, call: int) -> Slope | None:
        """Return the slope of the width that the attack has come to, if there is a memory."""
        return None if self.memory is None else partial(self._annealed, self.memory)

    def _annealed(self, memory: Memory, distance: Tensor) -> Tensor:
        widths = distance.new_full((len(distance),), self.end)
        width = memory.read("width", widths, start=1.0).lerp(widths, 1 - self.momentum)
        memory.write("width", width)
        return arctangent_slope(distance, (self.sharpness / width).reshape(-1, *[1] * (distance.ndim - 1)))
