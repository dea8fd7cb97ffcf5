"""Unroll: build the graph of all T steps, for rules through time and for what a replay cannot stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from art_snn.engine.fingerprints import versions
from art_snn.engine.graphs import InputsOnly, fresh, leaves
from art_snn.engine.looping import segmented
from art_snn.engine.paths import note_path
from art_snn.engine.recording import FactorRecorder, runs_in_chunks
from art_snn.engine.taps import Layers
from art_snn.errors import UnsupportedModelError, UnsupportedRuleError
from art_snn.rules.base import RateRule, Slope, TemporalRule
from art_snn.snn.bptt import InOrder, fire_from
from art_snn.snn.dynamics import NeuronParams, NeuronState, has_synapse, in_thresholds, slope_at
from art_snn.snn.modes import kept_modes
from art_snn.snn.network import SequenceModel, is_native
from art_snn.snn.readers import long_layers, tapped


class _Merge(torch.autograd.Function):
    """Run a layer; give every step's current the gradient ``mean_t(k(t) * grad(t))``, itself differentiable."""

    @staticmethod
    def forward(ctx: Any, current_seq: Tensor, recorder: FactorRecorder, run: Callable[[Tensor], Tensor]) -> Tensor:
        spikes_seq = run(current_seq)
        ctx.save_for_backward(recorder.factor())
        return spikes_seq

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (factor,) = ctx.saved_tensors
        return (grads[0] * factor).mean(0).expand_as(grads[0]), None, None


