"""Record: run the T steps without a graph, and keep of each spiking layer only means over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from art_snn.engine.steps import is_time_blind
from art_snn.engine.taps import tapped
from art_snn.rules.base import LayerRecord
from art_snn.snn.dynamics import NeuronParams, NeuronState, charge, empty_sequence, initial_state, reset
from art_snn.snn.network import SequenceModel

# Rows (steps x samples) that are put through the body at once. More costs memory, fewer leave cores idle.
ROWS_CPU = 64
ROWS_ACCELERATOR = 1024

Slope = Callable[[Tensor], Tensor | None]


class Recording(NamedTuple):
    """What a record pass returns.

    Attributes:
        logits: The network's logits, shape (N, K).
        layers: Name of each spiking layer to its records, one for each call of the layer in a forward pass.
        distances: The same for the distances ``m(t) - threshold``, each (T, N, *F); empty unless they were asked for.
    """

    logits: Tensor
    layers: dict[str, list[LayerRecord]]
    distances: dict[str, list[Tensor]]


class Accumulator:
    """Neurons that carry their state from one chunk of steps to the next, and sum what the rules need.

    The arithmetic is that of `art_snn.snn.neurons`, in place: a pass over memory costs as much here as the formula.
    """

    def __init__(self, params: NeuronParams, slope: Slope | None, observe: bool, keep: bool = False) -> None:
        self.params = params
        self.slope = slope
        self.observe = observe
        self.keep = keep
        self.distances: list[Tensor] = []
        self.state: NeuronState = initial_state(params)
        self.memory: Tensor | None = None
        self.scratch: Tensor | None = None
        self.steps = 0
        self.spike_sum: Tensor | None = None
        self.current_sum: Tensor | None = None
        self.slope_sum: Tensor | None = None

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        spikes_seq = empty_sequence(current_seq)
        for current, spikes in zip(current_seq, spikes_seq, strict=True):
            membrane, synapse = charge(current, self.state, self.params, out=self.memory)
            torch.ge(membrane, self.params.threshold, out=spikes)
            if self.observe:
                self._observe_slope(membrane)
            if self.keep:
                self.distances.append(membrane - self.params.threshold)
            mine = membrane is not current and membrane is not synapse
            potential = _reset(membrane, spikes, self.params, out=membrane if mine else None)
            self.state = NeuronState(potential, synapse)
            self.memory = potential
        if self.observe:
            self.spike_sum = _add_steps(self.spike_sum, spikes_seq)
            self.current_sum = _add_steps(self.current_sum, current_seq)
        self.steps += len(current_seq)
        return spikes_seq

    def _observe_slope(self, membrane: Tensor) -> None:
        if self.slope is None:
            return
        if self.scratch is None:
            self.scratch = torch.empty_like(membrane)
        slope = self.slope(torch.sub(membrane, self.params.threshold, out=self.scratch))
        if slope is not None:
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


def _reset(membrane: Tensor, spikes: Tensor, params: NeuronParams, *, out: Tensor | None) -> Tensor:
    """Compute ``v(t)`` as `art_snn.snn.dynamics.reset` does, in one pass where the numbers are plain, into ``out``."""
    rho = params.threshold if params.rho is None else params.rho
    if params.reset == "soft" and not isinstance(rho, Tensor):
        return torch.sub(membrane, spikes, alpha=rho, out=out)
    if params.reset == "hard" and not isinstance(params.v_reset, Tensor) and params.v_reset == 0:
        return torch.addcmul(membrane, membrane, spikes, value=-1, out=out)
    return reset(membrane, spikes, params)


def _add_steps(total: Tensor | None, seq: Tensor) -> Tensor:
    """Add all steps of a sequence to a total, in its memory; a repeated step is read once."""
    if total is None:
        total = torch.zeros_like(seq[0])
    if seq.stride(0) == 0:
        return total.add_(seq[0], alpha=len(seq))
    for step in seq:
        total.add_(step)
    return total


class _CountedTap:
    """One layer's accumulators, in the order in which a forward pass calls the layer."""

    def __init__(self, make: Callable[[], Accumulator]) -> None:
        self.make = make
        self.calls: list[Accumulator] = []
        self.position = 0

    def __call__(self, current_seq: Tensor) -> Tensor:
        if self.position == len(self.calls):
            self.calls.append(self.make())
        accumulator = self.calls[self.position]
        self.position += 1
        return accumulator(current_seq)


@torch.no_grad()
def record(
    network: SequenceModel,
    x_seq: Tensor,
    slope: Slope | None = None,
    *,
    observe: bool = True,
    keep_distances: bool = False,
) -> Recording:
    """Run a network over a sequence, a few steps at a time where its layers allow it, without a graph.

    Memory does not grow with T then: each layer holds one potential and up to three sums.

    Args:
        network: The network, in evaluation mode.
        x_seq: Encoded input, shape (T, N, ...).
        slope: A rule's slope, to be averaged over time; None records rates and currents only.
        observe: False runs the network and records nothing.
        keep_distances: Keep every step's distance from the threshold, too; memory grows with T then.

    Returns:
        Logits and records.
    """
    taps: dict[str, _CountedTap] = {}

    def make_tap(name: str, params: NeuronParams) -> _CountedTap:
        taps[name] = _CountedTap(lambda: Accumulator(params, slope, observe, keep_distances))
        return taps[name]

    with tapped(as_module(network), make_tap):
        time_steps = len(x_seq)
        chunk = _chunk(network, x_seq)
        outputs = []
        for start in range(0, time_steps, chunk):
            for tap in taps.values():
                tap.position = 0
            outputs.append(network.body(x_seq[start : start + chunk]))
    out_seq = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    layers = {name: [call.record() for call in tap.calls] for name, tap in taps.items()} if observe else {}
    distances = {}
    if keep_distances:
        distances = {name: [torch.stack(call.distances) for call in tap.calls] for name, tap in taps.items()}
    return Recording(network.readout(out_seq), layers, distances)


def _chunk(network: SequenceModel, x_seq: Tensor) -> int:
    """Return the number of steps to run at once."""
    time_steps, batch = x_seq.shape[:2]
    body = network.body
    if not (isinstance(body, nn.Module) and is_time_blind(body)):
        return time_steps
    rows = ROWS_CPU if x_seq.device.type == "cpu" else ROWS_ACCELERATOR
    return min(time_steps, max(1, rows // max(1, batch)))


def as_module(network: SequenceModel) -> nn.Module:
    """Return the network as the torch module that it also has to be."""
    if not isinstance(network, nn.Module):
        raise TypeError(f"the network must be a torch.nn.Module, got {type(network).__name__}")
    return network
