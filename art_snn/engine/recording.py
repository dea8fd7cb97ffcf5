"""Record: run the T steps without a graph, and keep of each spiking layer only means over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from art_snn.engine.steps import is_time_blind
from art_snn.rules.base import LayerRecord
from art_snn.snn.dynamics import NeuronParams, NeuronState, charge, empty_sequence, is_plain, reset, reset_plain
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, tapped

# Rows (steps x samples) that are put through the body at the same time. More costs memory, fewer leave cores idle.
ROWS_CPU = 64
ROWS_ACCELERATOR = 1024

Slope = Callable[[Tensor], Tensor]


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

    Plain ones work in place: a pass over memory costs as much here as the formula of `art_snn.snn.dynamics`.
    """

    def __init__(self, params: NeuronParams) -> None:
        self.params = params
        self.plain = is_plain(params)
        self.state = NeuronState(params.v0, None)

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        spikes_seq = empty_sequence(current_seq)
        for current, spikes in zip(current_seq, spikes_seq, strict=True):
            potential, synapse = self.state
            if self.plain and isinstance(potential, Tensor):
                membrane = memory = torch.add(current, potential, alpha=float(self.params.decay), out=potential)
            else:
                membrane, synapse = charge(current, self.state, self.params)
                memory = None  # the potential of the first step may be the input
            torch.ge(membrane, self.params.threshold, out=spikes)
            self.watch(membrane)
            if self.plain:
                potential = reset_plain(membrane, spikes, self.params, out=memory)
            else:
                potential = reset(membrane, spikes, self.params)
            self.state = NeuronState(potential, synapse)
        return spikes_seq

    def watch(self, membrane: Tensor) -> None:
        """See the potential before firing, shape (N, *F), in every step."""


class Recorder(Neurons):
    """Neurons that sum over time what the rules need."""

    def __init__(self, params: NeuronParams, slope: Slope | None) -> None:
        super().__init__(params)
        self.slope = slope
        self.steps = 0
        self.scratch: Tensor | None = None
        self.spike_sum: Tensor | None = None
        self.current_sum: Tensor | None = None
        self.slope_sum: Tensor | None = None

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        spikes_seq = super().__call__(current_seq)
        self.spike_sum = _add_steps(self.spike_sum, spikes_seq)
        self.current_sum = _add_steps(self.current_sum, current_seq)
        self.steps += len(current_seq)
        return spikes_seq

    def watch(self, membrane: Tensor) -> None:
        """Add the slope of a step."""
        if self.slope is not None:
            self.scratch = torch.empty_like(membrane) if self.scratch is None else self.scratch
            slope = self.slope(torch.sub(membrane, self.params.threshold, out=self.scratch))
            self.slope_sum = slope.clone() if self.slope_sum is None else self.slope_sum.add_(slope)

    def record(self) -> LayerRecord:
        """Return the means over all steps so far."""
        if self.spike_sum is None or self.current_sum is None:
            raise ValueError("nothing was recorded: the sequence has no time-step")
        return LayerRecord(
            params=self.params,
            rate=self.spike_sum / self.steps,
            mean_current=self.current_sum / self.steps,
            mean_slope=None if self.slope_sum is None else self.slope_sum / self.steps,
        )


class DistanceRecorder(Recorder):
    """Neurons that also keep every step's distance from the threshold."""

    def __init__(self, params: NeuronParams) -> None:
        super().__init__(params, None)
        self.distances: list[Tensor] = []

    def watch(self, membrane: Tensor) -> None:
        """Keep the distance of a step."""
        self.distances.append(membrane - self.params.threshold)


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
    """Return the logits (N, K) for an encoded input (T, N, ...), without a graph and in memory that is flat in T."""
    return _run(network, x_seq, Neurons)[0]


def record(network: SequenceModel, x_seq: Tensor, slope: Slope | None = None) -> Recording:
    """Run a network in evaluation mode over an encoded input (T, N, ...), without a graph.

    A few steps run at a time where the layers allow it. Memory does not grow with T then: each layer holds one
    potential and up to three sums, the third where there is a rule's ``slope`` to average over time.
    """
    logits, layers = _run(network, x_seq, lambda params: Recorder(params, slope))
    return Recording(logits, {name: [call.record() for call in calls] for name, calls in layers.items()})


def record_distances(network: SequenceModel, x_seq: Tensor) -> dict[str, list[tuple[LayerRecord, Tensor]]]:
    """Return the records of `record`, each with the distances ``m(t) - threshold``, shape (T, N, *F)."""
    _, layers = _run(network, x_seq, DistanceRecorder)
    return {name: [(call.record(), torch.stack(call.distances)) for call in calls] for name, calls in layers.items()}


_Layer = TypeVar("_Layer", bound=Neurons)


@torch.no_grad()
def _run(
    network: SequenceModel, x_seq: Tensor, make: Callable[[NeuronParams], _Layer]
) -> tuple[Tensor, dict[str, list[_Layer]]]:
    """Run a network with neurons that ``make`` gives; return the logits and each layer's neurons, one per call."""
    layers: dict[str, list[_Layer]] = {}
    position: Counter[str] = Counter()  # how often a layer was called in the forward pass that runs

    def make_tap(name: str, params: NeuronParams) -> Forward:
        layers[name] = []

        def tap(current_seq: Tensor) -> Tensor:
            if position[name] == len(layers[name]):
                layers[name].append(make(params))
            neurons = layers[name][position[name]]
            position[name] += 1
            return neurons(current_seq)

        return tap

    with tapped(network, make_tap):
        outputs = []
        for steps in x_seq.split(_chunk(network, x_seq)):
            position.clear()
            outputs.append(network.body(steps))
    out_seq = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return network.readout(out_seq), layers


def _chunk(network: SequenceModel, x_seq: Tensor) -> int:
    """Return the number of steps to run at the same time."""
    time_steps, batch = x_seq.shape[:2]
    if not (isinstance(network.body, nn.Module) and is_time_blind(network.body)):
        return time_steps
    rows = ROWS_CPU if x_seq.device.type == "cpu" else ROWS_ACCELERATOR
    return min(time_steps, max(1, rows // max(1, batch)))
