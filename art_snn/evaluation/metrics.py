"""What is counted when an attack is over."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest
from torch import Tensor

from art_snn.checks import check_share
from art_snn.labels import Labels, class_indices, to_array


class Proportion(NamedTuple):
    """A share with its confidence interval.

    Attributes:
        value: The share, in [0, 1]; NaN where ``total`` is 0.
        low: Lower end of the interval.
        high: Upper end of the interval.
        hits: Number of hits.
        total: Number of trials.
    """

    value: float
    low: float
    high: float
    hits: int
    total: int

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def wilson_interval(count: int, total: int, confidence: float = 0.95) -> Proportion:
    """Compute a share and its Wilson score interval.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (JASA 1927).

    Args:
        count: Hits, 0 to ``total``.
        total: Trials, >= 0.
        confidence: Coverage of the interval, in (0, 1).

    Example:
        >>> print(wilson_interval(9, 10))
        90.0% [59.6%, 98.2%]
    """
    if not 0 <= count <= total:
        raise ValueError(f"count must be in 0 to total={total}, got {count}")
    check_share("confidence", confidence)
    if total == 0:
        return Proportion(math.nan, 0.0, 1.0, 0, 0)
    interval = binomtest(count, total).proportion_ci(confidence, "wilson")
    return Proportion(count / total, float(interval.low), float(interval.high), count, total)


def accuracy(predictions: np.ndarray | Tensor, labels: Labels) -> Proportion:
    """Compute the share of logits (N, K) whose largest entry is at the label, a class index (N,) or a row (N, K).

    Raises:
        TypeError: The predictions or labels are no numbers.
        ValueError: They are not of these shapes, or do not fit each other; logits are NaN.
    """
    logits = _logits("predictions", predictions)
    return share(logits.argmax(1) == class_indices(labels, *logits.shape, name="labels"))


def attack_success_rate(clean: np.ndarray | Tensor, attacked: np.ndarray | Tensor, labels: Labels) -> Proportion:
    """Compute the share of correctly classified samples that an attack flips (ASR, as the papers count it).

    Args:
        clean: Logits before the attack (N, K).
        attacked: Logits after the attack (N, K).
        labels: Class indices (N,) or rows (N, K), in any form of `art_snn.labels`.

    Raises:
        TypeError: Logits or labels are no numbers.
        ValueError: They are not of these shapes, or do not fit each other; logits are NaN.

    Example:
        >>> logits = np.eye(3)
        >>> attack_success_rate(logits, logits[[1, 1, 2]], np.array([0, 1, 1]))[:1]
        (0.5,)
    """
    before, after = _logits("clean", clean), _logits("attacked", attacked)
    if before.shape != after.shape:
        raise ValueError(f"shapes differ: clean {before.shape}, attacked {after.shape}")
    indices = class_indices(labels, *before.shape, name="labels")
    return share((after.argmax(1) != indices)[before.argmax(1) == indices])


def share(hits: np.ndarray) -> Proportion:
    """Return the share of True in ``hits`` (N,)."""
    return wilson_interval(int(hits.sum()), len(hits))


def _logits(name: str, values: np.ndarray | Tensor) -> np.ndarray:
    logits = to_array(name, values)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"{name} has shape {logits.shape}, expected logits (N, K), as predict returns them, K >= 2")
    if np.isnan(logits).any():
        raise ValueError(f"{name} holds NaN in row {int(np.isnan(logits).any(1).argmax())}: it has no class")
    return logits
