"""Networks on event frames that tests of attacks take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from art_snn import LIF, EventFrameEncoder, PyTorchSNNClassifier, SpikingNetwork
from art_snn.rules.base import GradientRule, TemporalRule
from art_snn.rules.memory import Memory

FRAMES = 4


@dataclass(frozen=True, kw_only=True)
class Widening(TemporalRule):
    """Has a wider slope with every gradient that it remembers."""

    name: ClassVar[str] = "widening"
    remembers: ClassVar[bool] = True
    memory: Memory | None = None

    def remembering(self, memory: Memory) -> Widening:
        return replace(self, memory=memory)

    def slope(self, distance: Tensor) -> Tensor:
        key = distance.shape[1:]  # the layers of the networks here differ in shape
        width = torch.full_like(distance, 0.6)
        if self.memory is not None:
            width = self.memory.read(key, distance, start=0.6)
            self.memory.write(key, 1.3 * width)
        return (1 - distance.abs() / width).clamp(min=0)


def classifier_of(
    network: SpikingNetwork, shape: tuple[int, ...], classes: int, rule: str | GradientRule = "stbp", most: float = 1.0
) -> PyTorchSNNClassifier:
    return PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        shape,
        classes,
        clip_values=(0.0, most),
        device_type="cpu",
        gradient_rule=rule,
    )


def order_classifier(rule: str | GradientRule = "stbp") -> PyTorchSNNClassifier:
    """Tell which of two events of a pixel came first, (N, 4, 2, 1, 1): the one on channel 0, or the one on channel 1.

    A neuron is near its threshold after the event of one channel, and fires if what is left of an earlier event of the
    other channel comes on top; a later one is too weak.
    """
    body = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), LIF(decay=0.5), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        body[1].weight.copy_(torch.tensor([[0.3, 0.98], [0.98, 0.3]]))
        body[3].weight.copy_(torch.eye(2))
    return classifier_of(SpikingNetwork(EventFrameEncoder(), body), (FRAMES, 2, 1, 1), 2, rule)


def order_task() -> tuple[np.ndarray, np.ndarray]:
    """Every pair of frames for the two events, and which one comes first."""
    pairs = [(i, j) for i in range(FRAMES) for j in range(FRAMES) if i != j]
    x = np.zeros((len(pairs), FRAMES, 2, 1, 1), dtype=np.float32)
    for sample, frames in zip(x, pairs, strict=True):
        for channel, frame in enumerate(frames):
            sample[frame, channel] = 1
    return x, np.array([int(i > j) for i, j in pairs])


def random_network(seed: int = 0) -> SpikingNetwork:
    """Return a network of random weights on frames (N, T, 2, 5, 5), with 3 classes."""
    generator = torch.Generator().manual_seed(seed)
    body = nn.Sequential(
        nn.Conv2d(2, 4, 3), LIF(decay=0.7), nn.Flatten(), nn.Linear(36, 12), LIF(decay=0.5), nn.Linear(12, 3)
    )
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.5 if parameter.ndim > 1 else 0.1))
    return SpikingNetwork(EventFrameEncoder(), body)


def random_frames(number: int, most: int = 1, frames: int = 5, seed: int = 0) -> np.ndarray:
    """Return counts from 0 to ``most`` (N, T, 2, 5, 5), most of them 0."""
    rng = np.random.default_rng(seed)
    shape = (number, frames, 2, 5, 5)
    return (rng.integers(1, most + 1, shape) * (rng.random(shape) < 0.3)).astype(np.float32)
