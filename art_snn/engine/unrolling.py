"""Unroll: build the graph of all T steps, for rules through time and for what a replay cannot stand for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from art_snn.engine.graphs import InputsOnly
from art_snn.engine.looping import segmented
from art_snn.engine.recording import DistanceRecorder, Recorder
from art_snn.rules.base import RateRule, TemporalRule
from art_snn.snn.bptt import fire_through_time
from art_snn.snn.dynamics import NeuronParams, NeuronState, integrate_from
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, single_step_layers, tapped
from art_snn.snn.surrogates import spike


class _Merge(torch.autograd.Function):
    """Run a layer; give every step's current the gradient ``mean_t(k(t) * grad(t))``, itself differentiable."""

    @staticmethod
    def forward(ctx: Any, current_seq: Tensor, params: NeuronParams, rule: RateRule) -> Tensor:
        if rule.slope is None:
            recorder = Recorder(params, None)
            spikes_seq = recorder(current_seq)
            factor = rule.gain(recorder.record())
        else:
            keeper = DistanceRecorder(params)
            spikes_seq = keeper(current_seq)
            distances = keeper.distances[::-1]
            keeper.distances.clear()  # so that a step's distance is gone when its slope is there
            factor = torch.stack([rule.slope(distances.pop()) for _ in range(len(distances))])
        ctx.save_for_backward(factor * params.c)
        return spikes_seq

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (factor,) = ctx.saved_tensors
        return (grads[0] * factor).mean(0).expand_as(grads[0]), None, None


def unroll_rate(network: SequenceModel, x_seq: Tensor, rule: RateRule, *, parameters: bool = True) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule, by back-propagation over all T steps.

    Without ``parameters``, the graph is of the input alone.
    Takes T times the memory of `art_snn.engine.replaying`, and does not ask for affine layers.
    """
    if single_step_layers(network):
        return segmented(network, x_seq, rule, parameters=parameters)
    with (
        nullcontext() if parameters else InputsOnly(),
        tapped(network, lambda name, params: lambda current_seq: _Merge.apply(current_seq, params, rule)),
    ):
        return network.readout(network.body(x_seq))


def unroll_temporal(network: SequenceModel, x_seq: Tensor, rule: TemporalRule, *, parameters: bool = True) -> Tensor:
    """Return logits (N, K) with the gradient of a rule through time (BPTT).

    Without ``parameters``, the graph is of the input alone.
    """
    single_steps = single_step_layers(network)

    def make_tap(name: str, params: NeuronParams) -> Forward:
        if name in single_steps:
            return _Stepped(params, rule)
        return lambda current_seq: fire_through_time(current_seq, params, rule.slope, detach_reset=rule.detach_reset)

    with nullcontext() if parameters else InputsOnly(), tapped(network, make_tap):
        return network.readout(network.body(x_seq))


class _Stepped:
    """Neurons that take one step in each call, with the graph of a rule through time."""

    def __init__(self, params: NeuronParams, rule: TemporalRule) -> None:
        self.params, self.rule = params, rule
        self.state = NeuronState(params.v0, None)

    def __call__(self, current_seq: Tensor) -> Tensor:
        rule = self.rule
        spikes_seq, self.state = integrate_from(
            self.state, current_seq, self.params, lambda u: spike(u, rule.slope), detach_reset=rule.detach_reset
        )
        return spikes_seq
