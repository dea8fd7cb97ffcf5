"""What is counted when an attack is over."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from art_snn.checks import check_share


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


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> Proportion:
    """Compute the share of logits (N, K) that give the label, a class index (N,) or a one-hot row (N, K)."""
    return share(classes(predictions) == classes(labels))


def attack_success_rate(clean: np.ndarray, attacked: np.ndarray, labels: np.ndarray) -> Proportion:
    """Compute the share of correctly classified samples that an attack flips (ASR, as the papers count it).

    Args:
        clean: Logits before the attack (N, K).
        attacked: Logits after the attack (N, K).
        labels: Class indices (N,) or one-hot rows (N, K).

    Raises:
        ValueError: The arrays are not of one length.

    Example:
        >>> logits = np.eye(3)
        >>> attack_success_rate(logits, logits[[1, 1, 2]], np.array([0, 1, 1]))[:1]
        (0.5,)
    """
    if not len(clean) == len(attacked) == len(labels):
        raise ValueError(f"lengths differ: clean {len(clean)}, attacked {len(attacked)}, labels {len(labels)}")
    correct = classes(clean) == classes(labels)
    return share((classes(attacked) != classes(labels))[correct])


def share(hits: np.ndarray) -> Proportion:
    """Return the share of True in ``hits`` (N,)."""
    return wilson_interval(int(hits.sum()), len(hits))


def classes(rows: np.ndarray) -> np.ndarray:
    """Return class indices (N,), of logits, one-hot rows (N, K) or class indices."""
    return rows.argmax(1) if rows.ndim == 2 and rows.shape[1] > 1 else rows.reshape(-1).astype(np.int64)
