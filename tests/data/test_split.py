"""Stratified parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from sklearn.model_selection import train_test_split

from art_snn.data import stratified, stratified_part
from tests.labels import any_form, for_each_form, labels_as


def test_part_is_stratified_and_always_the_same():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    part = stratified_part(labels, 10)
    assert list(np.bincount(labels[part])) == [5, 3, 2]
    np.testing.assert_array_equal(part, stratified_part(labels, 10))
    assert not np.array_equal(part, stratified_part(labels, 10, seed=1))
    np.testing.assert_array_equal(stratified_part(labels, 100), np.arange(100))
    with pytest.raises(ValueError, match="size must be a whole number >= 1, got 0"):
        stratified_part(labels, 0)


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ([101] * 5 + [100] * 5, 1000),  # fewer samples are left than there are classes
        ([50, 30, 1], 20),  # a class has one sample
        ([4] * 10, 5),  # fewer are asked for than there are classes
        ([1] * 30, 29),
        ([7, 0, 3], 1),
        ([1, 1], 1),
    ],
)
def test_part_is_as_stratified_as_can_be_where_classes_are_small(counts, size):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    part = stratified_part(labels, size)
    assert len(part) == size
    assert (np.diff(part) > 0).all()
    taken = np.bincount(labels[part], minlength=len(counts))
    assert np.abs(taken - size * np.array(counts) / len(labels)).max() < 1
    np.testing.assert_array_equal(part, stratified_part(labels, size))
    others = [stratified_part(labels, size, seed=seed) for seed in range(1, 6)]
    assert any(not np.array_equal(part, other) for other in others)


def test_part_is_scikit_learns_wherever_that_can_choose():
    generator = np.random.default_rng(0)
    chosen = 0
    for seed in range(100):
        labels = generator.integers(0, generator.integers(1, 6), generator.integers(2, 24))
        size = int(generator.integers(1, len(labels)))
        part = stratified_part(labels, size, seed)
        assert len(set(part.tolist())) == size
        try:
            expected, _ = train_test_split(np.arange(len(labels)), train_size=size, stratify=labels, random_state=seed)
        except ValueError:
            continue
        np.testing.assert_array_equal(part, np.sort(expected))
        chosen += 1
    assert 20 < chosen < 100


@for_each_form
@given(any_form)
def test_parts_and_splits_are_those_of_the_classes_in_every_form(form):
    y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 30, 20]))
    labels, x = labels_as(form, y, 3), np.arange(100)
    np.testing.assert_array_equal(stratified_part(labels, 10), stratified_part(y, 10))
    for found, expected in zip(stratified(x, labels, 0.2), stratified(x, y, 0.2), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int64


def test_labels_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"labels must be classes counted from 0, got 0\.5 in y"):
        stratified_part([0.5, 1.0], 1)
    with pytest.raises(ValueError, match="y has 3 labels for 4 samples"):
        stratified(np.arange(4), [0, 1, 1], 0.5)
