"""Labels in every form that ART's attacks take, brought into one.

N labels for K classes are class indices, (N,) or a column (N, 1), or rows (N, K), one-hot or probabilities, whose class
is the largest entry. They may be an array, a tensor on any device or a list, of any type of numbers or of Python
objects. This is how ART reads them (``art.utils.check_and_transform_label_format``), where it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

Labels = np.ndarray | Tensor | Sequence[Any]


def class_indices(
    labels: Labels, nb_samples: int | None = None, nb_classes: int | None = None, *, name: str = "y"
) -> np.ndarray:
    """Return labels as class indices (N,), int64.

    Args:
        labels: Labels in any form.
        nb_samples: N, if it is known.
        nb_classes: K, if it is known.
        name: What errors call the labels.

    Raises:
        TypeError: They are no numbers.
        ValueError: They are not N labels of K classes, or a row has several largest entries.

    Example:
        >>> class_indices([[0.1, 0.9], [1.0, 0.0]])
        array([1, 0])
    """
    values = _checked(name, labels, nb_samples, nb_classes)
    if not _are_rows(values):
        return values.reshape(-1).astype(np.int64)
    tied = (values == values.max(1, keepdims=True)).sum(1) > 1
    if tied.any():
        first = int(tied.argmax())
        raise ValueError(f"row {first} of {name} has several largest entries, so no class; give class indices")
    return values.argmax(1)


def one_hot(labels: Labels, nb_samples: int | None, nb_classes: int) -> np.ndarray:
    """Return labels as rows (N, K), float32; rows, such as probabilities, as they are. Raises as `class_indices`.

    A row may have several largest entries here: ART's attacks give such rows where logits are equal.
    """
    values = _checked("y", labels, nb_samples, nb_classes)
    if _are_rows(values):
        return values.astype(np.float32, copy=False)
    return np.eye(nb_classes, dtype=np.float32)[values.reshape(-1).astype(np.int64)]


def to_array(name: str, values: Any) -> np.ndarray:
    """Return the real numbers of an array, a tensor or a list as an array, floats in float64.

    Raises:
        TypeError: They are no real numbers.
        ValueError: Rows differ in length, or entries are masked.
    """
    check_not_masked(name, values)
    if isinstance(values, np.ndarray) and values.dtype == object:
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        values = [_from_tensor(value) if isinstance(value, Tensor) else value for value in values]
    try:
        array = _from_tensor(values) if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must hold rows of one length: {error}") from None
    if array.dtype.kind not in "biuf":
        given = f"dtype {array.dtype}" if array.ndim else type(values).__name__
        raise TypeError(f"{name} must be an array, a tensor or a list of real numbers, got {given}")
    return array.astype(np.float64, copy=False) if array.dtype.kind == "f" else array


def check_not_masked(name: str, values: Any) -> None:
    """Raise ValueError for an array with masked entries, whose values under the mask would be taken for numbers."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has {np.ma.count_masked(values)} masked entries; leave them out, or fill them")


def _from_tensor(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values.double() if values.is_floating_point() else values).numpy()  # numpy has no bfloat16


def _are_rows(values: np.ndarray) -> bool:
    return values.ndim == 2 and values.shape[1] != 1


def _checked(name: str, labels: Labels, nb_samples: int | None, nb_classes: int | None) -> np.ndarray:
    """Return labels as indices (N,), a column (N, 1) or rows (N, K)."""
    values = to_array(name, labels)
    shape, rows = values.shape, _are_rows(values)
    if values.ndim not in (1, 2) or 0 in shape[1:] or (rows and nb_classes not in (None, shape[1])):
        width = "K" if nb_classes is None else nb_classes
        raise ValueError(f"{name} has shape {shape}, expected class indices (N,) or rows (N, {width})")
    if values.ndim == 2 and nb_classes == shape[1] == 1:
        raise ValueError(f"{name} has shape {shape}: with one class, this is a column or rows; give class indices (N,)")
    if nb_samples is not None and shape[0] != nb_samples:
        raise ValueError(f"{name} has {shape[0]} labels for {nb_samples} samples")
    if rows:
        _check_rows(name, values)
    else:
        _check_indices(name, values, nb_classes)
    return values


def _check_rows(name: str, rows: np.ndarray) -> None:
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds NaN or inf")
    if (rows < 0).any():
        raise ValueError(f"rows of {name} must be one-hot or probabilities, got {rows[rows < 0][0].item()}")
    if not rows.any(1).all():
        raise ValueError(f"row {int(rows.any(1).argmin())} of {name} is all zero, so it has no class")


def _check_indices(name: str, indices: np.ndarray, nb_classes: int | None) -> None:
    limit = np.iinfo(np.int64).max if nb_classes is None else nb_classes
    outside = ~((indices >= 0) & (indices < limit) & (indices == np.floor(indices)))
    if outside.any():
        known = "counted from 0" if nb_classes is None else f"in 0 to {nb_classes - 1} (nb_classes={nb_classes})"
        raise ValueError(f"labels must be classes {known}, got {indices[outside][0].item()} in {name}")