class _Merging(FactorRecorder):
    """Neurons for a whole sequence, in which the rule averages the gradient over time."""

    def __call__(self, current_seq: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the spikes (T, N, *F)."""
        return _Merge.apply(current_seq, self, super().__call__)


def unroll_rate(network: SequenceModel, x_seq: Tensor, rule: RateRule, *, parameters: bool = True) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule, by back-propagation over all T steps.

    Without ``parameters``, the graph is of the input alone.
    Takes T times the memory of `art_snn.engine.replaying`, and does not ask for affine layers.
    """
    if long_layers(network):
        note_path(network, "segmented")
        return segmented(network, x_seq, rule, parameters=parameters)
    note_path(network, "unrolled")
    layers = Layers(network, lambda params: _Merging(params, rule))
    x_seq = fresh(x_seq)
    with nullcontext() if parameters else InputsOnly(), tapped(network, layers.make_tap):
        return network.readout(network.body(x_seq))


def unroll_temporal(
    network: SequenceModel,
    x_seq: Tensor,
    rule: TemporalRule,
    *,
    parameters: bool = True,
    time_chunk: int | None = None,
) -> Tensor:
    """Return logits (N, K) with the gradient of a rule through time (BPTT).

    Without ``parameters``, the graph is of the input alone. With a ``time_chunk``, the graph is that of as many steps,
    and is built again for each chunk in the backward pass.

    Raises:
        UnsupportedModelError: There is a ``time_chunk``, and the network cannot run a few steps at a time.
        UnsupportedRuleError: There is a ``time_chunk``, and the rule's slopes depend on earlier steps.
    """
    note_path(network, "through time")
    if time_chunk is not None and (time_chunk < len(x_seq) or is_native(network)):
        if rule.stepwise("", 0) is not None:
            raise UnsupportedRuleError(
                f"the slopes of {rule!r} depend on the step, and with time_chunk={time_chunk} the last steps are the "
                "first to be run again; set time_chunk to None"
            )
        return _in_chunks(network, x_seq, rule, parameters, time_chunk)
    copies = is_native(network)
    layers = Layers(network, lambda params: StepNeurons(params, rule, copies=copies))
    x_seq = fresh(x_seq)
    with nullcontext() if parameters else InputsOnly(), tapped(network, layers.make_tap):
        return network.readout(network.body(x_seq))


class StepNeurons:
    """Neurons with the graph of a rule through time, which go on from the state that they were left in.

    With ``copies``, the graph holds currents in memory of its own, so that a network may change them in place
    afterwards.
    """

    shows_its_own = True

    def __init__(self, params: NeuronParams, rule: TemporalRule, *, copies: bool = False) -> None:
        self.params, self.rule, self._copies = params, rule, copies
        self.state = NeuronState(params.v0, None)

        self.slope: Callable[[Tensor], Tensor] | InOrder = _potential_slope(rule.slope, params)

    def placed(self, layer: str, call: int) -> None:
        """Take the slope that the rule has for this call of the layer."""
        own = None if self.params.several else self.rule.stepwise(layer, call)
        if own is not None:
            self.slope = InOrder(_potential_slope(own, self.params))

    def __call__(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        current_seq = current_seq.clone() if self._copies else current_seq
        spikes_seq, self.state = fire_from(
            self.state, current_seq, self.params, self.slope, detach_reset=self.rule.detach_reset
        )
        return spikes_seq

    def shown_state(self) -> NeuronState:
        """Return the state with its graph."""
        return self.state

    def start_from(self, state: NeuronState) -> None:
        """Take a state before the first step, with its graph."""
        self.state = state


def _potential_slope(slope: Slope, params: NeuronParams) -> Callable[[Tensor], Tensor]:
    """Return ds/dm at ``m(t) - threshold``; no method of neurons, since the graph that these hold would hold them."""
    return lambda distance: in_thresholds(slope_at(slope, distance, params), params)


def _in_chunks(network: SequenceModel, x_seq: Tensor, rule: TemporalRule, parameters: bool, time_chunk: int) -> Tensor:
    random = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.training for m in network.modules())
    if random or not runs_in_chunks(network):
        raise UnsupportedModelError(
            [
                f"time_chunk={time_chunk} needs a body of torch's own layers, spiking layers, SpikingSequential and "
                "Residual, without dropout that is left on: others may mix time-steps, or change when they are run "
                "again; leave time_chunk None"
            ]
        )
    inside = leaves(network) if parameters else []
    run = _ChunkRun(network, rule, parameters)
    states: tuple[Tensor, ...] = ()
    outputs = []
    for steps in x_seq.split(time_chunk):
        output, *following = _Chunk.apply(run, steps, len(states), *states, *inside)
        states = tuple(following)
        outputs.append(output)
    with nullcontext() if parameters else InputsOnly():
        return network.readout(torch.cat(outputs))


class _ChunkRun:
    """Runs a network for a few steps, from the states in which the steps before left the neurons, and does so again.

    A state is a potential or a synaptic current, (N, *F).
    """

    def __init__(self, network: SequenceModel, rule: TemporalRule, parameters: bool) -> None:
        self._network, self._rule, self._parameters = network, rule, parameters
        self._flags = [(module, module.training) for module in network.modules()]
        self._versions = versions(network)

    def again(self, steps: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run as before, in the modes of then, which may have changed since; RuntimeError where weights have."""
        if versions(self._network) != self._versions:
            raise RuntimeError(
                "weights or statistics of the network changed between the forward and the backward pass, which runs it "
                "again with time_chunk; go backwards first, or set time_chunk to None"
            )
        with kept_modes(self._network):
            for module, training in self._flags:
                module.training = training
            return self(steps, states)

    def __call__(self, steps: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs (T', N, K) and the states after them."""
        left, graph = list(states), InputsOnly()
        for leaf in (steps, *states):
            graph.keep(leaf)

        def make(params: NeuronParams) -> StepNeurons:
            neurons = StepNeurons(params, self._rule)
            if states:
                neurons.state = NeuronState(left.pop(0), left.pop(0) if has_synapse(params) else None)
            return neurons

        layers = Layers(self._network, make)
        with nullcontext() if self._parameters else graph, tapped(self._network, layers.make_tap):
            output = layers.run(self._network.body, fresh(steps))
        ends = [value for neurons in layers.in_order for value in neurons.state if isinstance(value, Tensor)]
        return (output, *ends)


class _Chunk(torch.autograd.Function):
    """Run a chunk of steps without a graph; build it in the backward pass. No second derivative."""

    @staticmethod
    def forward(ctx: Any, run: _ChunkRun, steps: Tensor, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.run, ctx.count = run, count
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(steps, *tensors)
        return run(steps, tensors[:count])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        steps, *tensors = ctx.saved_tensors
        starts = [t.detach().requires_grad_() for t in (steps, *tensors[: ctx.count])]
        inside = [t for t in tensors[ctx.count :] if t.requires_grad]
        with torch.enable_grad():
            ends = ctx.run.again(starts[0], starts[1:])
        pairs = [(e, g) for e, g in zip(ends, grads, strict=True) if g is not None and e.requires_grad]
        wanted = [*starts, *inside]
        found = torch.autograd.grad([e for e, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)
        by_leaf = {id(t): g for t, g in zip(wanted, found, strict=True)}
        of_tensors = [by_leaf.get(id(t)) for t in (*starts[1:], *tensors[ctx.count :])]
        needed = ctx.needs_input_grad
        return None, found[0] if needed[1] else None, None, *of_tensors
