"""How a kind of spiking layer is called: which axes its input has, where its state is, what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from art_snn.snn.dynamics import NeuronState

Axes = Literal["T N", "N", "N T", "T*N", "N*T"]


class Tap(Protocol):
    """What stands in for a layer: takes a sequence of currents (T', N, *F), and gives the spikes of these steps."""

    def __call__(self, current_seq: Tensor, /) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        ...

    @property
    def state(self) -> NeuronState:
        """The state after the steps so far, (N, *F); what is asked for may be differentiated."""
        ...

    def begin(self, state: NeuronState | None) -> None:
        """Let the next step be a first one, from a state, or from the neurons' own initial one."""
        ...


class Layout:
    """How a kind of layer is called. Derive from it to add another one; one object serves all layers of a kind.

    Attributes:
        axes: Of the input: "T N" is a sequence (T, N, *F), "N" one step (N, *F), "N T" a sequence (N, T, *F); "T*N" and
            "N*T" are sequences whose first two axes are merged.
        goes_on: Whether a call goes on where the call before it ended, in the same run of the network. If not, each
            call begins anew.
    """

    axes: ClassVar[Axes] = "T N"
    goes_on: ClassVar[bool] = True

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return what stands in for the layer's forward in one run of the network."""
        raise NotImplementedError


class Sequences(Layout):
    """Layers from a sequence (T, N, *F) to another, without state between calls, as `art_snn.LIF`."""

    goes_on = False

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return the tap."""
        return lambda current_seq: tap(current_seq)


class LongSequences(Sequences):
    """Layers from a sequence (T, N, *F) to another, which go on in the next call."""

    goes_on = True


class Steps(Layout):
    """Layers that take one step (N, *F) in each call, and keep their state in themselves."""

    axes = "N"

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return a forward from currents (N, *F) to spikes (N, *F)."""
        return lambda current: tap(current.unsqueeze(0)).squeeze(0)


class BatchFirst(Layout):
    """Layers from a sequence (N, T, *F) to another, which go on in the next call."""

    axes = "N T"

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return a forward from currents (N, T, *F) to spikes (N, T, *F)."""
        return lambda current: tap(current.transpose(0, 1)).transpose(0, 1)


@dataclass(frozen=True)
class Merged(Layout):
    """Layers on sequences whose axes are merged, (T*N, *F), that know T; each call begins anew.

    Attributes:
        time_steps: Function from a layer to its T.
    """

    time_steps: Callable[[nn.Module], int]

    axes: ClassVar[Axes] = "T*N"

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return a forward from currents (T*N, *F) to spikes (T*N, *F)."""

        def call(currents: Tensor) -> Tensor:
            tap.begin(None)
            steps = self.time_steps(module)
            _check_divisible(len(currents), steps)
            return tap(currents.unflatten(0, (steps, -1))).flatten(0, 1)

        return call


@dataclass(frozen=True)
class Squeezed(Layout):
    """Layers on sequences whose axes are merged, (N*T, *F), that know T; they go on in the next call.

    Attributes:
        time_steps: Function from a layer, and the length N*T of its input, to T.
    """

    time_steps: Callable[[nn.Module, int], int]

    axes: ClassVar[Axes] = "N*T"

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return a forward from currents (N*T, *F) to spikes (N*T, *F)."""

        def call(currents: Tensor) -> Tensor:
            steps = self.time_steps(module, len(currents))
            _check_divisible(len(currents), steps)
            return tap(currents.unflatten(0, (-1, steps)).transpose(0, 1)).transpose(0, 1).flatten(0, 1)

        return call


def _check_divisible(rows: int, steps: int) -> None:
    if rows % steps:
        raise ValueError(f"a spiking layer gets {rows} rows, which is no multiple of its {steps} time-steps")
