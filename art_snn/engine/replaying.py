"""Replay: run the body once, on the mean input, with the recorded rates and gains in place of the neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from art_snn.engine.recording import as_module
from art_snn.engine.taps import tapped
from art_snn.types import LayerRecord, NeuronParams, RateRule, SequenceModel


class Replay(NamedTuple):
    """What a replay returns.

    Attributes:
        logits: Logits (N, K) whose graph holds the rule's gradient.
        inexact: Largest relative error of the replayed input current of each layer where it exceeds float tolerance;
            empty when the replay is exact.
    """

    logits: Tensor
    inexact: dict[str, float]


class _Recall(torch.autograd.Function):
    """Return the recorded rate; multiply the gradient by the gain. The backward is itself differentiable."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(gain)
        return rate.view_as(rate)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gain,) = ctx.saved_tensors
        return grads[0] * gain, None, None


class _ReplayTap:
    """One layer in the replay: its n-th call gets the n-th record."""

    def __init__(self, params: NeuronParams, rule: RateRule, records: Sequence[LayerRecord]) -> None:
        self.params = params
        self.rule = rule
        self.records = iter(records)
        self.errors: list[Tensor] = []

    def __call__(self, current_seq: Tensor) -> Tensor:
        record = next(self.records)
        current = current_seq[0]
        gain = self.rule.gain(record) * self.params.c
        self.errors.append(relative_error(current.detach(), record.mean_current, floor=self.params.threshold))
        return _Recall.apply(current, record.rate, gain).unsqueeze(0)


def replay(
    network: SequenceModel, x_seq: Tensor, rule: RateRule, layers: Mapping[str, Sequence[LayerRecord]], logits: Tensor
) -> Replay:
    """Build the one-step graph of a rate rule, and check that it stands for the T steps that were recorded.

    Args:
        network: The network.
        x_seq: Encoded input with its graph, shape (T, N, ...).
        rule: The rule.
        layers: Records of a record pass on the same ``x_seq``.
        logits: Logits of that pass, shape (N, K).
    """
    taps: dict[str, _ReplayTap] = {}

    def make_tap(name: str, params: NeuronParams) -> _ReplayTap:
        taps[name] = _ReplayTap(params, rule, layers[name])
        return taps[name]

    with tapped(as_module(network), make_tap):
        replayed = network.readout(network.body(x_seq.mean(0, keepdim=True)))
    errors = {name: torch.stack(tap.errors).max() for name, tap in taps.items() if tap.errors}
    errors["(logits)"] = relative_error(replayed.detach(), logits, floor=1.0)
    limit = tolerance(replayed)
    values = dict(zip(errors, torch.stack(list(errors.values())).tolist(), strict=True))
    return Replay(replayed, {name: value for name, value in values.items() if not value <= limit})


def relative_error(value: Tensor, expected: Tensor, *, floor: float | Tensor) -> Tensor:
    """Return the largest error over samples, relative to the sample's largest entry or ``floor``, whichever is more."""
    batch = len(expected)
    scale = _largest(expected.reshape(batch, -1))
    lowest = floor.max() if isinstance(floor, Tensor) else floor
    scale = torch.maximum(scale, torch.as_tensor(lowest, dtype=scale.dtype, device=scale.device))
    return (_largest((value - expected).reshape(batch, -1)) / scale).amax()


def _largest(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, ord=float("inf"), dim=1)


def tolerance(like: Tensor) -> float:
    """Return how far a replayed current may be off: rounding of sums in another order, far below any real deviation."""
    if like.dtype == torch.float64:
        return 1e-9
    if like.device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        return 5e-3
    return 1e-4
