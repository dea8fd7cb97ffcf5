"""May one step stand for all? Whether a body is affine between its neurons, and the same in every time-step.

The values of one forward pass cannot tell: on spikes a ReLU, or a mask made by comparison, is the identity, yet its
derivative differs from step to step. So the body is tried once on random numbers in the place of spikes, and its
derivatives are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from art_snn.engine.fingerprints import structure, weights
from art_snn.engine.graphs import fresh
from art_snn.engine.stand_ins import StandIn
from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams, drive, in_thresholds
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, long_layers, tapped

# Samples that are enough to try a body on.
_SAMPLES = 2


class _Trial(NamedTuple):
    """What a trial showed, and what the network looked like then."""

    places: tuple[str, ...]
    structure: object
    weights: object


# Networks, and their last trials, by the kind of input.
_TRIED: WeakKeyDictionary[SequenceModel, dict[tuple[Any, ...], _Trial]] = WeakKeyDictionary()


def obstacles(network: SequenceModel, x_seq: Tensor, limit: float) -> tuple[str, ...]:
    """Return where a network is not affine between neurons, or differs between steps; empty where one step will do.

    A deviation up to ``limit``, relative to the largest entry of a channel, is rounding. The answer is kept
    until the network changes.
    """
    # All neurons return random numbers, first different ones in every step, then their mean in one step. The mean input
    # current of every neuron, the logits, and the derivatives of these by the numbers have to be the same.
    known = tried(network, x_seq)
    if not x_seq.shape[1]:
        return ()  # there is nothing to try it on, and no gradient
    if known is None:
        looks = structure(network), weights(network)
        with torch.enable_grad():
            known = _trial(network, x_seq.detach()[:, :_SAMPLES], _is_constant(x_seq), limit)
        _TRIED.setdefault(network, {})[_kind(x_seq)] = _Trial(known, *looks)
    return known


def tried(network: SequenceModel, x_seq: Tensor) -> tuple[str, ...] | None:
    """Return what `obstacles` found earlier, None if it was not asked or the network has changed since."""
    last = _TRIED.get(network, {}).get(_kind(x_seq))
    if last is None or last.structure != structure(network):
        return None
    # Obstacles that have gone make a rule slow, those that have come make it wrong: only these are looked for.
    return last.places if last.places or last.weights == weights(network) else None


def _kind(x_seq: Tensor) -> tuple[Any, ...]:
    return len(x_seq), _is_constant(x_seq), x_seq.dtype, x_seq.device


def _is_constant(x_seq: Tensor) -> bool:
    return x_seq.stride(0) == 0  # then anything may come before the first neuron


def _random_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return random numbers, many of them 0 as spikes are."""
    numbers = torch.randn(tensor.shape, generator=generator)
    silent = torch.rand(tensor.shape, generator=generator) < 0.5
    return numbers.masked_fill_(silent, 0.0).to(tensor)


class _Run(NamedTuple):
    """What a run on numbers in the place of spikes shows."""

    numbers: dict[str, list[Tensor]]  # place (the input, each layer) to what it put out, (T, N, *F)
    currents: dict[str, list[Tensor]]  # place (each layer, the logits) to the mean of what came in, (N, *F)
    steps: int  # that the body returned
    long: set[str]  # layers whose calls are steps of one sequence
    states: dict[str, list[Tensor]]  # layer to the states that it showed

    def sequences(self, values: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
        """Join what belongs to the calls of a layer that goes on from call to call, (1, N, *F), to one sequence."""
        return {place: [torch.cat(calls)] if place in self.long else list(calls) for place, calls in values.items()}

    def slopes(self, weights: list[Tensor]) -> dict[str, list[Tensor]]:
        """Return the derivatives of a weighted sum of all currents with respect to the numbers."""
        currents = [current for calls in self.currents.values() for current in calls]
        total = torch.stack([(w * current).sum() for w, current in zip(weights, currents, strict=True)]).sum()
        leaves = [leaf for calls in self.numbers.values() for leaf in calls]
        if not leaves or not total.requires_grad:
            return {}
        grads = iter(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True, retain_graph=True))
        return self.sequences({place: [next(grads) for _ in calls] for place, calls in self.numbers.items()})

    def read(self) -> list[str]:
        """Return the layers whose states a current, or the logits, depend on."""
        ends = [current for calls in self.currents.values() for current in calls if current.requires_grad]
        if not ends:
            return []
        return [
            place
            for place, states in self.states.items()
            if any(g is not None for g in torch.autograd.grad(ends, states, ends, allow_unused=True, retain_graph=True))
        ]


