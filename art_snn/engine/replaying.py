"""Replay: run the body once, on the mean input, with the recorded rates and gains in place of the neurons.

What is replayed stands for the T steps if the layers between neurons are affine; else a rate rule is unrolled.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from art_snn.engine.linearity import obstacles
from art_snn.engine.recording import Recording, record
from art_snn.engine.unrolling import unroll_rate
from art_snn.errors import InexactReplayWarning
from art_snn.rules.base import LayerRecord, RateRule
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import tapped

# Networks that were reported; an attack calls a thousand times.
_REPORTED: WeakSet[SequenceModel] = WeakSet()


def rate_logits(network: SequenceModel, rule: RateRule, x_seq: Tensor) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule: recorded and replayed, unrolled where that is not exact.

    Args:
        network: The network, in evaluation mode.
        rule: The rule.
        x_seq: Encoded input with its graph, shape (T, N, ...).

    Warns:
        InexactReplayWarning: The rule had to be unrolled, since a layer between two neurons is not affine.
    """
    recording = record(network, x_seq.detach(), rule.slope)
    replayed = replay(network, x_seq, rule, recording)
    if replayed.logits is not None and not replayed.inexact:
        return with_value(replayed.logits, recording.logits)
    if network not in _REPORTED:
        _REPORTED.add(network)
        warnings.warn(
            f"one step cannot stand for all time-steps in this network; {rule!r} is unrolled over time instead, which "
            f"is exact and slower. What stands in the way: {', '.join(replayed.inexact)}. A layer between neurons is "
            "not affine in evaluation mode (max-pooling, ReLU, dropout left on, attention, a normalisation by step)",
            InexactReplayWarning,
            stacklevel=5,
        )
    return unroll_rate(network, x_seq, rule)


class Replay(NamedTuple):
    """What a replay returns.

    Attributes:
        logits: Logits (N, K) whose graph holds the rule's gradient; None if the replay failed.
        inexact: Why the replay does not stand for the T steps, a noun phrase each. Empty when it is exact.
    """

    logits: Tensor | None
    inexact: tuple[str, ...]


class _Recall(torch.autograd.Function):
    """Return the recorded rate; multiply the gradient by the gain. The backward is itself differentiable."""

    @staticmethod
    def forward(ctx: Any, current_seq: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(gain)
        return rate.unsqueeze(0).clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gain,) = ctx.saved_tensors
        return grads[0] * gain, None, None


class _ReplayTap:
    """One layer in the replay: its n-th call gets the n-th record and gain."""

    def __init__(self, params: NeuronParams, records: Sequence[LayerRecord], gains: Sequence[Tensor]) -> None:
        self.params = params
        self.records = records
        self.gains = gains
        self.errors: list[Tensor] = []

    def __call__(self, current_seq: Tensor) -> Tensor:
        if len(self.errors) == len(self.records):
            raise RuntimeError("a spiking layer is called more often in one step than in T steps")
        if len(current_seq) != 1:
            raise RuntimeError(f"one step has become {len(current_seq)} before a spiking layer")
        record, gain = self.records[len(self.errors)], self.gains[len(self.errors)]
        self.errors.append(relative_error(current_seq[0].detach(), record.mean_current, floor=self.params.threshold))
        return _Recall.apply(current_seq, record.rate, gain * self.params.c)


def replay(network: SequenceModel, x_seq: Tensor, rule: RateRule, recording: Recording) -> Replay:
    """Build the one-step graph of a rate rule, and check that it stands for the T steps that were recorded.

    Two checks, since either alone is blind somewhere. In every call, the input current of each spiking layer must be
    its recorded mean; the logits alone would not show it, for a replayed neuron returns its recorded rate. Once for a
    network, it must be affine on other numbers than spikes, on which a ReLU changes the gradient but no value.

    Args:
        network: The network.
        x_seq: Encoded input with its graph, shape (T, N, ...).
        rule: The rule.
        recording: What a record pass on the same ``x_seq`` returned.
    """
    gains = {
        name: [rule.gain(record) if record.mean_slope is None else record.mean_slope for record in records]
        for name, records in recording.layers.items()
    }
    taps: dict[str, _ReplayTap] = {}

    def make_tap(name: str, params: NeuronParams) -> _ReplayTap:
        taps[name] = _ReplayTap(params, recording.layers[name], gains[name])
        return taps[name]

    if len(x_seq) > 1:
        places = obstacles(network, x_seq, 10 * tolerance(x_seq))
        if places:
            return Replay(None, places)
    try:
        with tapped(network, make_tap):
            replayed = network.readout(network.body(x_seq.mean(0, keepdim=True)))
    except Exception as error:  # the T steps went through, so this is about running one alone
        return Replay(None, (f"one step alone fails with {type(error).__name__}: {error}",))
    if any(len(tap.errors) != len(tap.records) for tap in taps.values()):
        return Replay(None, ("a spiking layer is called less often in one step than in T steps",))
    inexact = _inexact_currents(
        taps, relative_error(replayed.detach(), recording.logits, floor=1.0), tolerance(replayed)
    )
    return Replay(replayed, tuple(inexact))


def _inexact_currents(taps: Mapping[str, _ReplayTap], logits_error: Tensor, limit: float) -> list[str]:
    """Return the layers whose input current is off by more than ``limit``; one transfer from the device for all."""
    errors = {f"the layer {name}": torch.stack(tap.errors).max() for name, tap in taps.items() if tap.errors}
    errors["the logits"] = logits_error
    values = torch.stack(list(errors.values())).tolist()
    return [f"{name} (off by {value:.1e})" for name, value in zip(errors, values, strict=True) if not value <= limit]


def relative_error(value: Tensor, expected: Tensor, *, floor: float | Tensor) -> Tensor:
    """Return the largest error, each relative to what is expected there or to ``floor``, whichever is more."""
    if not expected.numel():
        return expected.new_zeros(())
    scale = expected.abs().clamp_(min=floor)
    return ((value - expected).abs_().div_(scale)).amax()


def tolerance(like: Tensor) -> float:
    """Return how far a replayed current may be off: rounding of sums in another order, far below any real deviation."""
    if like.dtype == torch.float64:
        return 1e-9
    if like.dtype != torch.float32:
        return 32 * torch.finfo(like.dtype).eps
    return 5e-3 if like.device.type == "cuda" and _rounds_to_tf32() else 1e-4


def _rounds_to_tf32() -> bool:
    try:
        return torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:  # torch refuses the old flags once the new ones are in use
        return True


class _WithValue(torch.autograd.Function):
    """Return a value with another tensor's graph."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


def with_value(graph: Tensor, value: Tensor) -> Tensor:
    """Return ``value``, to be differentiated as ``graph`` is."""
    return _WithValue.apply(graph, value)
