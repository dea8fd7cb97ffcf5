"""May one step stand for all? Whether a body is affine between its neurons, and the same in every time-step.

The values of one forward pass cannot tell: on spikes a ReLU, or a mask made by comparison, is the identity, yet its
derivative differs from step to step. So the body is tried once on random numbers in the place of spikes, and its
derivatives are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from art_snn.engine.recording import as_module
from art_snn.engine.taps import Forward, tapped
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel

# Samples that are enough to try a body on.
_SAMPLES = 2

# Networks, and what was found of them in the state that they were in.
_TRIED: WeakKeyDictionary[SequenceModel, dict[tuple[Any, ...], tuple[str, ...]]] = WeakKeyDictionary()


def obstacles(network: SequenceModel, x_seq: Tensor, limit: float) -> tuple[str, ...]:
    """Return where a network is not affine between neurons, or differs between steps; empty where one step will do.

    All neurons return random numbers, first different ones in every step, then their mean in one step. The mean input
    current of every neuron, the logits, and the derivatives of these with respect to the numbers have to be the same.
    The answer is kept for the network, its layers' types and modes, and the number of steps.

    Args:
        network: The network.
        x_seq: Encoded input, shape (T, N, ...). If it is the same in every step (stride 0), anything may come before
            the first neuron.
        limit: Largest deviation that is rounding, relative to the largest entry of a channel.
    """
    constant = x_seq.stride(0) == 0
    state = tuple((type(module), module.training) for module in as_module(network).modules())
    key = (state, len(x_seq), constant, x_seq.dtype, x_seq.device)
    known = _TRIED.setdefault(network, {})
    if key not in known:
        with torch.enable_grad():
            known[key] = _try(network, x_seq.detach()[:, :_SAMPLES], constant, limit)
    return known[key]


class _Random:
    """Random numbers, many of them 0 as spikes are, from a generator of their own."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def like(self, tensor: Tensor) -> Tensor:
        numbers = torch.randn(tensor.shape, generator=self.generator)
        silent = torch.rand(tensor.shape, generator=self.generator) < 0.5
        return numbers.masked_fill_(silent, 0.0).to(tensor)


class _Dice:
    """A place where currents come in and random numbers go out; in a second run their mean over time."""

    def __init__(self, random: _Random) -> None:
        self.random = random
        self.weights: list[Tensor] = []
        self.drawn: list[Tensor] = []
        self.currents: list[Tensor] = []
        self.means: list[Tensor] = []
        self.again: list[Tensor] = []
        self.replayed = False

    def __call__(self, current_seq: Tensor) -> Tensor:
        if not self.replayed:
            self.take(current_seq.mean(0))
            self.drawn.append(self.random.like(current_seq).requires_grad_())
            return self.drawn[-1].clone()
        if len(current_seq) != 1 or len(self.again) == len(self.drawn):
            raise RuntimeError("a layer mixes time-steps")
        self.take(current_seq[0])
        self.means.append(self.drawn[len(self.means)].detach().mean(0, keepdim=True).requires_grad_())
        return self.means[-1].clone()

    def take(self, current: Tensor) -> None:
        """Keep what came in, and in the first run a random weight for it."""
        if not self.replayed:
            self.weights.append(self.random.like(current))
        (self.again if self.replayed else self.currents).append(current)


def _try(network: SequenceModel, x_seq: Tensor, constant: bool, limit: float) -> tuple[str, ...]:
    random = _Random()
    dice: dict[str, _Dice] = {}

    def make_tap(name: str, params: NeuronParams) -> Forward:
        return dice.setdefault(name, _Dice(random))

    start, end = _Dice(random), _Dice(random)
    if not constant:
        start.drawn.append(random.like(x_seq).requires_grad_())
        start.means.append(start.drawn[0].detach().mean(0, keepdim=True).requires_grad_())
    try:
        with tapped(as_module(network), make_tap):
            end.take(network.readout(network.body(x_seq if constant else start.drawn[0].clone())))
            for layer in (*dice.values(), end):
                layer.replayed = True
            out = network.body(x_seq.mean(0, keepdim=True) if constant else start.means[0].clone())
            if len(out) != 1 or any(len(layer.again) != len(layer.drawn) for layer in dice.values()):
                raise RuntimeError("a layer mixes time-steps")
            end.take(network.readout(out))
    except Exception as error:  # the body runs on spikes; that it does not on other numbers says that it is special
        return (f"a trial on random numbers fails with {type(error).__name__}: {error}",)
    places = {"the input": start, **{name: layer for name, layer in dice.items() if layer.drawn}}
    sinks = [*dice.values(), end]
    slopes = _slopes(places.values(), [c for s in sinks for c in s.currents], sinks, first=True)
    again = _slopes(places.values(), [c for s in sinks for c in s.again], sinks, first=False)
    found = [
        f"the layers behind {name}"
        for name, one, other in zip(places, slopes, again, strict=True)
        if any(
            _deviation((a * len(a)).flatten(0, 1), b.expand_as(a).flatten(0, 1)) > limit
            for a, b in zip(one, other, strict=True)
        )
    ]
    for name, sink in (*dice.items(), ("the logits", end)):
        if any(_deviation(a, b) > limit for a, b in zip(sink.again, sink.currents, strict=True)):
            found.append(f"the layers before {name}")
    return tuple(found)


def _slopes(places: Iterable[_Dice], currents: list[Tensor], sinks: list[_Dice], *, first: bool) -> list[list[Tensor]]:
    """Return the derivative of a random sum of all currents with respect to each place's numbers."""
    weights = [weight for sink in sinks for weight in sink.weights]
    total = torch.stack([(weight * current).sum() for weight, current in zip(weights, currents, strict=True)]).sum()
    leaves = [place.drawn if first else place.means for place in places]
    flat = [leaf for group in leaves for leaf in group]
    if not flat or not total.requires_grad:
        return [[] for _ in leaves]
    grads = iter(torch.autograd.grad(total, flat, allow_unused=True, materialize_grads=True))
    return [[next(grads) for _ in group] for group in leaves]


def _deviation(value: Tensor, expected: Tensor) -> float:
    """Return the largest difference between tensors (N, C, ...), relative to the largest entry of its channel."""
    if not expected.numel():
        return 0.0
    rows = expected.detach().flatten(2) if expected.ndim > 2 else expected.detach().unsqueeze(-1)
    off = (value.detach().reshape(rows.shape) - rows).abs().amax((0, 2))
    size = rows.abs().amax((0, 2))
    floor = (1e-6 * size.amax()).clamp(min=torch.finfo(rows.dtype).tiny)  # what cancels to 0 is rounding
    return float((off / size.maximum(floor)).amax())
