"""Convert: run the ordinary network (ANN) that a conversion rule makes of a spiking network's weights."""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor

from art_snn.adapters.network import AdaptedNetwork
from art_snn.engine.graphs import InputsOnly
from art_snn.engine.paths import note_path
from art_snn.rules.base import ConversionRule
from art_snn.snn.dynamics import NeuronParams, NeuronState, charge, steady_drive
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, tapped


def converted_logits(network: SequenceModel, rule: ConversionRule, x_seq: Tensor, *, parameters: bool = True) -> Tensor:
    """Return the logits (N, K) of the ANN made of the network's weights, on the mean of ``x_seq`` over time.

    A network that has the time in its own forward runs as it is, with the mean input in each step.
    """
    note_path(network, "converted")
    mean_input = network.mean_input(x_seq) if isinstance(network, AdaptedNetwork) else x_seq.mean(0, keepdim=True)

    def make_tap(name: str, params: NeuronParams) -> Forward:
        return _Analog(rule, params)

    with nullcontext() if parameters else InputsOnly(), tapped(network, make_tap):
        return network.readout(network.body(mean_input))


class _Analog:
    """An ANN's neurons. Their output is a function of the current; a potential that is read leaks and does not fire."""

    def __init__(self, rule: ConversionRule, params: NeuronParams) -> None:
        self._rule, self._params = rule, params
        self._start = NeuronState(params.v0, None)
        self._since: list[Tensor] = []  # steps that the potential has not seen yet: it is seldom asked for

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the outputs (T', N, *F) of the next T' steps."""
        self._since.extend(current_seq.clone())  # which a network may change in place
        return self._rule.activate(steady_drive(current_seq, self._params), self._params)

    @property
    def state(self) -> NeuronState:
        """The state after the steps so far, with its graph."""
        for current in self._since:
            self._start = NeuronState(*charge(current, self._start, self._params))
        self._since.clear()
        return self._start

    def begin(self, state: NeuronState | None) -> None:
        """Let the next step be a first one."""
        self._start = NeuronState(self._params.v0, None) if state is None else state
        self._since.clear()
