"""Record: run the T steps without a graph, and keep of each spiking layer only means over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from art_snn.engine.graphs import fresh
from art_snn.engine.steps import is_time_blind
from art_snn.engine.taps import Layer, Layers
from art_snn.rules import HART
from art_snn.rules.base import LayerRecord, RateRule, Slope
from art_snn.snn.dynamics import (
    NeuronParams,
    NeuronState,
    charge_late,
    drive,
    empty_sequence,
    fired,
    has_synapse,
    input_weight,
    is_plain,
    reset,
    reset_plain,
    slope_at,
)
from art_snn.snn.fused import run_steps, takes
from art_snn.snn.network import SequenceModel, is_native
from art_snn.snn.readers import spiking_layers, tapped

# Rows (steps x samples) that are put through the body at the same time. More costs memory, fewer leave cores idle.
ROWS_CPU = 64
ROWS_ACCELERATOR = 1024

ALL = slice(None)


class Recording(NamedTuple):
    """What a record pass returns.

    Attributes:
        logits: The network's logits, shape (N, K).
        layers: Name of each spiking layer to its records, one for each call of the layer in a forward pass.
    """

    logits: Tensor
    layers: dict[str, list[LayerRecord]]


class Neurons:
    """Neurons that carry their state from one chunk of steps to the next.

    Plain ones work in place: a pass over memory costs as much here as the formula of `art_snn.snn.dynamics`. On a GPU
    they take one.
    """

    shows_its_own = False

    def __init__(self, params: NeuronParams) -> None:
        self.params = params
        self.plain = is_plain(params)
        self.state = NeuronState(params.v0, None)

    def __call__(self, current_seq: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps, in the memory ``out`` where it is given."""
        with torch._C.DisableTorchFunction():  # there is no graph, and modes that see every operation take their time
            spikes_seq = empty_sequence(current_seq) if out is None else out
            potential = self.state.potential
            before = potential if isinstance(potential, Tensor) else None
            if takes(self.params, current_seq, spikes_seq, before, *self.sums):
                self.run_fused(current_seq, spikes_seq, before)
            else:
                self.run(current_seq, spikes_seq)
        return spikes_seq

    @property
    def sums(self) -> tuple[Tensor | None, ...]:
        """What every step is added to."""
        return ()

    def run_fused(self, current_seq: Tensor, spikes_seq: Tensor, before: Tensor | None) -> None:
        """Run the next T' steps in one kernel, from a potential on, which is overwritten; None for 0."""
        self.state = NeuronState(run_steps(current_seq, spikes_seq, before, self.params), None)

    def run(self, current_seq: Tensor, spikes_seq: Tensor) -> None:
        """Run the next T' steps one after the other."""
        for current, spikes in zip(current_seq, spikes_seq, strict=True):
            potential, synapse = self.state
            if self.plain and isinstance(potential, Tensor):
                membrane = memory = torch.add(current, potential, alpha=float(self.params.decay), out=potential)
            else:
                begins = not isinstance(potential, Tensor) or (synapse is None and has_synapse(self.params))
                # Then the state may be the current itself, which a network may change in place afterwards.
                current = current.clone() if begins else current
                membrane, synapse = charge_late(current, self.state, self.params, self._fire)
                memory = None  # the potential of the first step may be the input
            if self.plain:
                torch.ge(membrane, self.params.threshold, out=spikes)
            else:
                spikes.copy_(self._fire(membrane - self.params.threshold))
            self.watch(membrane)
            if self.plain:
                potential = reset_plain(membrane, spikes, self.params, out=memory)
            else:
                potential = reset(membrane, spikes, self.params)
            self.state = NeuronState(potential, synapse)

    def shown_state(self) -> NeuronState:
        """Return the state in memory of its own, since neurons may change theirs in place."""
        return NeuronState(*map(_copy, self.state))

    def start_from(self, state: NeuronState) -> None:
        """Take a state before the first step."""
        self.state = NeuronState(*map(_copy, state))

    def placed(self, layer: str, call: int) -> None:
        """Hear which call of which layer this is, before the first step."""

    def _fire(self, distance: Tensor) -> Tensor:
        return fired(distance, self.params)

    def watch(self, membrane: Tensor) -> None:
        """See the potential before firing, shape (N, *F), in every step."""


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


