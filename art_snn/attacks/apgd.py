"""APGD: projected gradient descent with momentum that halves its own step where the loss no longer grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from art_snn.attacks.registry import register_attack
from art_snn.attacks.search import Search, SearchSpec
from art_snn.attacks.walks import Walks, checkpoints, per_row

MOMENTUM = 0.25  # share of the last move in the next
FEWEST_RISES = 0.75  # share of the steps between two checkpoints
ROUNDING = 1e-6  # of a loss: equal numbers of spikes at other times give the same logits but for this


class APGD(Search):
    """Auto-PGD, in L-infinity, as an attack of ART; any misclassified iterate is a success, and ends the search.

    With ``g`` the gradient of a sample's loss at ``x_k`` and P the projection on the ball of eps and the clip values::

        z = P(x_k + eta sign(g))
        x_{k+1} = P(x_k + 0.75 (z - x_k) + 0.25 (x_k - x_{k-1})),  x_1 = z

    ``eta`` is 2 eps at first. After each of `art_snn.attacks.walks.checkpoints` it is halved, and the search goes on
    from the point of the largest loss, if the loss rose in less than 0.75 of the steps since the last one, or if eta
    was not halved there and the largest loss is still the same. Losses that differ by rounding alone count as equal.

    ART's own looks at the last iterate alone, which need not be misclassified where an earlier one was.

    Source: Croce & Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks" (ICML 2020).

    Args:
        estimator: The classifier, with the rule that the attack is to follow.
        eps: Largest change of an entry, in units of the input, > 0.
        steps: Number of steps, >= 1.
        loss: "cross-entropy" or "margin".
        first_step: ``eta`` at first, in units of the input, > 0; None for 2 eps.
        seed: Seed of the noise of random starts, >= 0.
        batch_size: Samples that run at the same time, >= 1. A smaller number of samples is filled up.
        verbose: Whether `generate` shows a progress bar.

    Raises:
        ValueError: A number or name is out of its range.
    """

    def _walks(self, x: Tensor) -> Walks:
        first = 2 * self.eps if self.first_step is None else self.first_step
        return _Auto(x, first, checkpoints(self.steps))


class _Auto(Walks):
    """Walks of APGD; what is kept for each is in its row."""

    def __init__(self, x: Tensor, first: float, checks: list[int]) -> None:
        super().__init__(x)
        self._first = first
        self._checks = torch.tensor([0, *checks], device=x.device)
        rows = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        self._size, self._last_loss, self._best_loss = rows.clone(), rows.clone(), rows.clone()
        self._checked_loss, self._rises = rows.clone(), rows.clone()
        self._halved = torch.zeros_like(rows, dtype=torch.bool)
        self._before, self._best = x.clone(), x.clone()
        self._best_gradient = torch.zeros_like(x, dtype=torch.float64)

    def _forget(self, rows: Tensor) -> None:
        self._size[rows], self._rises[rows], self._halved[rows] = self._first, 0, False
        for loss in (self._last_loss, self._best_loss, self._checked_loss):
            loss[rows] = -torch.inf
        self._before[rows] = self._best[rows] = self.x[rows]
        self._best_gradient[rows] = 0

    def _moved(self, gradient: Tensor, loss: Tensor) -> Tensor:
        begun = self.step > 0
        self._rises += begun & _above(loss, self._last_loss)
        self._last_loss = loss
        self._keep(gradient, loss)
        self._checked_loss = torch.where(begun, self._checked_loss, self._best_loss)
        back = per_row(self._check(), gradient)
        x = torch.where(back, self._best, self.x)
        sign = torch.where(back, self._best_gradient, gradient).sign()
        aim = self._inside(x + per_row(self._size, gradient) * sign).double()
        momentum = per_row(torch.where(begun, MOMENTUM, 0.0), gradient)
        moved = x + (1 - momentum) * (aim - x) + momentum * (x.double() - self._before)
        self._before = x
        return moved

    def _keep(self, gradient: Tensor, loss: Tensor) -> None:
        """Keep the iterates whose loss is the largest so far, with their gradients."""
        better = _above(loss, self._best_loss)
        self._best_loss = torch.where(better, loss, self._best_loss)
        better = per_row(better, gradient)
        self._best = torch.where(better, self.x, self._best)
        self._best_gradient = torch.where(better, gradient, self._best_gradient)

    def _check(self) -> Tensor:
        """Halve the step where the search has come to a checkpoint and does not get on; return where (B,)."""
        index = torch.searchsorted(self._checks, self.step).clamp(max=len(self._checks) - 1)
        here = (self._checks[index] == self.step) & (self.step > 0)
        interval = self._checks[index] - self._checks[(index - 1).clamp(min=0)]
        few = self._rises < FEWEST_RISES * interval
        stalled = ~self._halved & (self._checked_loss >= self._best_loss)
        back = here & (few | stalled)
        self._size = torch.where(back, self._size / 2, self._size)
        self._halved = torch.where(here, back, self._halved)
        self._checked_loss = torch.where(here, self._best_loss, self._checked_loss)
        self._rises = torch.where(here, 0.0, self._rises)
        return back


def _above(loss: Tensor, other: Tensor) -> Tensor:
    return loss > other + ROUNDING * other.abs().clamp(min=1).nan_to_num(posinf=0.0)


@register_attack
@dataclass(frozen=True, kw_only=True)
class APGDSpec(SearchSpec):
    """The settings of `APGD`, not yet bound to a classifier; a ``first_step`` of None is 2 eps.

    Example:
        >>> APGDSpec(eps=0.1)
        APGDSpec(eps=0.1, steps=100, loss='cross-entropy', first_step=None, seed=0)
    """

    name: ClassVar[str] = "apgd"
    search: ClassVar[type[Search]] = APGD
