"""One set of labels in every form that public functions take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i4")
FRACTIONAL = ("float16", "float32", "float64", "longdouble", ">f4")
TENSORS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
FRACTIONAL_TENSORS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Containers = dict[str, Callable[[np.ndarray], Any]]


def _arrays(*dtypes: str) -> Containers:
    return {dtype: lambda a, dtype=dtype: a.astype(dtype) for dtype in dtypes}


def _tensors(*dtypes: torch.dtype) -> Containers:
    return {str(dtype): lambda a, dtype=dtype: torch.tensor(a.tolist(), dtype=dtype) for dtype in dtypes}


FLOATS: Containers = {
    **_arrays(*FRACTIONAL),
    **_tensors(*FRACTIONAL_TENSORS),
    "tensor in a graph": lambda a: torch.tensor(a, dtype=torch.float32, requires_grad=True) * 1,
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()),
    "list of tensors": lambda a: list(torch.tensor(a, dtype=torch.float64, requires_grad=True)),
    "objects": lambda a: a.astype(object),
    "every second": lambda a: np.repeat(a, 2, 0)[::2],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
}
NUMBERS: Containers = {**_arrays(*WHOLE), **_tensors(*TENSORS), **FLOATS}
TRUTHS: Containers = {**_arrays("bool"), **_tensors(torch.bool)}
SHAPES: dict[str, tuple[Callable[[np.ndarray, int], np.ndarray], Containers]] = {
    "indices": (lambda y, k: y, NUMBERS),
    "column": (lambda y, k: y[:, None], NUMBERS),
    "rows": (lambda y, k: np.eye(k, dtype=np.int64)[y], {**NUMBERS, **TRUTHS}),
    "probabilities": (lambda y, k: 0.5 * np.eye(k)[y] + 0.5 / k, FLOATS),
}
CLASSES = [(shape, kind) for shape, (_, kinds) in SHAPES.items() for kind in kinds]
# Probabilities are another target to a loss that is asked for one, and the same class elsewhere.
HARD = [form for form in CLASSES if form[0] != "probabilities"]


def labels_as(form: tuple[str, str], y: np.ndarray, nb_classes: int) -> Any:
    """Return class indices in a form."""
    shape, kind = form
    make, kinds = SHAPES[shape]
    return kinds[kind](make(y, nb_classes))


any_form = st.sampled_from(CLASSES)
hard_form = st.sampled_from(HARD)
for_each_form = settings(deadline=None, max_examples=25)
