"""SDA: as few entries of binary event frames as possible, flipped one set after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator

from art_snn.attacks.base import Attack
from art_snn.attacks.cost import gradient_cost
from art_snn.attacks.event_changes import flips
from art_snn.attacks.events import EventAttack
from art_snn.attacks.found import Found
from art_snn.attacks.judging import judge
from art_snn.attacks.losses import margin
from art_snn.attacks.registry import register_attack
from art_snn.attacks.slots import remembering
from art_snn.checks import check_count, check_seed
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.rules.base import GradientRule

RESOLUTION = 1e-5  # of the largest logit


class SparseDynamicAttack(EventAttack):
    """Sparse dynamic attack (SDA) on binary event frames: flip entries until the class changes, then undo what may be.

    With ``J = max(0, z_y - max_{k != y} z_k)``, which is to fall, and S the entries that are flipped, iteration
    n = 0, 1, ... is::

        g = dJ/dx, 0 where a flip goes up the gradient; zeros become U(0, 1) times the smallest |g| that is not 0
        K = the k_init (n + 1) entries outside S with the largest |g|
        d_p = J(with p flipped, too) - J                for each p in K, a forward pass each
        S grows by those p in K with d_p <= 0

    Once the network is wrong, flips are undone in the order of the size of ``d_p``, smallest first: as many as a binary
    search finds that leave it wrong. `art_snn.attacks.flips` counts what is left.

    Differences ``d_p`` below 1e-5 of the largest logit count as 0, as rounding errors do.

    Source: Lun et al., "Towards Effective and Sparse Adversarial Attack on Spiking Neural Networks via Breaking
    Invisible Surrogate Gradients" (CVPR 2025), there with a surrogate slope of its own.

    Args:
        estimator: The classifier of event frames.
        k_init: Number of entries to try in the first iteration, >= 1; each one tries as many more.
        max_iter: Most iterations, >= 1. All of them take ``k_init * max_iter * (max_iter + 1) / 2`` forward passes.
        max_flips: Most entries that may differ in the end, >= 1 (L0); None for any number. Samples that need more count
            as not broken.
        rule: Rule of the gradient, one through time; None is the classifier's, or ``STBP(detach_reset=True)`` where
            that has one gradient for all frames.
        seed: Seed of the noise in the place of zeros, >= 0.
        batch_size: Flips that are tried at the same time, >= 2.
        verbose: Whether `generate` shows a progress bar.

    Raises:
        UnsupportedInputError: The network takes no event frames.
        UnsupportedRuleError: The rule does not go through time.
        ValueError: A number is out of its range.
    """

    attack_params: list[str] = ["k_init", "max_iter", "max_flips", "rule", "seed", "batch_size", "verbose"]  # noqa: RUF012

    def __init__(
        self,
        estimator: PyTorchSNNClassifier,
        *,
        k_init: int = 10,
        max_iter: int = 500,
        max_flips: int | None = None,
        rule: str | GradientRule | None = None,
        seed: int = 0,
        batch_size: int = 64,
        verbose: bool = False,
    ) -> None:
        super().__init__(estimator=estimator)
        self.k_init, self.max_iter, self.max_flips, self.rule = k_init, max_iter, max_flips, rule
        self.seed, self.batch_size, self.verbose = seed, batch_size, verbose
        self._check_params()

    def _check_frames(self, frames: np.ndarray) -> float:
        reason = (
            "flips binary event frames, and {}; make them binary, (x > 0).astype(np.float32), or with --binary on the "
            "command line, for a network that is trained on such frames, or move events with SpikeRetiming"
        )
        self._refuse(frames, (frames == 0) | (frames == 1), reason)
        return 1

    def _found(
        self,
        rule: GradientRule,
        frames: np.ndarray,
        labels: np.ndarray,
        seeds: np.ndarray,
        progress: Callable[[int], Any],
    ) -> Found:
        wrong, margins = judge(self.estimator, frames, labels, self.batch_size)
        step = np.where(wrong, 0, -1)
        found = Found(frames.copy(), wrong, step, margins, np.ones(len(frames)))
        progress(int(wrong.sum()))
        for index in np.flatnonzero(~wrong):
            sample = _Sample(self.estimator, rule, frames[index], int(labels[index]), self.batch_size)
            noise = np.random.default_rng([self.seed, int(seeds[index])])
            iteration = self._search_one(sample, noise)
            fits = self.max_flips is None or flips(frames[None, index], sample.x_adv[None])[0] <= self.max_flips
            if iteration and fits:
                found.x_adv[index], found.broken[index], found.step[index] = sample.x_adv, True, iteration
            found.margin[index] = sample.margin if iteration and fits else min(sample.least_margin, margins[index])
            found.forwards[index] += sample.forwards
            progress(1)
        return found

    def _search_one(self, sample: _Sample, noise: np.random.Generator) -> int:
        """Flip entries of a sample; return in which iteration, from 1, its class changed, and 0 if it did not."""
        flipped = np.zeros(sample.size, dtype=bool)
        changes = np.full(sample.size, np.inf)
        for iteration in range(1, self.max_iter + 1):
            count = min(self.k_init * iteration, int((~flipped).sum()))
            if not count:
                break
            size = saliency(sample.gradient(), sample.x_adv.reshape(-1), noise)
            size[flipped] = -1
            tried = np.argsort(-size, kind="stable")[:count]
            tested = sample.changes(tried)
            helpful = tested <= 0
            flipped[tried], changes[tried] = helpful, np.where(helpful, tested, np.inf)
            if sample.flip(flipped):
                _undo(sample, flipped, changes)
                return iteration
        return 0

    def _check_params(self) -> None:
        super()._check_params()
        check_sda(self)
        check_count("batch_size", self.batch_size, least=2)


def saliency(gradient: np.ndarray, x: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """Return how much the loss should fall with each flip (M,), float64, from its gradient at binary frames (M,).

    Flips that go up the gradient, and entries without one, get noise below all others.
    """
    down = (1 - 2 * x) * gradient < 0
    size = np.where(down, np.abs(gradient), 0).astype(np.float64)
    least = size[down].min() if down.any() else 1.0
    drawn = noise.random(len(size))
    return np.where(down, size, drawn * least)


def _undo(sample: _Sample, flipped: np.ndarray, changes: np.ndarray) -> None:
    """Undo the flips that did least, as many as a binary search finds that leave the network wrong."""
    order = np.flatnonzero(flipped)
    order = order[np.argsort(np.abs(changes[order]), kind="stable")]
    least, most = 0, len(order) - 1
    kept = flipped
    while least < most:
        middle = (least + most + 1) // 2
        fewer = flipped.copy()
        fewer[order[:middle]] = False
        if sample.flip(fewer):
            least, kept = middle, fewer
        else:
            most = middle - 1
    sample.flip(kept)


class _Sample:
    """One sample, its flips, and what the network makes of them.

    Attributes:
        x_adv: The frames as they are now (T, ...).
        margin: Margin of these; inf where predictions are no logits.
        least_margin: The smallest margin so far.
        forwards: What was spent, in forward passes of all time-steps.
    """

    def __init__(
        self,
        classifier: PyTorchSNNClassifier,
        rule: GradientRule,
        frames: np.ndarray,
        label: int,
        batch_size: int,
    ) -> None:
        self._victim = classifier
        view = classifier.with_rule(rule, warn=False)  # of zeros, which noise takes the place of
        self._source, self._memory = remembering(view)
        self._source.postprocessing_defences = None  # whose outputs are no logits
        self._frames, self._label, self._batch_size = frames, label, batch_size
        self.x_adv, self.size = frames.copy(), frames.size
        self.margin = self.least_margin = np.inf
        self.forwards = 0.0

    def gradient(self) -> np.ndarray:
        """Return the gradient of the margin (M,), which is that of J until the class changes."""
        x = torch.as_tensor(self.x_adv[None], device=self._source.device)
        gradient, _ = self._source.gradient_and_logits(x, [self._label], margin)
        self._memory.settle()
        self.forwards += gradient_cost(self._source, x)
        return torch.as_tensor(gradient).cpu().numpy().reshape(-1)

    def changes(self, entries: np.ndarray) -> np.ndarray:
        """Return by how much J changes with each of these entries (R,) flipped alone, float64."""
        parts = [entries[i : i + self._batch_size - 1] for i in range(0, len(entries), self._batch_size - 1)]
        return np.concatenate([self._changes(part) for part in parts])

    def _changes(self, entries: np.ndarray) -> np.ndarray:
        """Compare rows of one batch, in multiples of what float32 resolves: kernels round as the batch's size is."""
        batch = np.repeat(self.x_adv.reshape(1, -1), len(entries) + 1, 0)
        rows = np.arange(1, len(batch))
        batch[rows, entries] = 1 - batch[rows, entries]
        logits = torch.from_numpy(self._source.predict(batch.reshape(-1, *self.x_adv.shape), len(batch))).double()
        self.forwards += len(batch)
        losses = margin(logits, torch.full((len(batch),), self._label)).clamp(min=0)
        least = RESOLUTION * float(logits[0].abs().max()) or 1.0
        return ((losses[1:] - losses[0]) / least).round().numpy() * least

    def flip(self, flipped: np.ndarray) -> bool:
        """Flip these entries (M,) and no others; say whether the network is wrong."""
        self.x_adv = np.where(flipped.reshape(self._frames.shape), 1 - self._frames, self._frames)
        wrong, margins = judge(self._victim, self.x_adv[None], np.array([self._label]), 1)
        self.margin = float(margins[0])
        self.least_margin = min(self.least_margin, self.margin)
        self.forwards += 1
        return bool(wrong[0])


