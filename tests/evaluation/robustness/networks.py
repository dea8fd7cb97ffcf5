"""Networks that an evaluation has to see through."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_snn import PoissonEncoder, PyTorchSNNClassifier, SpikingNetwork


class Cut(torch.autograd.Function):
    """The identity, with a gradient of zero for some samples."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor) -> Tensor:
        ctx.save_for_backward(kept)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return gradient * kept.reshape(-1, *[1] * (gradient.ndim - 1)), None


class GradientKiller(nn.Module):
    """Let no gradient through, or that of dark samples only."""

    def __init__(self, least: float = np.inf) -> None:
        super().__init__()
        self.least = least

    def forward(self, x: Tensor) -> Tensor:
        mean = x.detach().flatten(1).mean(1)
        kept = torch.zeros_like(mean) if self.least == np.inf else (mean < self.least).to(x.dtype)
        return Cut.apply(x, kept)


class Guard(nn.Module):
    """Move currents away from the threshold of 1 by ``width``; a neuron of one time-step spikes as before."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.width * torch.where(x.detach() >= 1, 1.0, -1.0)


def like(
    classifier: PyTorchSNNClassifier, *first: nn.Module, encoder: nn.Module | None = None, **options: Any
) -> PyTorchSNNClassifier:
    """Return a classifier with the layers of another one, behind others or behind another encoder."""
    network = classifier.model.network
    body = nn.Sequential(*first, *network.body) if first else network.body
    made = SpikingNetwork(network.encoder if encoder is None else encoder, body)
    shape, classes = classifier.input_shape, classifier.nb_classes
    options = {"clip_values": (0, 1), "device_type": "cpu", **options}
    return PyTorchSNNClassifier(made.eval(), nn.CrossEntropyLoss(), shape, classes, **options)


def poisson(classifier: PyTorchSNNClassifier, time_steps: int = 4, **options: Any) -> PyTorchSNNClassifier:
    generator = torch.Generator().manual_seed(0)
    return like(classifier, encoder=PoissonEncoder(time_steps=time_steps, generator=generator), **options)
