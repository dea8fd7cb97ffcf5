"""Random changes of training inputs, sample by sample and the same for all time-steps of a sample."""

from __future__ import annotations

import numpy as np

from art_snn.checks import check_choice

PADDING = 4  # rows and columns of zeros on each side, before a crop of the input's own size
HOLE = 16  # side of cutout's square of zeros, which may reach over the edge
AUGMENTATIONS = ("none", "crop", "crop-flip", "crop-flip-cutout")


def augment(x: np.ndarray, names: str) -> np.ndarray:
    """Return inputs (N, ..., H, W), changed at random as one of `AUGMENTATIONS` says; draws from numpy's generator.

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).
    """
    check_choice("augmentation", names, AUGMENTATIONS)
    if "crop" in names:
        x = _crop(x)
    if "flip" in names:
        flipped = np.random.rand(len(x)) < 0.5  # noqa: NPY002
        x = np.where(flipped.reshape(-1, *[1] * (x.ndim - 1)), x[..., ::-1], x)
    return _cut_out(x) if "cutout" in names else x


def _crop(x: np.ndarray) -> np.ndarray:
    height, width = x.shape[-2:]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(PADDING, PADDING)] * 2)
    out = np.empty_like(x)
    places = np.random.randint(0, 2 * PADDING + 1, size=(len(x), 2))  # noqa: NPY002
    for i, (top, left) in enumerate(places):
        out[i] = padded[i, ..., top : top + height, left : left + width]
    return out


def _cut_out(x: np.ndarray) -> np.ndarray:
    height, width = x.shape[-2:]
    out = x.copy()
    rows, columns = np.random.randint(0, height, len(x)), np.random.randint(0, width, len(x))  # noqa: NPY002
    for sample, row, column in zip(out, rows, columns, strict=True):
        top, left = max(row - HOLE // 2, 0), max(column - HOLE // 2, 0)
        sample[..., top : row + HOLE // 2, left : column + HOLE // 2] = 0
    return out
