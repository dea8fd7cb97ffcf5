"""What the neurons of a network show of how it uses them."""

from __future__ import annotations

import torch
from torch import Tensor

from art_snn.engine.unrolling import StepNeurons
from art_snn.rules import STBP
from art_snn.snn.dynamics import NeuronParams, NeuronState


class Seen(StepNeurons):
    """Neurons that count their steps, and note how they are used.

    Attributes:
        steps: The number of steps so far.
        reached: Whether the input's graph reaches them.
        fired: Whether one of them has fired.
        from_state: Whether they began from a state that came in.
        past_graph: Whether a state that they showed came back with other values, which no graph knows of.
    """

    def __init__(self, params: NeuronParams, rule: STBP) -> None:
        super().__init__(params, rule, copies=True)
        self.steps = 0
        self.reached = self.fired = self.from_state = self.past_graph = False
        self._shown: list[tuple[Tensor, int, Tensor]] = []  # state, the number of its changes, and its values

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        self.steps += len(current_seq)
        self.reached |= current_seq.requires_grad
        self.past_graph |= any(
            value._version == version and not torch.equal(value, kept) for value, version, kept in self._shown
        )
        self._shown.clear()
        spikes_seq = super().__call__(current_seq)
        self.fired |= bool(spikes_seq.any())
        return spikes_seq

    def shown_state(self) -> NeuronState:
        """Return the state with its graph; keep its values."""
        state = super().shown_state()
        self._shown = [(v, v._version, v.detach().clone()) for v in state if isinstance(v, Tensor)]
        return state

    def start_from(self, state: NeuronState) -> None:
        """Take a state before the first step, with its graph."""
        super().start_from(state)
        self.from_state = True
