"""What the tests of the attacks that keep their iterates share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from art_snn import PyTorchSNNClassifier
from art_snn.attacks import APGD, SAPGD
from art_snn.errors import InputRangeWarning
from art_snn.rules import HART, STBP
from art_snn.rules.base import RateRule
from art_snn.rules.memory import Memory
from tests.classifier.classifiers import small_classifier
from tests.conftest import make_network

ATTACKS = (SAPGD, APGD)
RULES = (HART(gamma=0.5), STBP(gamma=0.5, detach_reset=True))
LOSSES = ("cross-entropy", "margin")


@dataclass(frozen=True, kw_only=True)
class Constant(RateRule):
    """Gives every neuron one gain."""

    name: ClassVar[str] = "constant"
    value: float = 0.0

    def gain(self, record: Any) -> Tensor:
        return torch.full_like(record.rate, self.value)


@dataclass(frozen=True, kw_only=True)
class Narrowing(RateRule):
    """Gives gains to neurons by their rates, fewer and fewer with every gradient that it remembers."""

    name: ClassVar[str] = "narrowing"
    remembers: ClassVar[bool] = True
    memory: Memory | None = None

    def remembering(self, memory: Memory) -> Narrowing:
        return replace(self, memory=memory)

    def gain(self, record: Any) -> Tensor:
        if self.memory is None:
            return torch.ones_like(record.rate)
        key = record.rate.shape[1:]  # the layers of the networks here differ in shape
        count = self.memory.read(key, record.rate, start=0.0)
        self.memory.write(key, count + 1)
        return torch.where(record.rate < 1 / (1 + count), 1.0, 0.1)


@dataclass(frozen=True, kw_only=True)
class Forgetful(Narrowing):
    """The same, without a memory."""

    name: ClassVar[str] = "forgetful"
    remembers: ClassVar[bool] = False


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


def clipped(kind="plain", **options):
    network, x = make_network(kind)
    return small_classifier(network, input_shape=tuple(x.shape[1:]), clip_values=(0, 1), **options), x.numpy()


def correct(classifier, x):
    return classifier.predict(x).argmax(1)


def correct_without_warning(classifier, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputRangeWarning)
        return correct(classifier, x)