@register_attack
@dataclass(frozen=True, kw_only=True)
class SDASpec(Attack):
    """The settings of `SparseDynamicAttack`, not yet bound to a classifier, whose rule it follows.

    It has no eps: a flip changes an entry by 1, and the budget is the number of flips.

    Example:
        >>> SDASpec(max_flips=200)
        SDASpec(k_init=10, max_iter=500, max_flips=200, seed=0)
    """

    name: ClassVar[str] = "sda"
    eps: ClassVar[float] = 0.0  # type: ignore[misc]
    k_init: int = 10  #: Number of entries to try in the first iteration, >= 1.
    max_iter: int = 500  #: Most iterations, >= 1.
    max_flips: int | None = None  #: Most entries that may differ in the end, >= 1; None for any number.
    seed: int = 0  #: Seed of the noise in the place of zeros, >= 0.

    def __post_init__(self) -> None:
        check_sda(self)

    def make(self, classifier: BaseEstimator, *, batch_size: int = 64) -> EvasionAttack:
        """Return the attack on a `PyTorchSNNClassifier`; UnsupportedRuleError if its rule is not through time."""
        rule = classifier.gradient_rule
        return SparseDynamicAttack(classifier, **vars(self), rule=rule, batch_size=max(2, batch_size))


def check_sda(settings: Any) -> None:
    """Raise ValueError unless the settings of the attack are in their ranges."""
    check_count("k_init", settings.k_init)
    check_count("max_iter", settings.max_iter)
    if settings.max_flips is not None:
        check_count("max_flips", settings.max_flips)
    check_seed(settings.seed)
