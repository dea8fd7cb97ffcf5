"""Networks that an evaluation has to see through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_snn import LIF, DirectEncoder, PoissonEncoder, PyTorchSNNClassifier, SpikingNetwork
from art_snn.data import Split
from art_snn.snn.dynamics import fired, in_thresholds, integrate


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
    shape, classes = options.pop("input_shape", classifier.input_shape), classifier.nb_classes
    options = {"clip_values": (0, 1), "device_type": "cpu", **options}
    return PyTorchSNNClassifier(made.eval(), nn.CrossEntropyLoss(), shape, classes, **options)


def poisson(classifier: PyTorchSNNClassifier, time_steps: int = 4, **options: Any) -> PyTorchSNNClassifier:
    generator = torch.Generator().manual_seed(0)
    return like(classifier, encoder=PoissonEncoder(time_steps=time_steps, generator=generator), **options)


def nearness(neurons: LIF, current_seq: Tensor, guard: float) -> Tensor:
    """Return ``mean(max(0, guard - |u|))``, a scalar, of a layer's distances ``u = (m - threshold) / threshold``."""
    params, distances = neurons.params, []

    def fire(distance: Tensor) -> Tensor:
        distances.append(in_thresholds(distance, params))
        return fired(distance, params)

    integrate(current_seq, params, fire)
    return (guard - torch.stack(distances).abs()).clamp(min=0).mean()


@contextmanager
def penalties(network: nn.Module, guard: float) -> Iterator[list[Tensor]]:
    """Within the block, each forward pass adds the `nearness` of each spiking layer to the list."""
    found: list[Tensor] = []

    def note(neurons: LIF, inputs: tuple[Tensor]) -> None:
        found.append(nearness(neurons, inputs[0], guard))

    hooks = [each.register_forward_pre_hook(note) for each in network.modules() if isinstance(each, LIF)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def train_guarded(
    network: nn.Module,
    data: Split,
    *,
    epochs: int,
    guard: float = 1.0,
    weight: float = 0.0,
    lr: float = 0.01,
    seed: int = 0,
) -> None:
    """Train with cross-entropy and ``weight`` times the potentials' `nearness` to the threshold, summed over layers."""
    torch.manual_seed(seed)
    adam = torch.optim.Adam(network.parameters(), lr=lr)
    x, y = torch.from_numpy(data.x_train), torch.as_tensor(data.y_train)
    network.train()
    with penalties(network, guard) as near:
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                near.clear()
                loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
                adam.zero_grad()
                (loss + weight * torch.stack(near).sum()).backward()
                adam.step()
    network.eval()


def small_digits(hidden: int = 64, seed: int = 0) -> PyTorchSNNClassifier:
    """Return an untrained network of two spiking layers for the digits, T = 4."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for width in (64, hidden):
        layers += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), LIF(decay=0.9)]
    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(*layers, nn.Linear(hidden, 10)))
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")
