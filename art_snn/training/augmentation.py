"""Random changes of training inputs, sample by sample and the same for all time-steps of a sample."""

from __future__ import annotations

import numpy as np

PADDING = 4
HOLE = 16
AUGMENTATIONS = ("none", "crop", "crop-flip", "crop-flip-cutout")


def augment(x: np.ndarray, names: str) -> np.ndarray:
    """Change inputs at random; draws from numpy's global generator, as ART does.

    Crops are of the input's own size, from an input padded with four rows and columns of zeros on each side. Flips are
    from left to right, of every other sample on average. Cutout sets a square of 16x16 to zero, which may reach over
    the edge.

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).

    Args:
        x: Inputs (N, ..., H, W); unchanged.
        names: One of `AUGMENTATIONS`.

    Returns:
        Changed inputs, same shape and dtype.

    Raises:
        ValueError: The name is unknown.
    """
    if names not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {names!r}; known: {', '.join(AUGMENTATIONS)}")
    chosen = names.split("-")
    if "crop" in chosen:
        x = _crop(x)
    if "flip" in chosen:
        flipped = np.random.rand(len(x)) < 0.5  # noqa: NPY002
        x = np.where(flipped.reshape(-1, *[1] * (x.ndim - 1)), x[..., ::-1], x)
    if "cutout" in chosen:
        x = _cut_out(x)
    return x


def _crop(x: np.ndarray) -> np.ndarray:
    height, width = x.shape[-2:]
    edges = [(0, 0)] * (x.ndim - 2) + [(PADDING, PADDING)] * 2
    padded = np.pad(x, edges)
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