class Recorder(Neurons):
    """Neurons that sum over time what the rules need, spikes and currents for the samples ``rows`` alone."""

    sums_slopes = True

    def __init__(self, params: NeuronParams, rule: RateRule | None, rows: slice = ALL) -> None:
        super().__init__(params)
        self.rule = rule
        self.slope: Slope | None = None if rule is None else rule.slope
        self.watches = self.slope is not None  # the potential in every step
        self.rows = rows
        self.steps = 0
        self.spike_sum: Tensor | None = None
        self.current_sum: Tensor | None = None
        self.slope_sum: Tensor | None = None

    @property
    def sums(self) -> tuple[Tensor | None, ...]:
        """The sums over the steps so far."""
        return self.spike_sum, self.current_sum, self.slope_sum

    def placed(self, layer: str, call: int) -> None:
        """Take the slope that the rule has for this call of the layer."""
        if self.rule is not None and not self.params.several:
            self.slope = self.rule.stepwise(layer, call) or self.slope

    def run_fused(self, current_seq: Tensor, spikes_seq: Tensor, before: Tensor | None) -> None:
        """Run the next T' steps in one kernel, with its sums; other slopes than HART's are added up step by step."""
        self.steps += len(current_seq)
        if self.spike_sum is None or self.current_sum is None:
            self.spike_sum, self.current_sum = (torch.zeros_like(current_seq[0][self.rows]) for _ in range(2))
        hart = self.rule if type(self.rule) is HART and self.sums_slopes else None  # which the kernel knows
        if hart is not None and self.slope_sum is None:
            self.slope_sum = torch.zeros_like(current_seq[0])
        membrane_seq = None if hart is not None or not self.watches else empty_sequence(current_seq)
        potential = run_steps(
            current_seq,
            spikes_seq,
            before,
            self.params,
            membrane_seq=membrane_seq,
            spike_sum=self.spike_sum,
            current_sum=self.current_sum,
            first_row=self.rows.start or 0,
            slope_sum=None if hart is None else self.slope_sum,
            width=1.0 if hart is None else hart.gamma,
        )
        self.state = NeuronState(potential, None)
        for membrane in () if membrane_seq is None else membrane_seq:
            self.watch(membrane)

    def run(self, current_seq: Tensor, spikes_seq: Tensor) -> None:
        """Run the next T' steps one after the other, and add them up."""
        super().run(current_seq, spikes_seq)
        self.spike_sum = _add_steps(self.spike_sum, spikes_seq[:, self.rows])
        self.current_sum = _add_steps(self.current_sum, current_seq[:, self.rows])
        self.steps += len(current_seq)

    def watch(self, membrane: Tensor) -> None:
        """Add the slope of a step."""
        if self.slope is not None:
            slope = _slope(self.slope, membrane, self.params)
            self.slope_sum = slope if self.slope_sum is None else self.slope_sum.add_(slope)

    def record(self) -> LayerRecord:
        """Return the means over all steps so far."""
        if self.spike_sum is None or self.current_sum is None:
            raise ValueError("nothing was recorded: the sequence has no time-step")
        mean_current = mean_synapse = self.current_sum / self.steps
        if self.state.synapse is not None:  # the sum over t of i(t) = alpha * i(t-1) + x(t), solved for that of i
            left = (self.params.alpha * self.state.synapse)[self.rows] / self.steps
            mean_synapse = (mean_current - left) / (1 - self.params.alpha)
        return LayerRecord(
            params=self.params,
            rate=self.spike_sum / self.steps,
            mean_current=mean_current,
            mean_drive=drive(mean_synapse, self.params),
            mean_slope=None if self.slope_sum is None else self.slope_sum / self.steps,
        )


def layer_gain(rule: RateRule, record: LayerRecord) -> Tensor:
    """Return what a rate rule multiplies the gradient by on its way through a layer, broadcastable to (N, *F)."""
    gain = rule.gain(record) if record.mean_slope is None else record.mean_slope
    weight = input_weight(record.params)
    return gain if not isinstance(weight, Tensor) and weight == 1 else gain * weight


def sample_record(record: LayerRecord, sample: int) -> LayerRecord:
    """Return the record of one sample, (1, *F)."""
    row = slice(sample, sample + 1)
    return LayerRecord(
        params=params_of_sample(record.params, sample, record.rate.ndim),
        rate=record.rate[row],
        mean_current=record.mean_current[row],
        mean_drive=record.mean_drive[row],
        mean_slope=None if record.mean_slope is None else record.mean_slope[row],
    )


def params_of_sample(params: NeuronParams, sample: int, ndim: int) -> NeuronParams:
    """Return a layer's parameters for a sample, whose entry it is where each sample has its own."""

    def entry(value: Any) -> Any:
        per_sample = isinstance(value, Tensor) and value.ndim == ndim and len(value) > 1
        return value[sample : sample + 1] if per_sample else value

    return NeuronParams(*map(entry, params))


