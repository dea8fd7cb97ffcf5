"""Networks that loop over time themselves: their neurons take one step in each call, and keep their state.

Where one step may stand for all, the first call of each neuron carries the graph, and later calls are tied to it.
Otherwise the graph is cut at the spikes, and the gradient carried from layer to layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_snn.engine.graphs import InputsOnly, WithValue, fresh, leaves
from art_snn.engine.one_pass import Tie
from art_snn.engine.recording import FactorRecorder, Recorder, Recording, layer_gain, sample_record
from art_snn.engine.taps import Layers
from art_snn.errors import UnsupportedModelError
from art_snn.rules.base import LayerRecord, RateRule
from art_snn.snn.dynamics import NeuronParams, NeuronState
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import graph_nodes, tapped


class _Tied(Recorder):
    """Neurons whose first call carries the graph; spikes of later calls are differentiated as those of the first."""

    gain: Tensor  # when all steps are done

    def __init__(self, params: NeuronParams, rule: RateRule) -> None:
        super().__init__(params, rule)
        self.first: Tensor | None = None

    def __call__(self, current_seq: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the spikes (1, N, *F) of the next step."""
        if not torch.is_grad_enabled():
            return super().__call__(current_seq, out)
        if self.first is None:
            self.first = Tie.apply(current_seq, self)
            return self.first.clone()  # which may be changed in place
        with torch.no_grad():
            spikes = super().__call__(current_seq)
        return WithValue.apply(self.first, spikes)

    def finish(self, rule: RateRule, sample: int) -> LayerRecord:
        """Set the gain when all steps are done; return the record of one sample."""
        record = self.record()
        self.gain = layer_gain(rule, record)
        self.first = None  # it holds the graph that holds this
        return sample_record(record, sample)


def tied(
    network: SequenceModel, x_seq: Tensor, rule: RateRule, sample: int
) -> tuple[Tensor, Recording, tuple[str, ...]]:
    """Run a network once over an encoded input (T, N, ...), with a graph that is one step deep.

    The graph is that of the input alone, and stands for all T steps where a replay does.

    Returns:
        Logits (N, K) with the rule's gradient; the recording of one sample, to replay it; and what speaks against
        them, empty where each neuron is called once a step.
    """
    layers = Layers(network, lambda params: _Tied(params, rule))
    constant = x_seq.stride(0) == 0
    shown = x_seq[:1] if constant else x_seq
    inputs = WithValue.apply(x_seq.mean(0, keepdim=True).expand_as(shown), shown)
    with InputsOnly(), tapped(network, layers.make_tap):
        logits = network.readout(network.body(inputs.expand_as(x_seq)))
    odd = tuple(
        f"the layer {name} is called {neurons.steps} times in {len(x_seq)} steps"
        for name, calls in layers.calls.items()
        for neurons in calls
        if neurons.steps != len(x_seq)
    )
    records = {name: [call.finish(rule, sample) for call in calls] for name, calls in layers.calls.items()}
    return logits, Recording(logits[sample : sample + 1].detach(), records), odd


class _End(torch.autograd.Function):
    """Return zeros that end a graph where a tensor does, also if that tensor is changed in place afterwards."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """Return zeros in the shape of ``tensor``, in the memory of one."""
        return tensor.new_zeros(()).expand_as(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Hand the gradient on."""
        return grads[0]


