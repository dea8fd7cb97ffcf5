"""Stand in for the spiking layers of a network that runs a few steps at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams, NeuronState
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, long_layers

_CHANGED = (
    "{} gets back a state that was changed in place after it returned it (mem *= 0.5, mem.mul_(0.5)), for which rate "
    "rules are not defined. If the change is for what is read, change a copy (read = mem.clone()), and hand the layer "
    "mem as it is; else attack it with a rule through time: gradient_rule='stbp'"
)


class _Runs(Protocol):
    """Neurons that keep their state between steps."""

    def __call__(self, current_seq: Tensor, /) -> Tensor: ...
    def placed(self, layer: str, call: int) -> None: ...
    def shown_state(self) -> NeuronState: ...
    def start_from(self, state: NeuronState) -> None: ...

    @property
    def shows_its_own(self) -> bool:
        """Whether the state that is shown is the one that it goes on from, also where that is changed in place."""
        ...


Layer = TypeVar("Layer", bound=_Runs)


class Layers(Generic[Layer]):
    """The neurons of a network that runs a few steps at a time.

    Attributes:
        calls: Name of each spiking layer to its neurons, other ones for each sequence that begins anew in a forward
            pass.
    """

    def __init__(self, network: SequenceModel, make: Callable[[NeuronParams], Layer]) -> None:
        self.calls: dict[str, list[Layer]] = {}
        self.in_order: list[Layer] = []  # of their first calls
        self.make = make
        self._long = long_layers(network)
        self._taps: list[_LayerTap[Layer]] = []

    def make_tap(self, name: str, params: NeuronParams) -> Forward:
        """Return what stands in for a layer."""
        calls = self.calls.setdefault(name, [])
        tap = _LayerTap(name, partial(self.make, params), calls, self.in_order, goes_on=name in self._long)
        self._taps.append(tap)
        return tap

    def run(self, body: Callable[[Tensor], Tensor], steps: Tensor) -> Tensor:
        """Return a body's outputs (T', N, K) in the next T' steps."""
        for tap in self._taps:
            tap.position = 0
        return body(steps)


class _LayerTap(Generic[Layer]):
    """Stands in for a layer: the neurons of its first call, its second, ... in a forward pass."""

    def __init__(
        self, name: str, make: Callable[[], Layer], calls: list[Layer], in_order: list[Layer], *, goes_on: bool
    ) -> None:
        self._name, self._make, self._calls, self._in_order, self._goes_on = name, make, calls, in_order, goes_on
        self._shown: list[tuple[Tensor, int]] = []  # the state that was asked for last, with the number of its changes
        self.position = 0  # of the neurons that run next; only those of long layers go on within a forward pass

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        neurons = self._neurons
        if not neurons.shows_its_own and any(value._version != version for value, version in self._shown):
            raise UnsupportedModelError([_CHANGED.format(self._name)])
        self._shown.clear()
        self.position += not self._goes_on
        return neurons(current_seq)

    @property
    def state(self) -> NeuronState:
        """A copy of the state, to be had between the steps of layers that go on."""
        state = self._neurons.shown_state()
        self._shown = [(value, value._version) for value in state if isinstance(value, Tensor)]
        return state

    def begin(self, state: NeuronState | None) -> None:
        """Let the next step be a first one."""
        self.position = len(self._calls)
        self._shown.clear()
        if state is not None:
            self._neurons.start_from(state)

    @property
    def _neurons(self) -> Layer:
        if self.position == len(self._calls):
            neurons = self._make()
            neurons.placed(self._name, len(self._calls))
            self._calls.append(neurons)
            self._in_order.append(neurons)
        return self._calls[self.position]
