"""What answers in the place of neurons where nobody may depend on how they came to their spikes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from art_snn.snn.dynamics import NeuronParams, NeuronState, has_synapse


class StandIn:
    """A tap (`art_snn.snn.layouts.Tap`) that gives a function's values for spikes, and random numbers for states.

    Attributes:
        shown: The states that were asked for, leaves of the graph: where one has a gradient, potentials are read.
    """

    def __init__(self, answer: Callable[[Tensor], Tensor], params: NeuronParams, generator: torch.Generator) -> None:
        self._answer, self._params, self._generator = answer, params, generator
        self._last: Tensor | None = None
        self.shown: list[Tensor] = []

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the values of the next steps, (T', N, *F)."""
        values = self._answer(current_seq)
        self._last = values.detach()[-1]
        return values

    @property
    def state(self) -> NeuronState:
        """Random numbers."""
        if self._last is None:
            raise RuntimeError("a state is read before the first step")
        count = 1 + has_synapse(self._params)
        like = self._last
        states = [torch.rand(like.shape, generator=self._generator).to(like).requires_grad_() for _ in range(count)]
        self.shown += states
        return NeuronState(states[0], states[1] if count > 1 else None)

    def begin(self, state: NeuronState | None) -> None:
        """Take what the first step begins from; RuntimeError later, where a layer would begin anew."""
        if self._last is not None:
            raise RuntimeError("a layer begins anew between two steps")
        values = () if state is None else state
        if any(isinstance(v, Tensor) and v.requires_grad and not isinstance(v, nn.Parameter) for v in values):
            raise RuntimeError("a layer begins from another's state")
