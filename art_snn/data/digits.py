"""Handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits as _load
from sklearn.model_selection import train_test_split

from art_snn.data.split import Split


def load_digits() -> Split:
    """Load the handwritten digits that come with scikit-learn: 1,797 real images of 8x8 pixels in 17 grey levels.

    The split is stratified and always the same: 1,347 images for training and 450 for testing.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI Machine Learning Repository, 1998).

    Example:
        >>> load_digits().x_test.shape
        (450, 1, 8, 8)
    """
    digits = _load()
    x = (digits.images / 16).astype(np.float32)[:, None]
    y = digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=450, stratify=y, random_state=0)
    return Split(x_train, y_train, x_test, y_test)
