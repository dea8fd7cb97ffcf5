"""SA-PGD: projected gradient descent whose step adapts to how steady each entry's gradient is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from art_snn.attacks.registry import register_attack
from art_snn.attacks.search import Search, SearchSpec
from art_snn.attacks.walks import Walks, checkpoints, per_row

DECAY, SQUARE_DECAY = 0.5, 0.8  # of the sums over steps of the gradient, and of its square
LITTLE = 1e-12


class SAPGD(Search):
    """Stable adaptive projected gradient descent (SA-PGD), in L-infinity, as an attack of ART.

    With ``g`` the gradient of a sample's loss at ``x_i``, and means over its entries::

        m_i = 0.5 m_{i-1} + g / mean|g|              m_{-1} = 0
        v_i = 0.8 v_{i-1} + g**2 / mean(g**2)        v_{-1} = 0
        x_{i+1} = P(x_i + clip(eta m_i / (sqrt(v_i) + 1e-12), -eta, eta))

    P is the projection on the ball of eps and the clip values. ``eta`` is eps at first, and halved after
    `art_snn.attacks.walks.checkpoints`. Where the gradient is all zero, nothing is added to m and v.

    Source: Wang et al., "Towards Reliable Evaluation of Adversarial Robustness for Spiking Neural Networks" (2025),
    with a rule whose slopes sharpen during the attack.

    Args:
        estimator: The classifier, with the rule that the attack is to follow.
        eps: Largest change of an entry, in units of the input, > 0.
        steps: Number of steps, >= 1.
        loss: "cross-entropy" or "margin".
        first_step: ``eta`` at first, in units of the input, > 0; None for eps. A warm start asks for less, as eps / 2.
        seed: Seed of the noise of random starts, >= 0.
        batch_size: Samples that run at the same time, >= 1. A smaller number of samples is filled up.
        verbose: Whether `generate` shows a progress bar.

    Raises:
        ValueError: A number or name is out of its range.
    """

    def _walks(self, x: Tensor) -> Walks:
        return _Steady(x, _sizes(self.eps if self.first_step is None else self.first_step, self.steps))


class _Steady(Walks):
    """Walks of SA-PGD, whose steps have the sizes (N,)."""

    def __init__(self, x: Tensor, sizes: Tensor) -> None:
        super().__init__(x)
        self._sizes = sizes.to(x.device)
        self._sum, self._square = torch.zeros_like(x, dtype=torch.float64), torch.zeros_like(x, dtype=torch.float64)

    def _forget(self, rows: Tensor) -> None:
        self._sum[rows], self._square[rows] = 0, 0

    def _moved(self, gradient: Tensor, loss: Tensor) -> Tensor:
        self._sum = DECAY * self._sum + _in_units_of_its_mean(gradient)
        self._square = SQUARE_DECAY * self._square + _in_units_of_its_mean(gradient.square())
        size = per_row(self._sizes[self.step.clamp(max=len(self._sizes) - 1)], gradient)
        step = size * self._sum / (self._square.sqrt() + LITTLE)
        return self.x + torch.maximum(torch.minimum(step, size), -size)


def _in_units_of_its_mean(values: Tensor) -> Tensor:
    """Return values (B, *S), each row divided by its mean absolute entry; a row of zeros as it is."""
    mean = values.abs().flatten(1).mean(1)
    return values / per_row(torch.where(mean > 0, mean, 1.0), values)


def _sizes(first: float, steps: int) -> Tensor:
    """Return the largest change of an entry in each step (N,): ``first``, halved after each checkpoint."""
    halvings = torch.tensor([sum(after <= step for after in checkpoints(steps)) for step in range(steps)])
    return first * 0.5 ** halvings.double()


@register_attack
@dataclass(frozen=True, kw_only=True)
class SAPGDSpec(SearchSpec):
    """The settings of `SAPGD`, not yet bound to a classifier; a ``first_step`` of None is eps.

    Example:
        >>> SAPGDSpec(eps=0.1)
        SAPGDSpec(eps=0.1, steps=100, loss='cross-entropy', first_step=None, seed=0)
    """

    name: ClassVar[str] = "sa-pgd"
    search: ClassVar[type[Search]] = SAPGD
