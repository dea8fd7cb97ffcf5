"""What the tests of the attacks that keep their iterates share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from art_snn import PyTorchSNNClassifier
from art_snn.attacks import APGD, SAPGD
from art_snn.rules.base import RateRule

ATTACKS = (SAPGD, APGD)


@dataclass(frozen=True, kw_only=True)
class Constant(RateRule):
    """Gives every neuron one gain."""

    name: ClassVar[str] = "constant"
    value: float = 0.0

    def gain(self, record: Any) -> Tensor:
        return torch.full_like(record.rate, self.value)


@contextmanager
def watched_iterates() -> Iterator[list[np.ndarray]]:
    """Collect the batches of iterates that gradients are taken at."""
    seen: list[np.ndarray] = []
    inner = PyTorchSNNClassifier.gradient_and_logits

    def watched(self: Any, x: Tensor, *args: Any) -> Any:
        seen.append(x.cpu().numpy().copy())
        return inner(self, x, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PyTorchSNNClassifier, "gradient_and_logits", watched)
        yield seen
