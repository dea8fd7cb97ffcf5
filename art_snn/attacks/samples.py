"""What a search starts from, checked before anything runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_snn.attacks.walks import ball, random_starts
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array, check_input, to_numpy
from art_snn.labels import Labels, class_indices, to_array


class Samples(NamedTuple):
    """N samples to attack.

    Attributes:
        x: Inputs (N, *S), float32.
        y: Classes (N,), int64.
        low: Smallest values that an iterate may have (N, *S), float32.
        high: Largest values that an iterate may have (N, *S), float32.
        start: First iterates (N, *S), float32, inside these.
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    start: np.ndarray


def checked_samples(
    classifier: PyTorchSNNClassifier,
    x: Array,
    y: Labels,
    start: Array | None,
    seeds: np.ndarray | None,
    *,
    eps: float,
    seed: int,
) -> Samples:
    """Return samples for `art_snn.attacks.search.Search.search`, whose arguments these are; raise as it does."""
    inputs = to_numpy(classifier._check_input(x))
    labels = class_indices(y, len(inputs), classifier.nb_classes)
    own = checked_seeds(seeds, len(inputs))
    low, high = ball(inputs, eps, classifier.clip_values)
    if start is None:
        begin = random_starts(inputs, eps, seed, own)
    else:
        begin = to_numpy(check_input(start, None))
        if begin.shape != inputs.shape:
            raise ValueError(f"start has shape {begin.shape}, expected that of x, {inputs.shape}")
    return Samples(inputs, labels, low, high, np.clip(begin.astype(np.float32), low, high))


def checked_seeds(seeds: np.ndarray | None, nb_samples: int) -> np.ndarray:
    """Return the samples' own seeds (N,), whole numbers; None counts the samples. Raise ValueError for others."""
    if seeds is None:
        return np.arange(nb_samples)
    values = to_array("seeds", seeds)
    if values.shape != (nb_samples,) or values.dtype.kind not in "iu" or (values < 0).any():
        raise ValueError(f"seeds must be {nb_samples} whole numbers >= 0, one a sample, got {seeds!r}")
    return values
