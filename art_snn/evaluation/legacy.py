"""Rules times attacks: how robust does one network look through each gradient?"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from art.attacks import EvasionAttack
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.errors import GradientWarning
from art_snn.evaluation.metrics import Proportion, accuracy, attack_success_rate
from art_snn.rules import get_rule
from art_snn.rules.base import GradientRule

PGD_STEPS = 7


@dataclass(frozen=True)
class Row:
    """The outcome of one attack through one rule.

    Attributes:
        rule: The rule's name.
        gamma: The rule's gamma; None for rules without one.
        attack: Name of the attack, "fgsm" or "pgd".
        eps: Largest change of a pixel (L-infinity), in units of the input.
        clean_accuracy: Accuracy before the attack.
        attack_success_rate: Share of the correctly classified samples that the attack flips.
        robust_accuracy: Accuracy after the attack.
        zero_gradients: Share of the clean samples whose gradient is all zero, in [0, 1].
        seconds: Time that the attack took.
    """

    rule: str
    gamma: float | None
    attack: str
    eps: float
    clean_accuracy: Proportion
    attack_success_rate: Proportion
    robust_accuracy: Proportion
    zero_gradients: float
    seconds: float


def make_fgsm(classifier: PyTorchSNNClassifier, eps: float, batch_size: int) -> EvasionAttack:
    """Make ART's fast gradient sign method."""
    return FastGradientMethod(classifier, eps=eps, batch_size=batch_size)


def make_pgd(
    classifier: PyTorchSNNClassifier, eps: float, batch_size: int, eps_step: float | None = None
) -> EvasionAttack:
    """Make ART's projected gradient descent as the SNN papers run it: 7 steps, no random start.

    Args:
        classifier: What is attacked.
        eps: Largest change of a pixel, > 0.
        batch_size: Samples to attack at once.
        eps_step: Change of a pixel in a step, > 0; None for eps / 4. The papers' is 2/255, at any eps.
    """
    step = eps / 4 if eps_step is None else eps_step
    return ProjectedGradientDescent(
        classifier, eps=eps, eps_step=step, max_iter=PGD_STEPS, batch_size=batch_size, verbose=False
    )


ATTACKS: dict[str, Callable[[PyTorchSNNClassifier, float, int], EvasionAttack]] = {"fgsm": make_fgsm, "pgd": make_pgd}


def evaluate_rules(
    classifier: PyTorchSNNClassifier,
    x: np.ndarray,
    y: np.ndarray,
    *,
    rules: Sequence[str | GradientRule],
    attacks: Sequence[str] = ("fgsm", "pgd"),
    eps: float,
    batch_size: int = 128,
) -> Iterator[Row]:
    """Attack a classifier through each rule, and yield a row when each attack is over.

    The classifier has its own rule whenever a row is handed out, and after an error.

    Args:
        classifier: A trained classifier.
        x: Inputs (N, *input_shape).
        y: Labels, class indices (N,).
        rules: Names of rules, or rules.
        attacks: Names of attacks: "fgsm", "pgd".
        eps: Largest change of a pixel, > 0, in units of the input.
        batch_size: Samples to attack at once.

    Raises:
        ValueError: No samples, eps not above 0, or a name is unknown. Nothing has run then.
    """
    if len(x) == 0:
        raise ValueError("x is empty: there is nothing to attack")
    if not 0 < eps < np.inf:
        raise ValueError(f"eps must be a finite number > 0, got {eps!r}")
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown:
        raise ValueError(f"unknown attack {unknown[0]!r}; known: {', '.join(ATTACKS)}")
    resolved = [get_rule(rule) for rule in rules]
    return _rows(classifier, x, y, resolved, attacks, eps, batch_size)


def _rows(
    classifier: PyTorchSNNClassifier,
    x: np.ndarray,
    y: np.ndarray,
    rules: Sequence[GradientRule],
    attacks: Sequence[str],
    eps: float,
    batch_size: int,
) -> Iterator[Row]:
    clean = classifier.predict(x, batch_size=batch_size)
    for rule in rules:
        with through(classifier, rule):
            zeros = zero_gradients(classifier, x, y, batch_size)
        for attack in attacks:
            with through(classifier, rule):
                start = time.perf_counter()
                examples = ATTACKS[attack](classifier, eps, batch_size).generate(x, y)
                attacked = classifier.predict(examples, batch_size=batch_size)
                seconds = time.perf_counter() - start
            yield Row(
                rule=rule.name,
                gamma=getattr(rule, "gamma", None),
                attack=attack,
                eps=eps,
                clean_accuracy=accuracy(clean, y),
                attack_success_rate=attack_success_rate(clean, attacked, y),
                robust_accuracy=accuracy(attacked, y),
                zero_gradients=zeros,
                seconds=seconds,
            )


@contextmanager
def through(classifier: PyTorchSNNClassifier, rule: GradientRule) -> Iterator[None]:
    """Give a classifier a rule for the time of a block; zero gradients are counted here, not warned of."""
    own = classifier.gradient_rule
    classifier.gradient_rule = rule
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GradientWarning)
            yield
    finally:
        classifier.gradient_rule = own


def zero_gradients(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, batch_size: int) -> float:
    """Return the share of samples whose loss gradient is all zero."""
    zeros = 0
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        grad = classifier.loss_gradient(x[rows], y[rows])
        zeros += int((np.abs(grad).reshape(len(grad), -1).max(1) == 0).sum())
    return zeros / len(x)
