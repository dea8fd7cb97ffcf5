"""Unroll: build the graph of all T steps, for rules through time and for what a replay cannot stand for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from art_snn.engine.recording import Accumulator, as_module
from art_snn.engine.taps import Forward, tapped
from art_snn.rules.base import RateRule, TemporalRule
from art_snn.snn.bptt import fire_through_time
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel


class _Merge(torch.autograd.Function):
    """Run a layer; give every step's current the gradient ``mean_t(k(t) * grad(t))``, itself differentiable."""

    @staticmethod
    def forward(ctx: Any, current_seq: Tensor, params: NeuronParams, rule: RateRule) -> Tensor:
        slopes: list[Tensor] = []

        def keep(distance: Tensor) -> None:
            slope = rule.slope(distance)
            if slope is not None:
                slopes.append(slope.clone())  # the next step overwrites it

        neurons = Accumulator(params, keep if rule.has_slope() else None, observe=True)
        spikes_seq = neurons(current_seq)
        factor = torch.stack(slopes) if slopes else rule.gain(neurons.record())
        ctx.save_for_backward(factor * params.c)
        return spikes_seq

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (factor,) = ctx.saved_tensors
        return (grads[0] * factor).mean(0).expand_as(grads[0]), None, None


def unroll_rate(network: SequenceModel, x_seq: Tensor, rule: RateRule) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule, by back-propagation over all T steps.

    Takes T times the memory of `art_snn.engine.run.replaying`, and does not ask for affine layers.
    """

    def make_tap(name: str, params: NeuronParams) -> Forward:
        return lambda current_seq: _Merge.apply(current_seq, params, rule)

    with tapped(as_module(network), make_tap):
        return network.readout(network.body(x_seq))


def unroll_temporal(network: SequenceModel, x_seq: Tensor, rule: TemporalRule) -> Tensor:
    """Return logits (N, K) with the gradient of a rule through time (BPTT)."""

    def make_tap(name: str, params: NeuronParams) -> Forward:
        return lambda current_seq: fire_through_time(current_seq, params, rule.slope, detach_reset=rule.detach_reset)

    with tapped(as_module(network), make_tap):
        return network.readout(network.body(x_seq))
