"""Neurons as a library writes them: step by step, with states, outputs and a surrogate of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from art_snn.adapters import Layout, Reading
from art_snn.snn.dynamics import NeuronParams, NeuronState


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] / (1 + ctx.saved_tensors[0].abs()) ** 2


class Node(nn.Module):
    """LIF whose state is handed in and out: ``spikes, potential = node(current, potential)``."""

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        self.decay = decay

    def forward(self, current: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
        membrane = self.decay * potential + current
        spikes = Surrogate.apply(membrane - 1)
        return spikes, membrane * (1 - spikes)


class StatefulNode(Node):
    """The same, with the state in itself."""

    potential: Any = 0.0

    def forward(self, current: Tensor) -> Tensor:
        spikes, self.potential = super().forward(current, self.potential)
        return spikes


class InAndOut(Layout):
    axes = "N"

    def forward(self, module, tap):
        returned: list[Tensor] = []

        def call(current: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
            if not returned or potential is not returned[-1]:
                tap.begin(NeuronState(potential, None))
            spikes = tap(current.unsqueeze(0))[0]
            returned.append(tap.state.potential)
            return spikes, returned[-1]

        return call


def read(module: nn.Module) -> Reading | None:
    return Reading(NeuronParams(decay=module.decay), InAndOut()) if type(module) is Node else None


class Loop(nn.Module):
    """Two layers of nodes and a loop over T steps; ``parts`` chooses what logits are made of."""

    def __init__(self, time_steps: int = 6, readout: str = "outputs") -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 3)])
        self.nodes = nn.ModuleList([Node(), Node()])
        self.time_steps, self.readout = time_steps, readout

    def forward(self, x: Tensor) -> Tensor:
        x = 3 * x.flatten(1)
        states = [x.new_zeros(len(x), 16) for _ in self.nodes]
        outputs = []
        for _ in range(self.time_steps):
            first, states[0] = self.nodes[0](self.layers[0](x), states[0])
            second, states[1] = self.nodes[1](2 * self.layers[1](first), states[1])
            outputs.append(self.layers[2](second if self.readout == "outputs" else states[1]))
        return torch.stack(outputs).mean(0)
