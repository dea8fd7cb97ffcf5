"""How neurons of norse are called: with a state, or None to begin anew, and with a state in what they return."""

from __future__ import annotations

import weakref
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from art_snn.adapters.classes import number
from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams, NeuronState, Scalar, has_synapse
from art_snn.snn.layouts import Layout, Tap


class StateInAndOut(Layout):
    """Layers called with currents, and the state that they returned last or None, that return spikes and a state."""

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return a forward from currents and a state to spikes and the state after them."""
        run = _Run(module, tap)

        def call(input_tensor: Tensor, state: Any = None) -> tuple[Tensor, Any]:
            run.start(state)
            if self.axes == "N":
                return run.spikes(input_tensor.unsqueeze(0)).squeeze(0), run.state()
            if getattr(module, "record_states", False):
                return run.recorded(input_tensor)
            return run.spikes(input_tensor), run.state()

        return call


class Cells(StateInAndOut):
    """Layers that take one step (N, *F)."""

    axes = "N"


class Encoders(Layout):
    """Layers that show an input (N, *F) for T steps, and return spikes (T, N, *F)."""

    axes = "N"

    def forward(self, module: Any, tap: Tap) -> Callable[..., Any]:
        """Return a forward from currents (N, *F) to spikes (T, N, *F)."""

        def call(input_currents: Tensor) -> Tensor:
            tap.begin(None)
            return tap(input_currents.expand(module.seq_length, *input_currents.shape))

        return call


class _Run:
    """A layer in one run of the network."""

    def __init__(self, module: Any, tap: Tap) -> None:
        self._tap = tap
        has_current = hasattr(module.p, "tau_syn_inv")
        # What is left of a synaptic current after a step, which norse takes off at its end, and `NeuronParams` later.
        self._left: Scalar | None = 1 - number(module.dt * module.p.tau_syn_inv) if has_current else None
        self._last: Callable[[], _State | None] = lambda: None
        self.calls = 0

    def start(self, state: Any) -> None:
        """Go on from the state that was returned last; begin anew from None or another one."""
        if state is None:
            self._tap.begin(None)
        elif not _is_same(state, self._last()):
            self._tap.begin(NeuronState(state.v, self._before_decay(getattr(state, "i", None))))

    def spikes(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        self.calls += 1
        return self._tap(current_seq)

    def state(self) -> _State:
        """Return the state after the steps so far, which is read later or never."""
        state = _State(self, self.calls, ("v",) if self._left is None else ("v", "i"))
        self._last = weakref.ref(state)
        return state

    def recorded(self, current_seq: Tensor) -> tuple[Tensor, Any]:
        """Return spikes (T, N, *F) and a state of the potentials, and currents, after every step."""
        steps = [(self.spikes(current.unsqueeze(0)), tuple(self.state())) for current in current_seq]
        fields = self.state().fields
        values = (torch.stack([state[k] for _, state in steps]) for k in range(len(fields)))
        return torch.cat([spikes for spikes, _ in steps]), namedtuple("State", fields)(*values)

    def read(self, calls: int) -> tuple[Tensor, ...]:
        """Return potential, and current, after that many calls, which have to be all so far."""
        if calls != self.calls:
            raise UnsupportedModelError(
                [
                    "it reads a state of norse's neurons after they have gone on; take what you need of it, such as "
                    "state.v, in the step that returns it"
                ]
            )
        potential, synapse = self._tap.state
        values = (torch.as_tensor(potential),)
        if self._left is None:
            return values
        return (*values, torch.zeros_like(values[0]) if synapse is None else self._left * synapse)

    def _before_decay(self, current: Tensor | None) -> Tensor | None:
        if self._left is None or current is None:
            return None
        current = torch.as_tensor(current)
        current = current.detach() if isinstance(current, nn.Parameter) else current
        if has_synapse(NeuronParams(alpha=self._left)):
            return current / self._left
        if current.any():
            raise UnsupportedModelError(
                ["it hands a synaptic current to neurons of norse that keep none, by their tau_syn_inv"]
            )
        return None


def _is_same(state: Any, last: _State | None) -> bool:
    """Say whether a state is the one that was returned last, or made of the very tensors that were read off it."""
    if last is None or state is last:
        return state is last
    return last.values is not None and all(
        getattr(state, f, None) is v for f, v in zip(last.fields, last.values, strict=True)
    )


class _State(Sequence[Tensor]):
    """A state as norse returns it, a named tuple, whose entries are computed when they are read."""

    def __init__(self, run: _Run, calls: int, fields: tuple[str, ...]) -> None:
        self.fields = fields
        self.values: tuple[Tensor, ...] | None = None
        self._run, self._calls = run, calls

    def _all(self) -> tuple[Tensor, ...]:
        if self.values is None:
            self.values = self._run.read(self._calls)
        return self.values

    def __getattr__(self, name: str) -> Tensor:
        if name not in ("v", "i") or name not in self.fields:
            raise AttributeError(f"a state of these neurons has {' and '.join(self.fields)}, no {name}")
        return self._all()[self.fields.index(name)]

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self.fields)

    def _asdict(self) -> dict[str, Tensor]:
        return dict(zip(self.fields, self._all(), strict=True))

    def _replace(self, **values: Tensor) -> Any:
        return namedtuple("State", self.fields)(**(self._asdict() | values))
