"""The engine: run a network under autograd so that its graph holds a gradient rule.

Rate rules are recorded over T steps without a graph and replayed in one step with it, rules through time are unrolled,
conversion rules run one step of an ANN. Nothing is left on the network afterwards.
"""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from art_snn.engine.memory import GIB, RecordMemory
from art_snn.engine.recording import Recording, as_module, record
from art_snn.engine.replaying import replay
from art_snn.engine.taps import tapped
from art_snn.engine.unrolling import unroll_rate, unroll_temporal
from art_snn.errors import InexactReplayWarning
from art_snn.rules.base import ConversionRule, GradientRule, RateRule, TemporalRule
from art_snn.snn.network import SequenceModel

__all__ = ["GIB", "RecordMemory", "Recording", "attack_logits", "converted_logits", "record", "rule_logits", "simulate"]


def simulate(network: SequenceModel, x: Tensor) -> Tensor:
    """Return the network's logits (N, K) for inputs ``x`` (N, ...), without a graph and in memory that is flat in T."""
    with torch.no_grad():
        return record(network, network.encode(x), observe=False).logits


def rule_logits(network: SequenceModel, rule: GradientRule, x: Tensor, memory: RecordMemory | None = None) -> Tensor:
    """Return the network's logits, joined to ``x`` by a graph that holds the rule's gradient.

    Args:
        network: The network, in evaluation mode.
        rule: The rule.
        x: Inputs (N, ...) that require grad.
        memory: Where the record passes of rate rules are shared.

    Returns:
        Logits (N, K). Parameters are in the graph, too.

    Raises:
        TypeError: The rule is of no family that the engine knows.

    Warns:
        InexactReplayWarning: A rate rule had to be unrolled, since a layer between two neurons is not affine.
    """
    x_seq = network.encode(x)
    if isinstance(rule, RateRule):
        return _rate_logits(network, rule, x_seq, memory)
    if isinstance(rule, TemporalRule):
        return unroll_temporal(network, x_seq, rule)
    if isinstance(rule, ConversionRule):
        logits = record(network, x_seq.detach(), observe=False).logits
        return _with_value(converted_logits(network, rule, x_seq), logits)
    raise TypeError(f"{rule!r} is no RateRule, TemporalRule or ConversionRule")


def attack_logits(network: SequenceModel, rule: GradientRule, x: Tensor, memory: RecordMemory | None = None) -> Tensor:
    """Return the logits on which an attack takes its loss.

    These are `rule_logits`, but for a conversion rule: there the papers take the loss, too, on the ANN.
    """
    if isinstance(rule, ConversionRule):
        return converted_logits(network, rule, network.encode(x))
    return rule_logits(network, rule, x, memory)


def converted_logits(network: SequenceModel, rule: ConversionRule, x_seq: Tensor) -> Tensor:
    """Return the logits (N, K) of the ANN made of the network's weights, on the mean of ``x_seq`` over time."""
    with tapped(as_module(network), lambda name, params: lambda current_seq: rule.activate(current_seq, params)):
        return network.readout(network.body(x_seq.mean(0, keepdim=True)))


def _rate_logits(network: SequenceModel, rule: RateRule, x_seq: Tensor, memory: RecordMemory | None) -> Tensor:
    if memory is None:
        recording = record(network, x_seq.detach(), rule.slope if rule.has_slope() else None)
    else:
        recording = memory.recording(network, x_seq.detach(), rule)
    replayed = replay(network, x_seq, rule, recording.layers, recording.logits)
    if replayed.logits is not None and not replayed.inexact:
        return _with_value(replayed.logits, recording.logits)
    _warn_once(network, rule, replayed.inexact)
    return unroll_rate(network, x_seq, rule)


# Networks that were reported; an attack calls a thousand times.
_REPORTED: WeakSet[SequenceModel] = WeakSet()


def _warn_once(network: SequenceModel, rule: RateRule, inexact: tuple[str, ...]) -> None:
    if network in _REPORTED:
        return
    _REPORTED.add(network)
    warnings.warn(
        f"one step cannot stand for all time-steps in this network; {rule!r} is unrolled over time instead, which is "
        f"exact and slower. What stands in the way: {', '.join(inexact)}. A layer between neurons is not affine in "
        "evaluation mode (max-pooling, ReLU, dropout left on, attention, a normalisation by step)",
        InexactReplayWarning,
        stacklevel=5,
    )


class _WithValue(torch.autograd.Function):
    """Return a value with another tensor's graph."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


def _with_value(graph: Tensor, value: Tensor) -> Tensor:
    return _WithValue.apply(graph, value)