class DistanceRecorder(Recorder):
    """Neurons that also keep every step's distance from the threshold."""

    def __init__(self, params: NeuronParams) -> None:
        super().__init__(params, None)
        self.watches = True
        self.distances: list[Tensor] = []

    def watch(self, membrane: Tensor) -> None:
        """Keep the distance of a step."""
        self.distances.append(membrane - self.params.threshold)


class FactorRecorder(Recorder):
    """Neurons that also keep what a rate rule multiplies the gradient by in every step."""

    rule: RateRule
    sums_slopes = False

    def __init__(self, params: NeuronParams, rule: RateRule) -> None:
        super().__init__(params, rule)
        self.slopes: list[Tensor] = []

    def watch(self, membrane: Tensor) -> None:
        """Keep the slope of a step."""
        if self.slope is not None:
            self.slopes.append(_slope(self.slope, membrane, self.params))

    def factor(self) -> Tensor:
        """Return ``k(t)`` times what a current weighs, (T, N, *F) or (N, *F) where it is the same in every step."""
        if self.slope is None:
            return layer_gain(self.rule, self.record())
        return torch.stack(self.slopes) * input_weight(self.params)


def _slope(slope: Slope, membrane: Tensor, params: NeuronParams) -> Tensor:
    """Return a rule's slope for a potential before firing, (N, *F)."""
    return slope_at(slope, membrane - params.threshold, params)


def _add_steps(total: Tensor | None, seq: Tensor) -> Tensor:
    """Add all steps of a sequence to a total, in its memory; a repeated step is read once."""
    if total is None:
        total = torch.zeros_like(seq[0])
    if seq.stride(0) == 0:
        return total.add_(seq[0], alpha=len(seq))
    for step in seq:
        total.add_(step)
    return total


def simulate(network: SequenceModel, x_seq: Tensor) -> Tensor:
    """Return the logits (N, K) for an encoded input (T, N, ...), without a graph and in memory that is flat in T.

    A network with another library's neurons predicts itself.
    """
    if is_native(network):
        with torch.no_grad():
            return network.readout(network.body(x_seq))
    return run_without_graph(network, x_seq, Neurons)[0]


def record(network: SequenceModel, x_seq: Tensor, rule: RateRule | None = None) -> Recording:
    """Run a network in evaluation mode over an encoded input (T, N, ...), without a graph.

    A few steps run at a time where the layers allow it. Memory does not grow with T then: each layer holds one
    potential and up to three sums, the third where the ``rule`` has a slope to average over time.
    """
    logits, layers = run_without_graph(network, x_seq, lambda params: Recorder(params, rule))
    return Recording(logits, {name: [call.record() for call in calls] for name, calls in layers.items()})


def record_distances(network: SequenceModel, x_seq: Tensor) -> dict[str, list[tuple[LayerRecord, Tensor]]]:
    """Return the records of `record`, each with the distances ``m(t) - threshold``, shape (T, N, *F)."""
    _, layers = run_without_graph(network, x_seq, DistanceRecorder)
    return {name: [(call.record(), torch.stack(call.distances)) for call in calls] for name, calls in layers.items()}


@torch.no_grad()
def run_without_graph(
    network: SequenceModel, x_seq: Tensor, make: Callable[[NeuronParams], Layer]
) -> tuple[Tensor, dict[str, list[Layer]]]:
    """Run a network with neurons that ``make`` gives; return the logits and each layer's neurons, one per call."""
    layers = Layers(network, make)
    count = chunk(x_seq) if runs_in_chunks(network) else len(x_seq)
    with tapped(network, layers.make_tap):
        outputs = [layers.run(network.body, fresh(steps)) for steps in x_seq.split(count)]
        logits = network.readout(outputs[0] if len(outputs) == 1 else torch.cat(outputs))
    return logits, layers.calls


def runs_in_chunks(network: SequenceModel) -> bool:
    """Say whether a network may run a few time-steps at a time: the body may, and holds all spiking layers."""
    body = network.body
    if not (isinstance(body, nn.Module) and is_time_blind(body)):
        return False
    inside = set(body.modules())
    return all(module in inside for _, module, _ in spiking_layers(network))


def chunk(x_seq: Tensor) -> int:
    """Return the number of steps to run at the same time, in a network that `runs_in_chunks`."""
    time_steps, batch = x_seq.shape[:2]
    rows = ROWS_CPU if x_seq.device.type == "cpu" else ROWS_ACCELERATOR
    return min(time_steps, max(1, rows // max(1, batch)))
