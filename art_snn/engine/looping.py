"""Networks that loop over time themselves: their neurons take one step in each call, and keep their state.

Where one step may stand for all, the first call of each neuron carries the graph, and later calls are tied to it.
Otherwise the graph is cut at the spikes, and the gradient carried from layer to layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_snn.engine.graphs import InputsOnly, WithValue, fresh, leaves
from art_snn.engine.one_pass import Tie
from art_snn.engine.recording import FactorRecorder, Layers, Recorder, Recording, layer_gain, sample_record
from art_snn.errors import UnsupportedModelError
from art_snn.rules.base import LayerRecord, RateRule
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import tapped


class _Tied(Recorder):
    """Neurons whose first call carries the graph; spikes of later calls are differentiated as those of the first."""

    gain: Tensor  # when all steps are done

    def __init__(self, params: NeuronParams, slope: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__(params, slope)
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
    layers = Layers(network, lambda params: _Tied(params, rule.slope))
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


class _Cut(FactorRecorder):
    """Neurons that cut the graph: their currents end a segment of it, and their spikes begin others."""

    def __init__(self, params: NeuronParams, rule: RateRule, keep: Callable[[Tensor], Tensor]) -> None:
        super().__init__(params, rule)
        self.keep = keep
        self.currents: list[Tensor] = []
        self.spikes: list[Tensor] = []

    def __call__(self, current_seq: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps."""
        with torch.no_grad():
            spikes_seq = super().__call__(current_seq.detach(), out)
        self.currents.append(current_seq)
        self.spikes.append(self.keep(spikes_seq.requires_grad_()))
        return spikes_seq.clone()  # which may be changed in place


class _Segments:
    """A run of a network whose graph is cut at all spikes.

    Attributes:
        logits: Logits (N, K), which end the last segment.
    """

    def __init__(self, network: SequenceModel, x_seq: Tensor, rule: RateRule, parameters: Sequence[Tensor]) -> None:
        self._sources = [x_seq.detach().requires_grad_(), *parameters]
        graph = InputsOnly()
        layers = Layers(network, lambda params: _Cut(params, rule, graph.keep))
        with torch.enable_grad(), nullcontext() if parameters else graph, tapped(network, layers.make_tap):
            self.logits = network.readout(network.body(fresh(graph.keep(self._sources[0]))))
        self._neurons = layers.in_order

    def gradients(self, grad: Tensor) -> list[Tensor | None]:
        """Return the gradients of the input and the parameters for that of the logits."""
        spikes = [s for neurons in self._neurons for s in neurons.spikes]
        sums: list[Tensor | None] = [None] * (len(self._sources) + len(spikes))

        def carry(ends: list[Tensor], grads: list[Tensor]) -> None:
            pairs = [(end, g) for end, g in zip(ends, grads, strict=True) if end.requires_grad]
            if not pairs:
                return
            found = torch.autograd.grad(
                [end for end, _ in pairs],
                [*self._sources, *spikes],
                [g for _, g in pairs],
                retain_graph=True,
                allow_unused=True,
            )
            for i, g in enumerate(found):
                if g is not None:
                    sums[i] = g if (total := sums[i]) is None else total + g

        carry([self.logits], [grad])
        end = len(sums)
        for neurons in reversed(self._neurons):
            start = end - len(neurons.spikes)
            incoming = torch.cat(
                [torch.zeros_like(s) if g is None else g for s, g in zip(neurons.spikes, sums[start:end], strict=True)]
            )
            merged = (incoming * neurons.factor()).mean(0)
            done = sums[start:]
            carry(neurons.currents, [merged.expand_as(current) for current in neurons.currents])
            if any(before is not after for before, after in zip(done, sums[start:], strict=True)):
                raise UnsupportedModelError(
                    ["its spikes come back to neurons before them; rate rules are not defined for recurrent networks"]
                )
            end = start
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
