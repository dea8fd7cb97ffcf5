from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from art_snn.errors import DataError, InputRangeWarning
from art_snn.ranges import RangeWatch, check_range, outside

SHAPE = (2, 3, 4)
VALUES = arrays.arrays(
    st.sampled_from([np.float32, np.float64]), SHAPE, elements=st.floats(-3, 3, width=32) | st.just(np.nan)
)
BOUNDS = st.floats(-2, 2, width=32) | arrays.arrays(
    np.float32, st.sampled_from([(1,), (4,), (3, 1)]), elements=st.floats(-2, 2, width=32)
)


@given(VALUES, BOUNDS, BOUNDS, st.booleans())
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
def test_the_share_is_that_of_the_values_below_or_above(x, low, high, as_tensor):
    expected = np.mean((x < low) | (x > high))
    found = outside(torch.from_numpy(x) if as_tensor else x, low, high)
    assert (0 if found is None else found.share) == pytest.approx(expected)


def test_what_is_found_is_said():
    assert str(outside(np.array([0.0, 255.0, 1.0, 0.5]), 0, 1)) == "values from 0 to 255, 25 % of them outside"
    assert outside(np.array([0.0, 1.0 + 1e-6]), 0, 1, rounding=True) is None
    assert outside(np.zeros((0, 3)), 1, 2) is None
    with pytest.raises(ValueError, match=r"shape \(5,\), which does not broadcast to \(2, 3, 4\)"):
        outside(np.zeros(SHAPE), np.zeros(5), 1)
    with pytest.raises(DataError, match=r"x_test has values from 0 to 255, 50 % .* the clip values \[0, 1\]"):
        check_range("x_test", np.array([0.0, 255.0]), (0, 1), DataError)
    check_range("x_test", np.array([0.0, 255.0]), None, DataError)


def test_a_watch_warns_once_for_each_range():
    watch = RangeWatch()
    with pytest.warns(InputRangeWarning, match="got values from 0 to 2, 50 % of them outside"):
        watch.look(np.array([0.0, 2.0]), 0, 1, "got {}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.look(np.array([0.0, 2.0]), 0, 1, "got {}")
    with pytest.warns(InputRangeWarning):
        watch.look(np.array([0.0, 2.0]), 0, 1.5, "got {}")
    with pytest.warns(InputRangeWarning):  # a copy starts anew
        pickle.loads(pickle.dumps(watch)).look(np.array([0.0, 2.0]), 0, 1, "got {}")
    watch.paused = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.look(np.array([0.0, 9.0]), 0, 3, "got {}")
