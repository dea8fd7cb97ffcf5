"""Are these inputs for this model? Checked before any work is done."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from art_snn.labels import check_not_masked
from art_snn.ranges import RangeWatch, range_text

Array = np.ndarray | Tensor


def check_input(x: Array, input_shape: tuple[int, ...] | None, *, frames: bool = False) -> Array:
    """Return ``x`` in float32; raise TypeError or ValueError unless it is a batch (N, *input_shape) of finite numbers.

    ``input_shape`` is None where a defence may change shapes. The number of event ``frames`` is free.
    """
    given = x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x  # ART makes an array of whatever it is given
    if isinstance(given, DataLoader):
        cure = "go over its batches, and train with fit_generator(PyTorchDataGenerator(loader, size, batch_size))"
        raise TypeError(f"x must be a numpy array or a torch tensor, got {type(given).__name__}; {cure}")
    if not isinstance(x, (np.ndarray, Tensor)):
        raise TypeError(f"x must be a numpy array or a torch tensor, got {type(x).__name__}")
    check_not_masked("x", x)
    if isinstance(x, Tensor):
        x = x.to(torch.float32)
    elif x.dtype.kind in "fiub":
        x = x.astype(np.float32, copy=False)
        if any(stride < 0 for stride in x.strides):  # torch has none
            x = np.ascontiguousarray(x)
    else:
        raise TypeError(f"x must hold numbers, got dtype {x.dtype}")
    shape = tuple(x.shape)
    if input_shape is not None:
        if len(shape) == len(input_shape) + 1 and frames and shape[1] == 0:
            raise ValueError(f"the time axis of x has length 0: shape {shape}, expected (N, T, ...) with T >= 1")
        free = 2 if frames else 1
        if len(shape) != len(input_shape) + 1 or shape[free:] != tuple(input_shape)[free - 1 :]:
            expected = ", ".join(["N", *(["T"] if frames else []), *map(str, tuple(input_shape)[free - 1 :])])
            raise ValueError(f"x has shape {shape}, expected ({expected})")
    finite = torch.isfinite(x) if isinstance(x, Tensor) else np.isfinite(x)
    if not finite.all():
        bad = ~finite.reshape(len(x), -1).all(1)
        first = int(bad.nonzero()[0][0])
        raise ValueError(
            f"x holds NaN or inf in {int(bad.sum())} of {len(x)} samples, the first is sample {first}; clean the data"
        )
    return x


def watch_clip_values(watch: RangeWatch, x: Array, clip_values: np.ndarray | None) -> None:
    """Warn once (`InputRangeWarning`) of inputs (N, ...) outside the clip values, a pair of numbers or arrays, or None.

    Raises:
        ValueError: Clip values are arrays that do not broadcast to ``x``.
    """
    if clip_values is None:
        return
    text = (
        f"x has {{}} clip_values {range_text(*clip_values)}. Attacks of ART clip to these: they move each such value "
        "towards the range, by eps or all the way, whatever its gradient is, and what comes of it counts as their "
        "success. Give the range of your data as clip_values, or None; where x is normalised, give the image itself "
        "and put Normalize into the network"
    )
    try:
        low, high = clip_values
        watch.look(x, low, high, text, rounding=True, origin=_given)
    except ValueError as error:
        raise ValueError(f"clip_values: {error}") from None


def _given(x: Array) -> Array:
    """Return what a class of ART that asks about ``x`` was given itself; ``x`` where none asks.

    Attacks such as NewtonFool leave the clip values on their way, from inputs that are inside, and so does noise.
    """
    given = x
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        found = frame.f_locals.get("x") if frame.f_globals.get("__name__", "").startswith("art.") else None
        if isinstance(found, Tensor) or (isinstance(found, np.ndarray) and found.dtype.kind in "fiub"):
            given = found  # in the end, of the outermost one
    return given


def to_numpy(x: Array) -> np.ndarray:
    """Return an array, of a tensor or of itself."""
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else x
