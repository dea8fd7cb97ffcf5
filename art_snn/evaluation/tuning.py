"""The search for the value of a rule's hyperparameter, such as HART's gamma."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from art_snn.attacks import Attack
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array
from art_snn.evaluation.metrics import Proportion
from art_snn.evaluation.outcomes import check_attacks, check_samples, correct_samples, run_attack
from art_snn.labels import Labels
from art_snn.rules import GradientRule, get_rule

# The papers' sweep of gamma: 0.10, 0.15, ..., 2.45, which is 48 values.
BOUNDS, STEP = (0.1, 2.45), 0.05


@dataclass(frozen=True)
class Curve:
    """Attack success over a hyperparameter, where it was measured."""

    values: tuple[float, ...]  #: Values of the hyperparameter, rising.
    success: tuple[Proportion, ...]  #: Attack success rate at each.
    losses: tuple[float, ...]  #: Mean cross-entropy of the attacked samples at each; decides between equal successes.
    best: float  #: The value of the largest success.
    rule: GradientRule  #: The rule with this value.

    def points(self) -> list[list[float]]:
        """Return value, flipped samples and samples at each value."""
        return [[value, share.hits, share.total] for value, share in zip(self.values, self.success, strict=True)]


def candidates(
    rule: str | GradientRule, field: str, *, bounds: tuple[float, float] = BOUNDS, step: float = STEP
) -> dict[float, GradientRule]:
    """Return a rule with each value of one of its fields, a float, on a lattice; ValueError as `tune` raises it."""
    rule = get_rule(rule)
    tunable = [entry.name for entry in fields(rule) if entry.type in (float, "float")]  # type: ignore[arg-type]
    if field not in tunable:
        choices = f"it has {', '.join(tunable)}" if tunable else "it has none"
        raise ValueError(f"{rule!r} has no number {field!r} to tune; {choices}")
    low, high = bounds
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"bounds must be two rising finite numbers, got {bounds!r}")
    if not 0 < step <= high - low:
        raise ValueError(f"step must be in (0, {high - low:g}], got {step!r}")
    lattice = [round(low + i * step, 10) for i in range(round((high - low) / step) + 1)]
    return {value: replace(rule, **{field: value}) for value in lattice}  # type: ignore[type-var]


def tune(
    rule: str | GradientRule,
    field: str,
    classifier: PyTorchSNNClassifier,
    attack: Attack,
    x: Array | Sequence[Any],
    y: Labels,
    *,
    target: PyTorchSNNClassifier | None = None,
    bounds: tuple[float, float] = BOUNDS,
    step: float = STEP,
    sweep: bool = False,
    batch_size: int = 128,
    verbose: bool = False,
) -> Curve:
    """Search the value of a rule's hyperparameter with which an attack succeeds most.

    The success is about unimodal in HART's gamma (Hao et al., ICLR 2024): Fibonacci search finds it in 8 of 48 values.
    Give samples that the result is not reported on; tuned on those, an attack looks stronger than it is.

    Args:
        rule: Name of a rule, or a rule, whose other fields stay as they are.
        field: The field to tune, such as "gamma"; it is a float.
        classifier: Where the gradient comes from. Neither it nor its rule is changed.
        attack: The attack.
        x: Samples to tune on (N, *input_shape), N >= 1: an array, a tensor or a list.
        y: Their labels, class indices (N,) or rows (N, K), in any form of `art_snn.labels`; the class of a row counts.
        target: The classifier that is attacked, where it is another one (black box).
        bounds: Smallest and largest value.
        step: Distance of neighbours on the lattice, > 0.
        sweep: Measure the whole lattice, as the papers do, instead of searching.
        batch_size: Samples to attack at the same time, >= 1.
        verbose: Show progress.

    Raises:
        ValueError: The rule has no such field, a value is out of its range, or there are no samples. Nothing has run.
    """
    rules = candidates(rule, field, bounds=bounds, step=step)
    lattice = list(rules)
    check_attacks([attack])
    inputs, labels = check_samples(classifier, x, y, batch_size)
    correct = correct_samples(classifier if target is None else target, inputs, labels, batch_size)
    known: dict[str, Any] = {"correct": correct, "target": target, "batch_size": batch_size}
    measured: dict[int, tuple[Proportion, float]] = {}

    def score(index: int) -> tuple[int, float]:
        if index not in measured:
            outcome = run_attack(classifier, rules[lattice[index]], attack, inputs, labels, **known)
            measured[index] = outcome.attack_success_rate, float(outcome.losses.mean())
            bar.update()
        success, loss = measured[index]
        return success.hits, loss

    with tqdm(desc=f"Tuning {field}", unit="value", disable=not verbose, leave=False) as bar:
        if sweep:
            for index in range(len(lattice)):
                score(index)
        else:
            fibonacci_search(score, len(lattice))
    order = sorted(measured)
    success, losses = zip(*(measured[index] for index in order), strict=True)
    best = lattice[max(order, key=score)]
    return Curve(tuple(lattice[index] for index in order), success, losses, best, rules[best])


def fibonacci_search(score: Callable[[int], tuple[int, float]], count: int) -> int:
    """Return the index in ``range(count)`` with the largest score, if the score rises to it and falls after it.

    Source: Kiefer, "Sequential minimax search for a maximum" (1953).
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
