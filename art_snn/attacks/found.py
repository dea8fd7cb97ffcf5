"""What a search for adversarial examples found, sample by sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Found(NamedTuple):
    """What an attack found for N samples. The network's own prediction confirms every success.

    Attributes:
        x_adv: Where the search got (N, *S), float32: the misclassified iterate with the smallest margin, else the
            iterate with the largest loss. It is inside eps and the clip values, and finite.
        broken: Whether ``x_adv`` is misclassified (N,).
        step: First iterate that was misclassified (N,), int64; 0 is the start point, -1 means none.
        margin: Smallest ``z_y - max_{k != y} z_k`` of the iterates (N,), float32.
        forwards: What the search cost (N,), float64, in forward passes of all time-steps.
    """

    x_adv: np.ndarray
    broken: np.ndarray
    step: np.ndarray
    margin: np.ndarray
    forwards: np.ndarray
