"""Unroll: build the graph of all T steps, for rules through time and for what a replay cannot stand for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from art_snn.engine.recording import Accumulator, as_module
from art_snn.engine.taps import Forward, tapped
from art_snn.neurons import integrate
from art_snn.surrogates import spike
from art_snn.types import NeuronParams, RateRule, SequenceModel, TemporalRule


class _Merge(torch.autograd.Function):
    """Give every step's current the gradient ``mean_t(k(t) * grad(t))``. The backward is itself differentiable."""

    @staticmethod
    def forward(ctx: Any, current_seq: Tensor, spikes_seq: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return spikes_seq.view_as(spikes_seq)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (factor,) = ctx.saved_tensors
        merged = (grads[0] * factor).mean(0)
        return merged.expand_as(grads[0]), None, None


def _merging(params: NeuronParams, rule: RateRule) -> Forward:
    """Return a layer's forward whose backward is the rate rule, merged over time."""

    def forward(current_seq: Tensor) -> Tensor:
        slopes: list[Tensor] = []

        def keep(distance: Tensor) -> Tensor | None:
            slope = rule.slope(distance)
            if slope is not None:
                slopes.append(slope.clone())  # the next step overwrites it
            return slope

        with torch.no_grad():
            neurons = Accumulator(params, keep, observe=True)
            spikes_seq = neurons(current_seq)
            factor = (torch.stack(slopes) if slopes else rule.gain(neurons.record())) * params.c
        return _Merge.apply(current_seq, spikes_seq, factor)

    return forward


def unroll_rate(network: SequenceModel, x_seq: Tensor, rule: RateRule) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule, by back-propagation over all T steps.

    Exact for any network; costs T times the memory of `art_snn.engine.replaying`.
    """
    with tapped(as_module(network), lambda name, params: _merging(params, rule)):
        return network.readout(network.body(x_seq))


def unroll_temporal(network: SequenceModel, x_seq: Tensor, rule: TemporalRule) -> Tensor:
    """Return logits (N, K) with the gradient of a rule through time (BPTT)."""

    def make_tap(name: str, params: NeuronParams) -> Forward:
        return lambda current_seq: integrate(
            current_seq, params, lambda distance: spike(distance, rule.slope), detach_reset=rule.detach_reset
        )

    with tapped(as_module(network), make_tap):
        return network.readout(network.body(x_seq))
