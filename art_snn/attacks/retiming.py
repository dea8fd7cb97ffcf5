"""Spike retiming: events change their frame, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator
from torch import Tensor

from art_snn.attacks.base import Attack
from art_snn.attacks.events import EventAttack
from art_snn.attacks.found import Found
from art_snn.attacks.losses import LOSSES
from art_snn.attacks.packets import Budget, Packets, at_targets, move, occupancy
from art_snn.attacks.registry import register_attack
from art_snn.attacks.samples import Samples
from art_snn.attacks.slots import Slots
from art_snn.attacks.walks import Walks
from art_snn.checks import check_choice, check_count
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.errors import UnsupportedInputError
from art_snn.rules.base import GradientRule

NEAR, MOST = 4.0, 10.0  # logits of shifts by at most one frame at first, and the largest that any may have
CROWDING = 20.0  # weight of the penalty
GAIN_DECAY = 0.9
ROUNDING = 1e-12


class SpikeRetiming(EventAttack):
    """Spike retiming on event frames of whole counts: events move to other frames, none is lost or made.

    A packet, what a pixel and polarity holds in a frame, has a logit for every shift d from -D to D, at first 4 for
    -1, 0 and 1, else 0. With ``pi = softmax(phi)`` the frames are ``x_soft(t) = sum_d pi_d(t - d) x(t - d)``. What the
    network sees are whole packets: each moves by its largest logit, one packet to a frame, and losers stay
    (`art_snn.attacks.packets.move`). A step goes straight through that to the logits::

        phi += sign(d(loss - 20 mean(max(0, occupancy - 1)**2)) / dphi), clipped to -10 to 10

    where the occupancy of a frame is the sum of ``pi`` of the packets that may come to it. Every iterate is looked at,
    and the first one that the network misclassifies ends a sample's search.

    Source: Yu et al., "Time Is All It Takes: Spike-Retiming Attacks on Event-Driven Spiking Neural Networks" (ICLR
    2026). Ours are the form of the penalty, and which packets move where not all can: those that the loss gains most
    by, in a sum over steps of its gradient. In it gains are in units of the sample's largest one, and a step counts 0.9
    times as much as the one after it.

    Args:
        estimator: The classifier of event frames.
        max_shift: Most frames that an event may move, D >= 1 (L-infinity).
        max_delay: Most frames that all events may move together, >= 1 (L1); None for any number.
        max_moved: Most events that may move, >= 1 (L0); None for any number.
        steps: Number of steps, >= 1.
        loss: "cross-entropy" or "margin".
        rule: Rule of the gradient, one through time; None is the classifier's, or ``STBP(detach_reset=True)`` where
            that has one gradient for all frames.
        batch_size: Samples that run at the same time, >= 1. A smaller number of samples is filled up.
        verbose: Whether `generate` shows a progress bar.

    Raises:
        UnsupportedInputError: The network takes no event frames.
        UnsupportedRuleError: The rule does not go through time.
        ValueError: A number or name is out of its range.
    """

    attack_params: list[str] = [  # noqa: RUF012
        *("max_shift", "max_delay", "max_moved", "steps", "loss", "rule", "batch_size", "verbose")
    ]

    def __init__(
        self,
        estimator: PyTorchSNNClassifier,
        *,
        max_shift: int = 1,
        max_delay: int | None = None,
        max_moved: int | None = None,
        steps: int = 20,
        loss: str = "cross-entropy",
        rule: str | GradientRule | None = None,
        batch_size: int = 32,
        verbose: bool = False,
    ) -> None:
        super().__init__(estimator=estimator)
        self.max_shift, self.max_delay, self.max_moved = max_shift, max_delay, max_moved
        self.steps, self.loss, self.rule = steps, loss, rule
        self.batch_size, self.verbose = batch_size, verbose
        self._check_params()

    @property
    def budget(self) -> Budget:
        """How much may be moved."""
        return Budget(self.max_shift, self.max_delay, self.max_moved)

    def _check_frames(self, frames: np.ndarray) -> float:
        reason = (
            "moves whole events, and {}; give frames of counts, which were not brought to another size "
            "(image_size=None) or normalised"
        )
        self._refuse(frames, (frames >= 0) & (frames == np.floor(frames)), reason)
        if frames.shape[1] < 2:
            raise UnsupportedInputError(f"SpikeRetiming needs several frames, got one: shape {frames.shape}")
        return float(frames.max(initial=0))

    def _found(
        self,
        rule: GradientRule,
        frames: np.ndarray,
        labels: np.ndarray,
        seeds: np.ndarray,
        progress: Callable[[int], Any],
    ) -> Found:
        most = np.full_like(frames, frames.max(initial=0))
        samples = Samples(frames, labels, np.zeros_like(frames), most, frames)
        budget = self.budget
        classifier = self.estimator.with_rule(rule, warn=self.estimator._warns)
        slots = Slots(classifier, samples, LOSSES[self.loss], self.batch_size, lambda x: Retimings(x, budget))
        return slots.run(self.steps, progress)

    def _check_params(self) -> None:
        super()._check_params()
        check_retiming(self)


class Retimings(Walks):
    """A batch of frames whose packets move; the frames that a walk begins with are those that it retimes.

    Attributes:
        logits: Logits of shifts, -inf where one would leave the frames (B, E, K), float64.
        gains: What the loss gains by each shift, summed over steps (B, E, K), float64.
    """

    def __init__(self, x: Tensor, budget: Budget) -> None:
        super().__init__(x)
        self._budget = budget
        self._shifts = torch.arange(-budget.shift, budget.shift + 1, device=x.device)
        self._start = x.clone()
        self._begin()

    def _begin(self) -> None:
        self._packets = Packets.of(self._start.flatten(2))
        near = torch.where(self._shifts.abs() <= 1, NEAR, 0.0).double()
        self.logits = torch.where(self._packets.is_inside(self._budget.shift), near, -torch.inf)
        self.gains = torch.zeros_like(self.logits)

    def _forget(self, rows: Tensor) -> None:
        """Begin anew in these rows; the packets of the others keep their places, which come first."""
        kept = self.logits, self.gains
        self._start[rows] = self.x[rows]
        self._begin()
        others = torch.ones(len(self.x), dtype=torch.bool, device=self.x.device)
        others[rows] = False
        for old, new in zip(kept, (self.logits, self.gains), strict=True):
            width = min(old.shape[1], new.shape[1])  # what is beyond only fills up
            new[others, :width] = old[others, :width]

    def _moved(self, gradient: Tensor, loss: Tensor) -> Tensor:
        shift, slope = self._budget.shift, gradient.flatten(2)
        step = shift_gradient(self._packets, self.logits, slope, shift).sign()
        self.logits = torch.where(self.logits > -torch.inf, (self.logits + step).clamp(-MOST, MOST), -torch.inf)
        gain = self._packets.events.unsqueeze(-1) * at_targets(self._packets, slope, shift)
        largest = gain.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(gain.dtype).tiny)
        self.gains = GAIN_DECAY * self.gains + gain / largest
        order = (2 * self._shifts.abs() + (self._shifts > 0)).double() / 1e6  # of equal logits, the smaller shift's
        chosen = (self.logits - order).argmax(-1)
        worth = self.gains.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) - self.gains[..., shift]
        return move(self._packets, self._shifts[chosen], worth, self._budget).reshape(self.x.shape)


def shift_gradient(packets: Packets, logits: Tensor, gradient: Tensor, shift: int) -> Tensor:
    """Return the gradient of loss and penalty with respect to logits of shifts, (B, E, K), float64.

    A gradient that is the same in all frames gives 0, but for the penalty.

    Args:
        packets: The packets, before any move.
        logits: Logits of shifts (B, E, K), -inf where one would leave the frames.
        gradient: Gradient of the loss with respect to the frames as they are (B, T, P).
        shift: D.
    """
    events = packets.events.unsqueeze(-1)
    share = logits.softmax(-1) * (events > 0)
    crowd = (occupancy(packets, share, shift) - 1).clamp(min=0)
    penalty = CROWDING * 2 * crowd / crowd[:1].numel()
    value = events * at_targets(packets, gradient, shift) - at_targets(packets, penalty, shift)
    above = value - (share * value).sum(-1, keepdim=True)
    least = ROUNDING * value.abs().amax(-1, keepdim=True)
    return share * torch.where(above.abs() > least, above, 0.0)


@register_attack
@dataclass(frozen=True, kw_only=True)
class RetimingSpec(Attack):
    """The settings of `SpikeRetiming`, not yet bound to a classifier, whose rule it follows.

    It has no eps: the budget is in frames and events.

    Example:
        >>> RetimingSpec(max_shift=2)
        RetimingSpec(max_shift=2, max_delay=None, max_moved=None, steps=20, loss='cross-entropy')
    """

    name: ClassVar[str] = "retiming"
    title: ClassVar[str] = "retiming"
    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    max_shift: int = 1  #: Most frames that an event may move, >= 1.
    max_delay: int | None = None  #: Most frames that all events may move together, >= 1; None for any number.
    max_moved: int | None = None  #: Most events that may move, >= 1; None for any number.
    steps: int = 20  #: Number of steps, >= 1.
    loss: str = "cross-entropy"  #: "cross-entropy" or "margin".

    def __post_init__(self) -> None:
        check_retiming(self)

    def make(self, classifier: BaseEstimator, *, batch_size: int = 32) -> EvasionAttack:
        """Return the attack on a `PyTorchSNNClassifier`; UnsupportedRuleError if its rule is not through time."""
        return SpikeRetiming(classifier, **vars(self), rule=classifier.gradient_rule, batch_size=batch_size)


def check_retiming(settings: Any) -> None:
    """Raise ValueError unless the settings of the attack are in their ranges."""
    check_count("max_shift", settings.max_shift)
    for name in ("max_delay", "max_moved"):
        if getattr(settings, name) is not None:
            check_count(name, getattr(settings, name))
    check_count("steps", settings.steps)
    check_choice("loss", settings.loss, LOSSES)
