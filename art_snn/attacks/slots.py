"""Samples take turns in a batch of constant size: who is broken or done leaves, and the next one takes the row."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_snn.attacks.cost import gradient_cost
from art_snn.attacks.found import Found
from art_snn.attacks.judging import draws_of, judge, wrong_shares
from art_snn.attacks.losses import Loss, margin
from art_snn.attacks.samples import Samples
from art_snn.attacks.walks import Walks
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.errors import GradientWarning
from art_snn.rules.base import TemporalRule
from art_snn.rules.memory import Memory

# Candidates that are judged at once: a constant size, as of all batches, and small, since they come one by one. In
# smaller batches, kernels round each row differently.
FEW = 16
# Of the draws of a random encoder, as many have to be wrong before a search ends. Half would end it by luck, since an
# attack shows many iterates.
SURE = 0.75
NOBODY = -1

Watch = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]


class Slots:
    """One search over samples.

    Args:
        classifier: The classifier, with the rule of the attack.
        samples: The samples.
        loss: What the walks make large.
        size: Number of rows B of a batch.
        walks: Function from iterates (B, *S) to walks that start there.
    """

    def __init__(
        self,
        classifier: PyTorchSNNClassifier,
        samples: Samples,
        loss: Loss,
        size: int,
        walks: Callable[[Tensor], Walks],
    ) -> None:
        self._classifier, self._memory = remembering(classifier)
        self._samples, self._loss, self._size = samples, loss, size
        number = len(samples.x)
        self._owner = np.full(size, NOBODY)
        self._waiting = iter(range(0))
        self._make = walks
        self._found = Found(
            x_adv=samples.x.copy(),
            broken=np.zeros(number, dtype=bool),
            step=np.full(number, -1, dtype=np.int64),
            margin=np.full(number, np.inf, dtype=np.float32),
            forwards=np.zeros(number),
        )
        self._share = np.zeros(number)  # of draws that ``x_adv`` makes wrong, where most are
        self._at = np.full(number, -1)  # its step

    def run(self, steps: int, progress: Callable[[int], Any] | None, watch: Watch | None = None) -> Found:
        """Walk ``steps`` steps with each sample that is not broken before; return what was found."""
        self._watch = watch
        told = progress or (lambda _: None)
        told(self._judge_inputs())
        waiting = np.flatnonzero(~self._found.broken)
        if not len(waiting):
            return self._found
        self._waiting = iter(waiting)
        self._walks = self._make(self._tensor(np.repeat(self._samples.start[waiting[:1]], self._size, 0)))
        self._labels = np.full(self._size, self._samples.y[waiting[0]])
        self._fill()
        while (self._owner != NOBODY).any():
            told(self._step() + self._finish(steps))
            self._fill()
        self._judge_doubtful()
        wrong = self._share > 1 / 2
        self._found.broken[wrong], self._found.step[wrong] = True, self._at[wrong]
        return self._found

    def _judge_inputs(self) -> int:
        """Judge the inputs themselves; return how many are misclassified."""
        samples, found = self._samples, self._found
        wrong, margins = judge(self._classifier, samples.x, samples.y, self._size)
        found.broken[:], found.margin[:] = wrong, margins
        found.step[wrong] = 0
        found.forwards[:] += draws_of(self._classifier)
        return int(wrong.sum())

    def _judge_doubtful(self) -> None:
        """Judge again, by fresh draws of a random encoder, what most draws make wrong, and not so many that it is sure.

        The iterate with the most wrong draws of many iterates has some by luck.
        """
        doubtful = np.flatnonzero((self._share > 1 / 2) & (self._share < SURE))
        if len(doubtful):
            samples, found = self._samples, self._found
            wrong, _ = judge(self._classifier, found.x_adv[doubtful], samples.y[doubtful], self._size)
            found.forwards[doubtful] += draws_of(self._classifier)
            self._share[doubtful[~wrong]] = 0

    def _fill(self) -> None:
        """Let samples that wait take the rows that are free."""
        rows = np.flatnonzero(self._owner == NOBODY)
        chosen = [index for _, index in zip(rows, self._waiting, strict=False)]
        rows = rows[: len(chosen)]
        if chosen:
            samples = self._samples
            self._owner[rows], self._labels[rows] = chosen, samples.y[chosen]
            values = (self._tensor(each[chosen]) for each in (samples.start, samples.low, samples.high))
            index = torch.as_tensor(rows, device=self._walks.x.device)
            self._walks.begin(index, *values)
            self._memory.restart(index)

    def _step(self) -> int:
        """Look at what the network makes of the iterates, and move up their gradient; return how many broke."""
        walks, labels = self._walks, torch.as_tensor(self._labels, device=self._walks.x.device)
        gradient, logits = self._classifier.gradient_and_logits(walks.x, self._labels, self._loss)
        self._memory.settle()
        taken, loss = self._owner != NOBODY, self._loss(logits, labels)
        if self._watch is not None:
            self._watch(*(values[taken] for values in (self._owner, walks.step.cpu().numpy(), loss.cpu().numpy())))
        self._found.forwards[self._owner[taken]] += gradient_cost(self._classifier, walks.x)
        wrong = ((logits.argmax(1) != labels) & torch.isfinite(logits).all(1)).cpu().numpy()
        margins = margin(logits, labels).cpu().numpy()
        self._note(np.flatnonzero(taken & ~wrong), margins[taken & ~wrong])
        broken = self._judge(np.flatnonzero(taken & wrong), margins)
        walks.move(torch.as_tensor(gradient), loss)
        return broken

    def _finish(self, steps: int) -> int:
        """Judge the iterates of walks that have made all their moves, and let them leave; return how many did."""
        done = np.flatnonzero((self._owner != NOBODY) & (self._walks.step.cpu().numpy() >= steps))
        self._judge(done, np.full(self._size, np.inf, dtype=np.float32))
        self._owner[done] = NOBODY
        return len(done)

    def _judge(self, rows: np.ndarray, margins: np.ndarray) -> int:
        """Let rows whose iterate the network surely misclassifies leave; return how many these are.

        ``margins`` (B,) stand in where predictions have none.
        """
        if not len(rows):
            return 0
        iterates = self._rows(self._walks.x, rows)
        self._found.forwards[self._owner[rows]] += draws_of(self._classifier)
        shares, judged = wrong_shares(self._classifier, iterates, self._labels[rows], min(FEW, self._size))
        judged = np.where(np.isfinite(judged), judged, margins[rows])
        self._note(rows, judged, shares)
        sure = shares >= SURE
        self._owner[rows[sure]] = NOBODY
        return int(sure.sum())

    def _note(self, rows: np.ndarray, margins: np.ndarray, shares: np.ndarray | None = None) -> None:
        """Keep the iterates in these rows (R,) if they are better than those before.

        Better is a larger share of wrong draws (R,), if it is more than half; then a smaller margin (R,).
        """
        found, owners = self._found, self._owner[rows]
        most = np.zeros(len(rows)) if shares is None else np.where(shares > 1 / 2, shares, 0)
        known = self._share[owners]
        better = (most > known) | ((most == known) & (margins < found.margin[owners]))
        kept, best = owners[better], rows[better]
        found.margin[kept], self._share[kept] = margins[better], most[better]
        found.x_adv[kept], self._at[kept] = self._rows(self._walks.x, best), self._rows(self._walks.step, best)

    def _rows(self, values: Tensor, rows: np.ndarray) -> np.ndarray:
        return values[torch.as_tensor(rows, device=values.device)].cpu().numpy()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=self._classifier.device)


def remembering(classifier: PyTorchSNNClassifier) -> tuple[PyTorchSNNClassifier, Memory]:
    """Return the classifier with a memory for its rule, if this is one that remembers, and the memory.

    Warns:
        GradientWarning: The classifier has a ``time_chunk``, with which a rule through time cannot remember.
    """
    memory, rule = Memory(), classifier.gradient_rule
    if not rule.remembers:
        return classifier, memory
    if classifier.time_chunk is not None and isinstance(rule, TemporalRule):
        warnings.warn(
            f"{rule!r} goes without its memory, since time_chunk={classifier.time_chunk} runs the last steps again "
            "first; set time_chunk to None for a stronger attack",
            GradientWarning,
            stacklevel=2,
        )
        return classifier, memory
    return classifier.with_rule(rule.remembering(memory), warn=classifier._warns), memory