class _Cut(FactorRecorder):
    """Neurons that cut the graph: their currents end a segment of it, and what they give out begins others.

    That is their spikes and, where it is asked for, their state.
    """

    def __init__(self, params: NeuronParams, rule: RateRule, graph: InputsOnly) -> None:
        super().__init__(params, rule)
        self.graph = graph
        self.currents: list[Tensor] = []  # without their values
        self.spikes: list[Tensor] = []
        self.states: dict[int, NeuronState] = {}  # number of calls before to the state that was shown then
        self._shown: dict[int, NeuronState] = {}  # the same with its values, which may be changed in place

    def __call__(self, current_seq: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        with torch.no_grad():
            spikes_seq = super().__call__(current_seq.detach(), out)
        self.currents.append(_End.apply(current_seq))
        self.spikes.append(self.graph.keep(spikes_seq.requires_grad_()))
        return spikes_seq.clone()  # which may be changed in place

    def shown_state(self) -> NeuronState:
        """Return the state after the steps so far, the same tensors if asked again."""
        calls = len(self.currents)
        if calls and calls not in self.states:
            state = super().shown_state()
            leaves = self.states[calls] = NeuronState(*map(self._leaf, state))
            self._shown[calls] = NeuronState(*map(_with_values, leaves, state))
        return self._shown.get(calls, self.state)

    def _leaf(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return self.graph.keep(value.new_zeros(()).expand_as(value).requires_grad_())  # in the memory of one number

    def start_from(self, state: NeuronState) -> None:
        """Take a state before the first step; one that is learned counts as a constant."""
        if any(isinstance(value, Tensor) and self._is_of_the_input(value) for value in state):
            raise UnsupportedModelError(
                [
                    "a spiking layer starts from a state of another layer, from an earlier one of its own, or from one "
                    "that is computed from others; rate rules are not defined for that: hand each layer the state that "
                    "it returned last, as it is"
                ]
            )
        super().start_from(state)

    def _is_of_the_input(self, value: Tensor) -> bool:
        """Say whether a tensor depends on the input, on spikes or on states, rather than on parameters alone."""
        begins = (getattr(node, "variable", None) for node in graph_nodes(value, value.detach()))
        return self.graph.keeps(value) or any(self.graph.keeps(leaf) for leaf in begins)

    @property
    def outputs(self) -> list[Tensor]:
        """Everything that begins a segment: spikes, then states."""
        states = (value for state in self.states.values() for value in state if isinstance(value, Tensor))
        return [*self.spikes, *states]

    def through_spikes(self, grads: Sequence[Tensor | None]) -> Tensor:
        """Return the gradient of every current, (N, *F), for those of `outputs`, by the rule."""
        pairs = zip(self.spikes, grads[: len(self.spikes)], strict=True)
        incoming = torch.cat([torch.zeros_like(spikes) if g is None else g for spikes, g in pairs])
        return (incoming * self.factor()).mean(0)

    def through_states(self, grads: Sequence[Tensor | None]) -> list[Tensor] | None:
        """Return the gradients of the currents for those of the states alone, None where all of these are None.

        A state is an affine function of the currents: the spikes, and so the resets, are taken as they are.
        """
        of_states, left = {}, iter(grads[len(self.spikes) :])
        for calls, state in self.states.items():
            of_states[calls] = [next(left) if isinstance(value, Tensor) else None for value in state]
        if all(g is None for pair in of_states.values() for g in pair):
            return None
        if self.params.floor is not None:
            raise UnsupportedModelError(["it reads the potential of neurons with a floor, which has no gradient here"])
        lengths = [len(spikes) for spikes in self.spikes]
        ends = {end: number for number, end in enumerate(accumulate(lengths), start=1)}  # last steps to their calls
        of_currents: list[Tensor] = []
        of_membrane = of_synapse = torch.zeros_like(self.spikes[0][0])
        for t, spikes in reversed(list(enumerate(torch.cat(self.spikes).detach(), start=1))):
            of_shown = of_states.get(ends.get(t, 0), (None, None))
            if self.params.reset == "late hard":
                of_membrane = of_membrane * (1 - spikes)
            of_potential = _plus(self.params.decay * of_membrane, of_shown[0])
            of_membrane = of_potential * (1 - spikes) if self.params.reset == "hard" else of_potential
            of_synapse = _plus(self.params.c * of_membrane + self.params.alpha * of_synapse, of_shown[1])
            of_currents.append(of_synapse)
        return list(torch.stack(of_currents[::-1]).split(lengths))


def _with_values(leaf: Any, value: Any) -> Any:
    return WithValue.apply(leaf, value) if isinstance(value, Tensor) else value


def _plus(value: Tensor, more: Tensor | None) -> Tensor:
    return value if more is None else value + more


class _Segments:
    """A run of a network whose graph is cut at all spikes.

    Attributes:
        logits: Logits (N, K), which end the last segment.
    """

    def __init__(self, network: SequenceModel, x_seq: Tensor, rule: RateRule, parameters: Sequence[Tensor]) -> None:
        self._sources = [x_seq.detach().requires_grad_(), *parameters]
        graph = InputsOnly()
        layers = Layers(network, lambda params: _Cut(params, rule, graph))
        with torch.enable_grad(), nullcontext() if parameters else graph, tapped(network, layers.make_tap):
            self.logits = network.readout(network.body(fresh(graph.keep(self._sources[0]))))
        self._neurons = layers.in_order

    def gradients(self, grad: Tensor) -> list[Tensor | None]:
        """Return the gradients of the input and the parameters for that of the logits."""
        outputs = [out for neurons in self._neurons for out in neurons.outputs]
        sums: list[Tensor | None] = [None] * (len(self._sources) + len(outputs))

        def carry(ends: list[Tensor], grads: list[Tensor]) -> None:
            pairs = [(end, g) for end, g in zip(ends, grads, strict=True) if end.requires_grad]
            if not pairs:
                return
            found = torch.autograd.grad(
                [end for end, _ in pairs],
                [*self._sources, *outputs],
                [g for _, g in pairs],
                retain_graph=True,
                allow_unused=True,
            )
            for i, g in enumerate(found):
                if g is not None:
                    sums[i] = g if (total := sums[i]) is None else total + g

        carry([self.logits], [grad])
        ends = list(accumulate((len(neurons.outputs) for neurons in self._neurons), initial=len(self._sources)))
        places = [slice(start, end) for start, end in pairwise(ends)]
        # Once from the last layer to the first. Layers that are called before those that they depend on, as in a
        # pipeline, need more turns for what has come in since; each turn is linear in it.
        for _ in self._neurons:
            if all(g is None for g in sums[len(self._sources) :]):
                break
            for neurons, place in reversed(list(zip(self._neurons, places, strict=True))):
                incoming = sums[place]
                if all(g is None for g in incoming):
                    continue
                sums[place] = [None] * len(incoming)
                through_spikes = neurons.through_spikes(incoming)
                through_states = neurons.through_states(incoming)
                grads = [through_spikes.expand_as(current) for current in neurons.currents]
                if through_states is not None:
                    grads = [g + more for g, more in zip(grads, through_states, strict=True)]
                carry(neurons.currents, grads)
        if any(g is not None for g in sums[len(self._sources) :]):
            raise UnsupportedModelError(
                ["its spikes come back to neurons before them; rate rules are not defined for recurrent networks"]
            )
        return sums[: len(self._sources)]


class _Segmented(torch.autograd.Function):
    """Return a run's logits; carry the gradient through its segments."""

    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, segments: _Segments, *parameters: Tensor) -> Tensor:
        ctx.segments = segments
        return segments.logits.detach().clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        of_input, *of_parameters = ctx.segments.gradients(grads[0])
        return of_input, None, *of_parameters


def segmented(network: SequenceModel, x_seq: Tensor, rule: RateRule, *, parameters: bool = True) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule, whatever lies between the neurons.

    Takes the memory of all T steps. The gradient cannot be differentiated again. Without ``parameters``, the graph is
    of the input alone.

    Raises:
        UnsupportedModelError: In the backward pass, for a recurrent network.
    """
    inside = leaves(network) if parameters else []
    return _Segmented.apply(x_seq, _Segments(network, x_seq, rule, inside), *inside)
