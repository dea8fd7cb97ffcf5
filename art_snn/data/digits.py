"""Handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits as _load

from art_snn.data.split import Split, stratified


def load_digits() -> Split:
    """Load the handwritten digits that come with scikit-learn: 1,797 real images of 8x8 pixels in 17 grey levels.

    The split is stratified and always the same: 1,347 images for training and 450 for testing.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI Machine Learning Repository, 1998).

    Example:
        >>> load_digits().x_test.shape
        (450, 1, 8, 8)
    """
    digits = _load()
    return stratified((digits.images / 16).astype(np.float32)[:, None], digits.target.astype(np.int64), 0.25)
