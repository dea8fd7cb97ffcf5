"""A data set with its split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from art_snn.checks import check_count
from art_snn.labels import Labels, class_indices


class Split(NamedTuple):
    """A data set, split."""

    x_train: np.ndarray  #: Images (N, C, H, W) in [0, 1], or event frames (N, T, C, H, W) >= 0; float32.
    y_train: np.ndarray  #: Training labels (N,), int64.
    x_test: np.ndarray  #: Test inputs, of the same kind.
    y_test: np.ndarray  #: Test labels (N,), int64.


def stratified(x: np.ndarray, y: Labels, test_share: float) -> Split:
    """Split data, always the same way, so that every class has its share of the test samples.

    Args:
        x: Inputs (N, ...).
        y: Labels in any form of `art_snn.labels`; the class of a row counts.
        test_share: Share of the test samples, in (0, 1).

    Raises:
        ValueError: A class has fewer than two samples, or one of the parts fewer samples than there are classes.
    """
    y = class_indices(y, len(x))
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test_share, stratify=y, random_state=0)
    return Split(x_train, y_train, x_test, y_test)


def stratified_part(y: Labels, size: int, seed: int = 0) -> np.ndarray:
    """Return the sorted indices of a part that has every class in its share but for less than one sample.

    Args:
        y: Labels (N,) in any form of `art_snn.labels`; the class of a row counts.
        size: Samples to choose, >= 1; all are chosen if there are not more.
        seed: Equal seeds choose equal parts.

    Raises:
        ValueError: ``size`` is no whole number, or below 1, or the labels are none.
    """
    check_count("size", size)
    y = class_indices(y)
    if size >= len(y):
        return np.arange(len(y))
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() > 1 and min(size, len(y) - size) >= len(classes):
        chosen, _ = train_test_split(np.arange(len(y)), train_size=size, stratify=y, random_state=seed)
        return np.sort(chosen)
    # scikit-learn wants every class in both parts: here, the largest remainders of the shares get one sample more.
    generator = np.random.default_rng(seed)
    taken, remainders = np.divmod(size * counts, len(y))
    order = np.lexsort((generator.random(len(counts)), -remainders))
    taken[order[: size - taken.sum()]] += 1
    pairs = zip(classes, taken, strict=True)
    parts = [generator.choice(np.flatnonzero(y == label), count, replace=False) for label, count in pairs]
    return np.sort(np.concatenate(parts))
