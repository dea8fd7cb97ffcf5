"""What files hold of a result: values that every reader of JSON takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor


def plain(value: Any) -> Any:
    """Return a value as None, bool, int, float, str, and lists and dictionaries of these.

    Arrays become lists, numbers that are not finite None, and what is none of these its text.

    Example:
        >>> plain({"eps": np.float32(0.5), "margin": np.array([1.0, np.inf])})
        {'eps': 0.5, 'margin': [1.0, None]}
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return None if value is None else str(value)
