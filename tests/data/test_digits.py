"""The digits."""

from __future__ import annotations

import numpy as np

from art_snn.data import load_digits


def test_digits_are_real_scaled_and_split_the_same_way():
    data = load_digits()
    assert data.x_train.shape == (1347, 1, 8, 8)
    assert data.x_test.shape == (450, 1, 8, 8)
    assert data.x_train.dtype == np.float32
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    share = np.bincount(data.y_test, minlength=10) / 450 - np.bincount(data.y_train, minlength=10) / 1347
    assert np.abs(share).max() < 0.002
    again = load_digits()
    assert all(np.array_equal(a, b) for a, b in zip(data, again, strict=True))
    rows = {x.tobytes() for x in data.x_train}
    assert sum(x.tobytes() in rows for x in data.x_test) == 0
