"""Replay: run the body once, on the mean input, with the recorded rates and gains in place of the neurons.

What is replayed stands for the T steps if the layers between neurons are affine; else a rate rule is unrolled.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from art_snn.engine.linearity import obstacles
from art_snn.engine.recording import Recording, record
from art_snn.engine.unrolling import unroll_rate
from art_snn.errors import InexactReplayWarning
from art_snn.rules.base import RateRule
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, tapped

# Networks that were reported; an attack calls a thousand times.
_REPORTED: WeakSet[SequenceModel] = WeakSet()


def rate_logits(network: SequenceModel, rule: RateRule, x_seq: Tensor) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule for an encoded input (T, N, ...) with its graph.

    The rule is recorded and replayed, or unrolled with an InexactReplayWarning where that is not exact.
    """
    recording = record(network, x_seq.detach(), rule.slope)
    replayed = replay(network, x_seq, rule, recording)
    if replayed.logits is not None and not replayed.inexact:
        return WithValue.apply(replayed.logits, recording.logits)
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


def replay(network: SequenceModel, x_seq: Tensor, rule: RateRule, recording: Recording) -> Replay:
    """Build the one-step graph of a rate rule, and check that it stands for the T steps that were recorded."""
    # Two checks, since either alone is blind somewhere. In every call, the input current of each spiking layer must be
    # its recorded mean; the logits alone would not show it, for a replayed neuron returns its recorded rate. Once for a
    # network, it must be affine on other numbers than spikes, on which a ReLU changes the gradient but no value.
    left = {
        name: [(call, rule.gain(call) if call.mean_slope is None else call.mean_slope) for call in calls]
        for name, calls in recording.layers.items()
    }
    errors: dict[str, list[Tensor]] = {name: [] for name in left}

    def make_tap(name: str, params: NeuronParams) -> Forward:
        def tap(current_seq: Tensor) -> Tensor:
            if not left[name]:
                raise RuntimeError("a spiking layer is called more often in one step than in T steps")
            if len(current_seq) != 1:
                raise RuntimeError(f"one step has become {len(current_seq)} before a spiking layer")
            call, gain = left[name].pop(0)
            errors[name].append(relative_error(current_seq[0].detach(), call.mean_current, floor=params.threshold))
            return _Recall.apply(current_seq, call.rate, gain * params.c)

        return tap

    if len(x_seq) > 1 and (places := obstacles(network, x_seq, 10 * tolerance(x_seq))):
        return Replay(None, places)
    try:
        with tapped(network, make_tap):
            replayed = network.readout(network.body(x_seq.mean(0, keepdim=True)))
    except Exception as error:  # the T steps went through, so this is about running one alone
        return Replay(None, (f"one step alone fails with {type(error).__name__}: {error}",))
    if any(left.values()):
        return Replay(None, ("a spiking layer is called less often in one step than in T steps",))
    worst = {f"the layer {name}": torch.stack(calls).max() for name, calls in errors.items() if calls}
    worst["the logits"] = relative_error(replayed.detach(), recording.logits, floor=1.0)
    values = torch.stack(list(worst.values())).tolist()  # one transfer from the device for all
    limit = tolerance(replayed)
    off = [f"{name} (off by {value:.1e})" for name, value in zip(worst, values, strict=True) if not value <= limit]
    return Replay(replayed, tuple(off))


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


class WithValue(torch.autograd.Function):
    """Return a value that is differentiated as another tensor, the graph, is."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, value: Tensor) -> Tensor:
        """Return ``value``."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Hand the gradient on to the graph."""
        return grads[0], None
