"""Augmentation of whole samples."""

from __future__ import annotations

import numpy as np
import pytest

from art_snn.training.augmentation import augment


@pytest.mark.parametrize("shape", [(40, 3, 20, 24), (40, 5, 2, 20, 24)])
def test_augmentation_moves_flips_and_cuts_whole_samples(shape):
    np.random.seed(0)
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    before = x.copy()
    cropped = augment(x, "crop")
    middle = []
    for sample, out in zip(x, cropped, strict=True):
        padded = np.pad(sample, [(0, 0)] * (x.ndim - 3) + [(4, 4), (4, 4)])
        places = [
            (top, left)
            for top in range(9)
            for left in range(9)
            if np.array_equal(padded[..., top : top + 20, left : left + 24], out)
        ]
        assert len(places) == 1
        middle += places
    assert len(set(middle)) > 10
    np.random.seed(0)
    flipped = augment(x, "crop-flip")
    assert flipped.dtype == np.float32
    np.random.seed(0)
    turned = [not np.array_equal(a, b) for a, b in zip(augment(x, "crop"), flipped, strict=True)]
    assert 8 < sum(turned) < 32
    np.random.seed(0)
    holes = augment(x, "crop-flip-cutout")
    cut = (holes == 0) & (flipped != 0)
    assert cut.any(axis=tuple(range(1, x.ndim))).mean() > 0.9
    assert cut.reshape(40, -1, 20 * 24).sum(-1).max() <= 16 * 16
    np.testing.assert_array_equal(holes[~cut], flipped[~cut])
    np.testing.assert_array_equal(x, before)
    assert augment(x, "none") is x
    with pytest.raises(ValueError, match=r"augmentation must be 'none', 'crop', .* got 'blur'"):
        augment(x, "blur")
