"""The search for HART's gamma."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from art.attacks import EvasionAttack
from scipy.special import logsumexp
from tqdm.auto import tqdm

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.evaluation.legacy import ATTACKS, through
from art_snn.evaluation.metrics import Proportion, attack_success_rate
from art_snn.rules import HART

AttackMaker = Callable[[PyTorchSNNClassifier, float, int], EvasionAttack]

# The papers' sweep: 0.10, 0.15, ..., 2.45, which is 48 values.
LOWEST, HIGHEST, STEP = 0.1, 2.45, 0.05


@dataclass(frozen=True)
class GammaCurve:
    """Attack success over gamma, where it was measured.

    Attributes:
        gammas: Values of gamma, rising.
        success: Attack success rate at each.
        losses: Mean cross-entropy of the attacked samples at each; it decides where the success is equal.
        best: The gamma of the largest success.
    """

    gammas: tuple[float, ...]
    success: tuple[Proportion, ...]
    losses: tuple[float, ...]
    best: float

    def points(self) -> list[tuple[float, int, int]]:
        """Return gamma, flipped samples and samples at each value."""
        return [(gamma, share.hits, share.total) for gamma, share in zip(self.gammas, self.success, strict=True)]


def tune_gamma(
    classifier: PyTorchSNNClassifier,
    attack: str | AttackMaker,
    x: np.ndarray,
    y: np.ndarray,
    *,
    eps: float,
    target: PyTorchSNNClassifier | None = None,
    bounds: tuple[float, float] = (LOWEST, HIGHEST),
    step: float = STEP,
    sweep: bool = False,
    batch_size: int = 128,
    verbose: bool = False,
) -> GammaCurve:
    """Search the gamma with which an attack through HART succeeds most.

    The success is about unimodal in gamma (Hao et al., ICLR 2024), so golden-section search on the lattice of ``step``
    (with Fibonacci numbers, which are its ratio on a lattice) finds it in 8 of 48 values. Values that see the same
    inputs share a record pass: for FGSM all of them do.

    Give samples that the result is not reported on: tuning on those is a choice that makes an attack look stronger.

    Args:
        classifier: Where the gradient comes from. Its rule is untouched.
        attack: Name of an attack ("fgsm", "pgd"), or a function of classifier, eps and batch size to an ART attack.
        x: Samples to tune on (N, *input_shape).
        y: Their labels, class indices (N,).
        eps: Largest change of a pixel, > 0.
        target: The classifier that is attacked, where it is another one (black box).
        bounds: Smallest and largest gamma, > 0.
        step: Distance of neighbours on the lattice, > 0.
        sweep: Measure the whole lattice instead, as the papers do.
        batch_size: Samples to attack at once.
        verbose: Show progress.

    Returns:
        All values that were measured, and the best.

    Raises:
        ValueError: A value is out of its range, or there are no samples.
    """
    if isinstance(attack, str) and attack not in ATTACKS:
        raise ValueError(f"unknown attack {attack!r}; known: {', '.join(ATTACKS)}")
    if len(x) == 0:
        raise ValueError("x is empty: there is nothing to tune on")
    if not 0 < bounds[0] < bounds[1] < np.inf:
        raise ValueError(f"bounds must be two rising finite numbers > 0, got {bounds!r}")
    if not 0 < step <= bounds[1] - bounds[0]:
        raise ValueError(f"step must be in (0, {bounds[1] - bounds[0]:g}], got {step!r}")
    if not 0 < eps < np.inf:
        raise ValueError(f"eps must be a finite number > 0, got {eps!r}")
    make = ATTACKS[attack] if isinstance(attack, str) else attack
    victim = classifier if target is None else target
    clean = victim.predict(x, batch_size=batch_size)
    lattice = [round(bounds[0] + i * step, 10) for i in range(round((bounds[1] - bounds[0]) / step) + 1)]
    measured: dict[int, tuple[Proportion, float]] = {}
    progress = tqdm(desc="Tuning gamma", unit="gamma", disable=not verbose, leave=False)

    def score(index: int) -> tuple[int, float]:
        if index not in measured:
            with through(classifier, HART(gamma=lattice[index])):
                examples = make(classifier, eps, batch_size).generate(x, y)
            attacked = victim.predict(examples, batch_size=batch_size)
            measured[index] = attack_success_rate(clean, attacked, y), _cross_entropy(attacked, y)
            progress.update()
        success, loss = measured[index]
        return success.hits, loss

    with progress, classifier.model.shared_records() as memory:
        # All attacks begin at x; where they go from there hangs on gamma, and is not worth remembering.
        with through(classifier, HART(gamma=lattice[0])):
            for start in range(0, len(x), batch_size):
                classifier.loss_gradient(x[start : start + batch_size], y[start : start + batch_size])
        memory.close()
        if sweep:
            for index in range(len(lattice)):
                score(index)
        else:
            fibonacci_search(score, len(lattice))
    order = sorted(measured)
    return GammaCurve(
        gammas=tuple(lattice[i] for i in order),
        success=tuple(measured[i][0] for i in order),
        losses=tuple(measured[i][1] for i in order),
        best=lattice[max(order, key=score)],
    )


def fibonacci_search(score: Callable[[int], tuple[int, float]], count: int) -> int:
    """Return the index in ``range(count)`` with the largest score, if the score rises to it and falls after it.

    Source: Kiefer, "Sequential minimax search for a maximum" (1953).

    Args:
        score: Score of an index; asked again for the same index now and then.
        count: Number of indices, >= 1.
    """
    small, large = 1, 1
    while small + large - 1 < count:
        small, large = large, small + large
    low, high = -1, small + large - 1  # the maximum is strictly between them

    def padded(index: int) -> tuple[float, float]:
        return score(index) if index < count else (-np.inf, -index)

    while high - low > 2:
        left, right = low + small, low + large
        if left == right:
            right += 1
        if padded(left) >= padded(right):
            high = right
        else:
            low = left
        small, large = large - small, small
    return low + 1


def _cross_entropy(logits: np.ndarray, y: Sequence[int] | np.ndarray) -> float:
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(logits)), np.asarray(y)]).mean())
