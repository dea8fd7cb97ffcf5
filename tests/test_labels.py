"""Labels in every form become one; what is ambiguous or wrong is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.utils import check_and_transform_label_format
from hypothesis import given
from hypothesis import strategies as st

from art_snn.labels import class_indices, one_hot, to_array
from tests.labels import CLASSES, HARD, any_form, for_each_form, labels_as


@pytest.mark.parametrize("y", [[2, 0, 1, 1], [1], []], ids=len)
def test_every_form_is_the_same_indices_and_rows(y):
    y = np.array(y, dtype=np.int64)
    for form in CLASSES:
        labels = labels_as(form, y, 3)
        for found in (class_indices(labels), class_indices(labels, len(y), 3)):
            assert found.tolist() == y.tolist(), form
            assert found.dtype == np.int64
        rows = one_hot(labels, len(y), 3)
        assert rows.dtype == np.float32
        expected = np.eye(3)[y] if form in HARD else 0.5 * np.eye(3)[y] + 0.5 / 3
        np.testing.assert_allclose(rows, expected, atol=2e-3)


@for_each_form
@given(st.data(), any_form)
def test_labels_mean_what_art_means_by_them(data, form):
    classes = data.draw(st.integers(2, 120))
    y = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=8)))
    labels = labels_as(form, y, classes)
    rows = check_and_transform_label_format(to_array("y", labels), nb_classes=classes)
    np.testing.assert_array_equal(class_indices(labels, len(y), classes), rows.argmax(1))
    np.testing.assert_allclose(one_hot(labels, len(y), classes), rows, rtol=1e-6)


def test_two_rows_of_two_classes_are_rows_and_a_column_is_never_one():
    assert class_indices([[1, 0], [0, 1]], 2, 2).tolist() == [0, 1]
    assert class_indices([[1], [0]], 2, 2).tolist() == [1, 0]
    assert class_indices([1, 0], 2, 2).tolist() == [1, 0]
    assert class_indices(torch.tensor([[0.0], [1.0]])).tolist() == [0, 1]


def test_numbers_of_other_libraries_are_taken():
    pandas = pytest.importorskip("pandas")
    assert class_indices(pandas.Series([2, 0], index=[7, 5]), 2, 3).tolist() == [2, 0]
    assert class_indices(pandas.Series([2, 0], dtype="Int64"), 2, 3).tolist() == [2, 0]


WRONG = {
    "too large": ([0, 5], 2, 5, r"labels must be classes in 0 to 4 \(nb_classes=5\), got 5 in y"),
    "negative": (np.array([-1, 0]), 2, 5, "got -1 in y"),
    "negative, K unknown": ([-1], None, None, "labels must be classes counted from 0, got -1 in y"),
    "too large for an index": ([1e300], None, None, "got 1e[+]300 in y"),
    "fraction": (torch.tensor([0.5, 1.0]), 2, 5, "got 0.5 in y"),
    "fraction in a column": ([[0.7], [0.2]], 2, 2, "got 0.7 in y"),
    "nan": ([np.nan, 1.0], 2, 5, "got nan in y"),
    "inf": ([np.inf, 1.0], None, None, "got inf in y"),
    "too many": (torch.zeros(3), 2, 5, "y has 3 labels for 2 samples"),
    "a row for a batch": (np.eye(4)[0], 2, 4, "y has 4 labels for 2 samples"),
    "a row of indices": (np.array([[0, 1]]), 2, 2, "y has 1 labels for 2 samples"),
    "other classes": (np.eye(6)[:2], 2, 5, r"y has shape \(2, 6\), expected class indices \(N,\) or rows \(N, 5\)"),
    "scalar": (3, 1, 5, r"y has shape \(\), expected"),
    "three axes": (np.zeros((2, 5, 1)), 2, 5, r"y has shape \(2, 5, 1\), expected"),
    "no classes": (np.zeros((2, 0)), None, None, r"expected class indices \(N,\) or rows \(N, K\)"),
    "column of one class": (np.zeros((2, 1)), 2, 1, "with one class, this is a column or rows; give class indices"),
    "nan in rows": (np.full((2, 3), np.nan), 2, 3, "y holds NaN or inf"),
    "logits": (np.array([[0.5, -3.0], [1.0, 2.0]]), 2, 2, "rows of y must be one-hot or probabilities, got -3.0"),
    "zeros": (np.array([[0, 1], [0, 0]]), 2, 2, "row 1 of y is all zero, so it has no class"),
    "ragged": ([[1, 0], [1]], 2, 2, "y must hold rows of one length"),
}


@pytest.mark.parametrize(("labels", "samples", "classes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_labels_are_refused(labels, samples, classes, message):
    with pytest.raises(ValueError, match=message):
        class_indices(labels, samples, classes)
    if classes is not None:
        with pytest.raises(ValueError, match=message):
            one_hot(labels, samples, classes)


@pytest.mark.parametrize(
    "labels",
    [
        None,
        "01",
        ["0", "1"],
        [0, None],
        {0, 1},
        np.array(["cat"]),
        np.array([1j]),
        torch.tensor([1j]),
        np.array([0, "1"], dtype=object),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
    ],
)
def test_what_holds_no_numbers_is_refused(labels):
    with pytest.raises(TypeError, match="labels must be an array, a tensor or a list of real numbers, got"):
        class_indices(labels, name="labels")


def test_rows_with_several_largest_entries_have_no_class_but_are_a_target():
    rows = np.array([[0.2, 0.8], [0.5, 0.5]])
    with pytest.raises(ValueError, match="row 1 of y has several largest entries, so no class; give class indices"):
        class_indices(rows)
    np.testing.assert_array_equal(one_hot(rows, 2, 2), rows.astype(np.float32))
