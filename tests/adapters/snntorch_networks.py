"""The network of snnTorch's tutorial 5, which several tests and a benchmark use."""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn


class FullyConnected(nn.Module):
    """Tutorial 5, and with several outputs a class that on population coding: a loop over the steps in the forward."""

    def __init__(
        self, hidden: int = 30, outputs: int = 10, *, beta: float = 0.95, time_steps: int = 5, **options: Any
    ) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, hidden), snn.Leaky(beta=beta, **options)
        self.fc2, self.lif2 = nn.Linear(hidden, outputs), snn.Leaky(beta=beta, **options)
        self.time_steps = time_steps

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both layers' first potentials."""
        return self.lif1.init_leaky(), self.lif2.init_leaky()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.begin(x)
        spikes, potentials = [], []
        for _ in range(self.time_steps):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            potentials.append(mem2)
        return torch.stack(spikes), torch.stack(potentials)


def spike_sum(net: nn.Module, x: Tensor) -> Tensor:
    """Return spike counts (N, outputs)."""
    return net(x)[0].sum(0)


def potential_sum(net: nn.Module, x: Tensor) -> Tensor:
    """Return summed potentials (N, outputs)."""
    return net(x)[1].sum(0)


def population(net: nn.Module, x: Tensor) -> Tensor:
    """Return the spike counts of ten classes (N, 10) that several outputs share, class after class."""
    return spike_sum(net, x).unflatten(1, (10, -1)).sum(2)
