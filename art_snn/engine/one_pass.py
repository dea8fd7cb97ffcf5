"""One pass: the first of T steps carries the graph of a rate rule, and stands for all.

The gain of a layer is read in the backward pass only, when all steps are done.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from art_snn.engine.graphs import InputsOnly, WithValue, fresh
from art_snn.engine.linearity import current_error, relative_error
from art_snn.engine.recording import ALL, Recorder, chunk, layer_gain, params_of_sample, runs_in_chunks
from art_snn.engine.taps import Layers
from art_snn.rules.base import RateRule
from art_snn.snn.dynamics import NeuronParams, NeuronState
from art_snn.snn.network import SequenceModel, SpikingSequential, is_sequence_module
from art_snn.snn.readers import tapped


def takes_one_pass(network: SequenceModel) -> bool:
    """Say whether `one_pass` runs a network: in chunks of steps, and with no hook that would see its odd batches."""
    return runs_in_chunks(network) and not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def one_pass(network: SequenceModel, x_seq: Tensor, rule: RateRule, sample: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a network that `runs_in_chunks` over an encoded input (T, N, ...), T > 1, the first step with a graph.

    The graph is that of the input alone: the activations of one step would give parameters wrong gradients. The last
    steps run together with the replay of one ``sample``, which checks that one step may stand for all.

    Returns:
        Logits (N, K) with the rule's gradient; and the sample's relative error in the input current of each spiking
        layer and in the logits, by what was off.
    """
    mean, later = x_seq.mean(0, keepdim=True), x_seq.detach()[1:]
    first = WithValue.apply(mean, x_seq[:1])  # the mean's gradient reaches every step
    layers = Layers(network, lambda params: Tied(params, rule, sample))
    with InputsOnly(), tapped(network, layers.make_tap):
        head, tail = _split(network.body) if x_seq.stride(0) == 0 else (None, network.body)
        if head is not None:  # its output is the same in all steps
            first = mean = head(first)
            later = first.detach().expand(len(later), *first.shape[1:])
        graph = layers.run(tail, fresh(first))
    with torch.no_grad(), tapped(network, layers.make_tap):
        *chunks, last = later.split(chunk(later))
        outputs = [graph.detach(), *(layers.run(tail, fresh(steps)) for steps in chunks)]
        for neurons in layers.in_order:
            neurons.last = (len(last), last.shape[1])
        rows = layers.run(tail, torch.cat([last.flatten(0, 1), mean[0, sample : sample + 1]]).unsqueeze(0))[0]
        out_seq = torch.cat([*outputs, rows[:-1].unflatten(0, last.shape[:2])])
        logits, replayed = network.readout(out_seq), network.readout(rows[-1:].unsqueeze(0))
    with InputsOnly():
        graph = network.readout(WithValue.apply(graph, out_seq.mean(0, keepdim=True)))
    errors = {
        f"the layer {name}": torch.stack([call.error for call in calls]).max()
        for name, calls in layers.calls.items()
        if calls
    }
    errors["the logits"] = relative_error(replayed, logits[sample : sample + 1], floor=1.0)
    return WithValue.apply(graph, logits), errors


def _split(body: Any) -> tuple[nn.Module | None, Any]:
    """Return the layers before the first that may hold neurons, if there are some, and the others."""
    children = list(body) if type(body) is SpikingSequential else []
    count = next((i for i, child in enumerate(children) if is_sequence_module(child)), 0)
    return (body[:count], body[count:]) if count else (None, body)


class Tied(Recorder):
    """Neurons whose first step may carry a graph, in which the gain over all steps multiplies the gradient.

    The last steps come with a row more, the replay of one sample.
    """

    rule: RateRule
    gain: Tensor  # when all steps are done
    error: Tensor  # of the replayed sample's current

    def __init__(self, params: NeuronParams, rule: RateRule, sample: int) -> None:
        # A rule with a gain may look at the rates and currents of all samples.
        super().__init__(params, rule, ALL if rule.slope is None else slice(sample, sample + 1))
        self.sample = sample
        self.last: tuple[int, int] | None = None  # number of the last steps and of samples, once they come

    def __call__(self, current_seq: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the spikes (T', N, *F) of the next T' steps; of the last, (1, T' * N + 1, *F)."""
        if torch.is_grad_enabled():
            return Tie.apply(current_seq, self)
        return super().__call__(current_seq, out) if self.last is None else self._finish(current_seq[0], self.last)

    def _finish(self, currents: Tensor, last: tuple[int, int]) -> Tensor:
        spikes = torch.empty_like(currents)
        super().__call__(currents[:-1].unflatten(0, last), spikes[:-1].unflatten(0, last))
        record = self.record()
        kept = slice(self.sample, self.sample + 1) if self.rows == ALL else ALL
        spikes[-1:] = record.rate[kept]
        params = params_of_sample(self.params, self.sample, currents.ndim)
        self.error = current_error(currents[-1:], record.mean_current[kept], params)
        self.gain = layer_gain(self.rule, record)
        self.spike_sum = self.current_sum = self.slope_sum = None
        self.state = NeuronState(self.params.v0, None)
        return spikes.unsqueeze(0)


class Tie(torch.autograd.Function):
    """Run neurons; multiply the gradient by their gain, which may be set later. The backward is differentiable."""

    @staticmethod
    def forward(ctx: Any, current_seq: Tensor, neurons: Any) -> Tensor:
        """Return the neurons' spikes (T', N, *F)."""
        ctx.neurons = neurons
        return neurons(current_seq)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Multiply by the gain that the neurons have now."""
        return grads[0] * ctx.neurons.gain, None
