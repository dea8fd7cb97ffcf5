"""Replay: run the body once, on the mean input, with the recorded rates and gains in place of the neurons.

What is replayed stands for the T steps if the layers between neurons are affine; else a rate rule is unrolled.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from art_snn.adapters.network import AdaptedNetwork
from art_snn.engine.graphs import InputsOnly, WithValue
from art_snn.engine.linearity import beyond, current_error, obstacles, relative_error, tolerance, tried
from art_snn.engine.looping import tied
from art_snn.engine.one_pass import one_pass, takes_one_pass
from art_snn.engine.paths import Path, note_path
from art_snn.engine.recording import Recording, layer_gain, record
from art_snn.engine.stand_ins import StandIn
from art_snn.engine.unrolling import unroll_rate
from art_snn.errors import InexactReplayWarning, UnsupportedModelError
from art_snn.rules.base import RateRule
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, long_layers, takes_single_steps, tapped

# Which sample of a batch is checked.
_DRAW = random.Random(0)  # noqa: S311  (no secret)

# Networks that were reported; an attack calls a thousand times.
_REPORTED: WeakSet[SequenceModel] = WeakSet()


def rate_logits(network: SequenceModel, rule: RateRule, x_seq: Tensor, *, parameters: bool = True) -> Tensor:
    """Return logits (N, K) with the gradient of a rate rule for an encoded input (T, N, ...) with its graph.

    Without ``parameters``, the graph is of the input alone: the first of the T steps carries it, where the network can
    run a few steps at a time, on the CPU. Otherwise the rule is recorded and replayed. It is unrolled, with an
    InexactReplayWarning, where one step cannot stand for all.
    """
    if len(x_seq) == 1:
        logits = None if parameters else _by_steps(network, rule, x_seq)
        return unroll_rate(network, x_seq, rule, parameters=parameters) if logits is None else logits
    inexact = tried(network, x_seq) or ()
    if not inexact:
        way = _way(network, x_seq, parameters)
        logits, inexact = way(network, rule, x_seq)
        if logits is not None and not inexact:
            note_path(network, _NAMES[way])
            return logits
    if network not in _REPORTED:
        _REPORTED.add(network)
        warnings.warn(
            f"one step cannot stand for all time-steps in this network; {rule!r} is unrolled over time instead, which "
            f"is exact and slower. What stands in the way: {', '.join(inexact)}. A layer between neurons is "
            "not affine in evaluation mode (max-pooling, ReLU, dropout left on, attention, a normalisation by step)",
            InexactReplayWarning,
            stacklevel=5,
        )
    return unroll_rate(network, x_seq, rule, parameters=parameters)


def _by_steps(network: SequenceModel, rule: RateRule, x_seq: Tensor) -> Tensor | None:
    """Return logits (N, K) of a network with the time in its forward, if its steps are known and one stands for all."""
    by_steps = network.by_steps if isinstance(network, AdaptedNetwork) else None
    if by_steps is None or not x_seq.shape[1]:
        return None
    steps = by_steps.encode(x_seq[0])
    if len(steps) == 1 or tried(by_steps, steps):
        return None
    way = _in_a_loop if takes_single_steps(by_steps) else _in_two_passes_for_the_input
    logits, inexact = way(by_steps, rule, steps)
    if logits is None or inexact:
        return None
    note_path(network, _NAMES[way])
    return logits


_Way = Callable[[SequenceModel, RateRule, Tensor], tuple[Tensor | None, tuple[str, ...]]]


def _way(network: SequenceModel, x_seq: Tensor, parameters: bool) -> _Way:
    if parameters or not x_seq.shape[1]:
        return _in_two_passes
    if long_layers(network):
        return _in_a_loop
    # A GPU runs the replay's one step beside all others as fast as the first of them with a graph, in fewer launches.
    one = x_seq.device.type == "cpu" and takes_one_pass(network)
    return _in_one_pass if one else _in_two_passes_for_the_input


# The trial comes after a run on spikes, which fails where the network is at fault, not the trial.


def _in_one_pass(network: SequenceModel, rule: RateRule, x_seq: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    logits, errors = one_pass(network, x_seq, rule, _DRAW.randrange(x_seq.shape[1]))
    return logits, obstacles(network, x_seq, 10 * tolerance(x_seq)) or beyond(errors, tolerance(logits))


def _in_a_loop(network: SequenceModel, rule: RateRule, x_seq: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    sample = _DRAW.randrange(x_seq.shape[1])
    logits, recording, odd = tied(network, x_seq, rule, sample)
    if places := odd or obstacles(network, x_seq, 10 * tolerance(x_seq)):
        return logits, places
    with torch.no_grad():
        return logits, replay(network, x_seq[:, sample : sample + 1], rule, recording).inexact


def _in_two_passes(network: SequenceModel, rule: RateRule, x_seq: Tensor) -> tuple[Tensor | None, tuple[str, ...]]:
    recording = record(network, x_seq.detach(), rule)
    if places := obstacles(network, x_seq, 10 * tolerance(x_seq)):
        return None, places
    replayed = replay(network, x_seq, rule, recording)
    logits = None if replayed.logits is None else WithValue.apply(replayed.logits, recording.logits)
    return logits, replayed.inexact


def _in_two_passes_for_the_input(
    network: SequenceModel, rule: RateRule, x_seq: Tensor
) -> tuple[Tensor | None, tuple[str, ...]]:
    with InputsOnly():
        return _in_two_passes(network, rule, x_seq)


_NAMES: dict[_Way, Path] = {
    _in_one_pass: "one pass",
    _in_a_loop: "tied",
    _in_two_passes: "replay",
    _in_two_passes_for_the_input: "replay",
}


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
    # The input current of each spiking layer must be its recorded mean; the logits alone would not show it, for a
    # replayed neuron returns its recorded rate. What no value shows, such as a ReLU on spikes, `obstacles` finds.
    left = {name: [(call, layer_gain(rule, call)) for call in calls] for name, calls in recording.layers.items()}
    errors: dict[str, list[Tensor]] = {name: [] for name in left}

    generator = torch.Generator().manual_seed(0)

    def make_tap(name: str, params: NeuronParams) -> Forward:
        def answer(current_seq: Tensor) -> Tensor:
            if not left[name]:
                raise RuntimeError("a spiking layer is called more often in one step than in T steps")
            if len(current_seq) != 1:
                raise RuntimeError(f"one step has become {len(current_seq)} before a spiking layer")
            call, gain = left[name].pop(0)
            errors[name].append(current_error(current_seq[0].detach(), call.mean_current, params))
            return _Recall.apply(current_seq, call.rate, gain)

        return StandIn(answer, params, generator)

    try:
        with tapped(network, make_tap):
            replayed = network.readout(network.body(x_seq.mean(0, keepdim=True)))
    except UnsupportedModelError:
        raise
    except Exception as error:  # the T steps went through, so this is about running one alone
        return Replay(None, (f"one step alone fails with {type(error).__name__}: {error}",))
    if any(left.values()):
        return Replay(None, ("a spiking layer is called less often in one step than in T steps",))
    worst = {f"the layer {name}": torch.stack(calls).max() for name, calls in errors.items() if calls}
    worst["the logits"] = relative_error(replayed.detach(), recording.logits, floor=1.0)
    return Replay(replayed, beyond(worst, tolerance(replayed)))
