"""Checks of inputs and labels, called directly and by the classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_snn.classifier.inputs import check_input, check_labels, one_hot


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="x must be a numpy array or a torch tensor, got list"):
        check_input([[1.0]], (1,))
    with pytest.raises(TypeError, match="y must be a numpy array or a torch tensor, got list"):
        check_labels([1], 1, 3)


def test_one_hot_of_indices_columns_and_rows():
    expected = np.eye(3, dtype=np.float32)[[2, 0]]
    for y in (np.array([2, 0]), np.array([[2], [0]]), torch.tensor([2, 0]), expected, torch.from_numpy(expected)):
        np.testing.assert_array_equal(one_hot(y, 2, 3), expected)
        assert one_hot(y, 2, 3).dtype == np.float32