def _trial(network: SequenceModel, x_seq: Tensor, constant: bool, limit: float) -> tuple[str, ...]:
    generator = torch.Generator().manual_seed(0)
    try:
        first = _run(network, x_seq, constant, lambda place, like: _random_like(like, generator))
        if read := first.read():
            return tuple(f"the potential of {name}, which is read" for name in read)
        left = first.sequences(first.numbers)

        def mean(place: str, like: Tensor) -> Tensor:
            if len(like) != 1 or not left[place]:
                raise RuntimeError("a layer mixes time-steps")
            return left[place].pop(0).detach().mean(0, keepdim=True)

        second = _run(network, x_seq.mean(0, keepdim=True), constant, mean)
        if second.steps != 1 or any(left.values()):
            raise RuntimeError("a layer mixes time-steps")
    except UnsupportedModelError:
        raise
    except Exception as error:  # the body runs on spikes; that it does not on other numbers says that it is special
        return (f"a trial on random numbers fails with {type(error).__name__}: {error}",)
    weights = [_random_like(current, generator) for calls in first.currents.values() for current in calls]
    slopes, again = first.slopes(weights), second.slopes(weights)
    if slopes.keys() != again.keys():
        return ("a layer that has a gradient in some numbers of time-steps only",)
    behind = [
        f"the layers behind {place}"
        for place in slopes
        if any(
            _deviation((a * len(a)).flatten(0, 1), b.expand_as(a).flatten(0, 1)) > limit
            for a, b in zip(slopes[place], again[place], strict=True)
        )
    ]
    before = [
        f"the layers before {place}"
        for place, currents in first.currents.items()
        if any(_deviation(b, a) > limit for a, b in zip(currents, second.currents[place], strict=True))
    ]
    return (*behind, *before)


def _run(network: SequenceModel, x_seq: Tensor, constant: bool, answer: Callable[[str, Tensor], Tensor]) -> _Run:
    """Run a network with the numbers that ``answer`` gives for a place and a sequence to be like."""
    numbers: dict[str, list[Tensor]] = {}
    currents: dict[str, list[Tensor]] = {}
    taps: dict[str, StandIn] = {}
    generator = torch.Generator().manual_seed(1)

    def put_out(place: str, like: Tensor) -> Tensor:
        numbers.setdefault(place, []).append(answer(place, like).requires_grad_())
        return numbers[place][-1].clone()

    def make_tap(name: str, params: NeuronParams) -> Forward:
        def answer(current_seq: Tensor) -> Tensor:
            currents.setdefault(name, []).append(current_seq.mean(0))
            return put_out(name, current_seq)

        taps[name] = StandIn(answer, params, generator)
        return taps[name]

    long = long_layers(network)
    with tapped(network, make_tap):
        out_seq = network.body(fresh(x_seq) if constant else put_out("the input", x_seq))
        for name in long & currents.keys():
            currents[name] = [torch.stack(currents[name]).mean(0)]
        currents["the logits"] = [network.readout(out_seq)]
    states = {name: tap.shown for name, tap in taps.items() if tap.shown}
    return _Run(numbers, currents, len(out_seq), long, states)


def _deviation(value: Tensor, expected: Tensor) -> float:
    """Return the largest difference between tensors (N, C, ...), relative to the largest entry of its channel."""
    if not expected.numel():
        return 0.0
    rows = expected.detach().flatten(2) if expected.ndim > 2 else expected.detach().unsqueeze(-1)
    off = (value.detach().reshape(rows.shape) - rows).abs().amax((0, 2))
    size = rows.abs().amax((0, 2))
    # What cancels to nearly 0 is rounding: where a batch of one has one entry a channel, some of many entries do.
    floor = (1e-2 * size.amax()).clamp(min=torch.finfo(rows.dtype).tiny)
    return float((off / size.maximum(floor)).amax())


def relative_error(value: Tensor, expected: Tensor, *, floor: float | Tensor) -> Tensor:
    """Return the largest error, each relative to what is expected there or to ``floor``, whichever is more."""
    if not expected.numel():
        return expected.new_zeros(())
    scale = expected.abs().clamp_(min=floor)
    return ((value - expected).abs_().div_(scale)).amax()


def current_error(value: Tensor, expected: Tensor, params: NeuronParams) -> Tensor:
    """Return the `relative_error` of what currents add to the potential, with the threshold as the floor."""
    found, wanted = (in_thresholds(drive(current, params), params) for current in (value, expected))
    return relative_error(found, wanted, floor=1.0)


def beyond(errors: dict[str, Tensor], limit: float) -> tuple[str, ...]:
    """Return what is off by more than a limit, and by how much."""
    values = zip(
        errors, torch.stack(list(errors.values())).tolist(), strict=True
    )  # one transfer from the device for all
    return tuple(f"{name} (off by {value:.1e})" for name, value in values if not value <= limit)


def tolerance(like: Tensor) -> float:
    """Return how far a replayed current may be off: rounding of sums in another order, far below any real deviation."""
    if like.dtype == torch.float64:
        return 1e-9
    return 5e-3 if like.device.type == "cuda" and _rounds_to_tf32() else 1e-4


def _rounds_to_tf32() -> bool:
    try:
        return torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:  # torch refuses the old flags once the new ones are in use
        return True
