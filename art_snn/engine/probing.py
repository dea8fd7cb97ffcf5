"""What a network does with a small batch: does its forward do what its parts do, does a layer keep state, mix samples?

All neurons return random spikes, the same in every run. So rounding, which depends on the size of a batch, does not
grow where a potential is near the threshold, and layers behind silent neurons are tried, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from art_snn.engine.fingerprints import versions
from art_snn.engine.linearity import tolerance
from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.encoders import is_random
from art_snn.snn.modes import evaluating, noise_states
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, tapped

_ROWS = (1, 0, 1)  # of a batch, once more as another batch

# Networks, and the state in which their forward was last found to do what their parts do.
_COMPARED: WeakKeyDictionary[nn.Module, tuple[object, ...]] = WeakKeyDictionary()


class _Event(NamedTuple):
    """A value on its way through a network: what came into a module, or out of it."""

    place: str
    out: bool
    value: Tensor


class _Spikes:
    """Random spikes for every call of every spiking layer, drawn in the first run and shown again in the others."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.drawn: dict[str, list[Tensor]] = {}

    def tap(self, events: list[_Event], rows: tuple[int, ...] | None) -> Callable[[str, NeuronParams], Forward]:
        """Return what `tapped` takes: taps that note their currents, for ``rows`` of the first batch or for all."""
        calls: dict[str, int] = {}

        def make_tap(name: str, params: NeuronParams) -> Forward:
            def tap(current_seq: Tensor) -> Tensor:
                events.append(_Event(name, False, current_seq))
                drawn = self.drawn.setdefault(name, [])
                if calls.setdefault(name, 0) == len(drawn):
                    random = torch.rand(current_seq.shape, generator=self.generator)
                    drawn.append((random < 0.5).to(current_seq))
                spikes_seq = drawn[calls[name]]
                calls[name] += 1
                return spikes_seq.clone() if rows is None else spikes_seq[:, list(rows)]

            return tap

        return make_tap


def layer_reasons(network: SequenceModel, x: Tensor) -> list[str]:
    """Say which layer keeps state, draws numbers or mixes the samples of a batch ``x`` (N, ...), if there is one.

    A layer may draw from a torch.Generator in its attribute ``generator``, as `PoissonEncoder` does.
    """
    spikes, noise = _Spikes(), noise_states(network)

    def run(x_seq: Tensor, rows: tuple[int, ...] | None = None) -> list[_Event]:
        for generator, state in noise:
            generator.set_state(state)
        return _events(network, x_seq, spikes, rows)

    x = x[: max(_ROWS) + 1]
    with evaluating(network), kept_noise(x), torch.no_grad():
        x_seq = network.encode(x)
        if reason := _encoder_reason(network, x, x_seq):
            return [reason]
        first, samples = run(x_seq), x_seq.shape[1]
        if place := _difference(first, run(x_seq)):
            return [_UNREPEATABLE.format(place)]
        if samples > max(_ROWS) and not any(_draws(module) for _, module in _layers(network)):
            rows = list(_ROWS)
            # A step that is repeated stays one, as layers run once on it.
            repeats = x_seq.stride(0) == 0
            others = x_seq[0, rows].expand(len(x_seq), *[-1] * x_seq[0].ndim) if repeats else x_seq[:, rows]
            if place := _difference(first, run(others, _ROWS), samples):
                return [_MIXING.format(place)]
            if place := _difference(first, run(x_seq)):
                return [_UNREPEATABLE.format(place)]
    return []


def _encoder_reason(network: SequenceModel, x: Tensor, x_seq: Tensor) -> str | None:
    """Say whether an encoder that is not random keeps state or mixes samples."""
    steady = torch.equal(network.encode(x), x_seq)
    if not steady and not is_random(network):
        return _UNREPEATABLE.format("its encoder (random = False)")
    if steady and len(x) > max(_ROWS) and not noise_states(network):
        rows = list(_ROWS)
        if not _close(x_seq[:, rows], network.encode(x[rows]), 0.0):
            return _MIXING.format("its encoder")
    return None


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield names and modules of all layers, without the encoder."""
    for name, module in network.named_modules():
        if name.partition(".")[0] not in ("", "encoder"):
            yield name, module


def _draws(module: nn.Module) -> bool:
    return isinstance(getattr(module, "generator", None), torch.Generator)


_UNREPEATABLE = (
    "{} gives another output for the same input in the next call: it keeps state or draws random numbers; start anew "
    "in every forward pass, and draw from a torch.Generator in the module's attribute generator"
)
_MIXING = (
    "{} gives a sample another output beside other samples: it mixes or normalises over the batch; use running "
    "statistics, or a normalisation by sample such as GroupNorm"
)


def _events(
    network: SequenceModel, x_seq: Tensor, spikes: _Spikes, rows: tuple[int, ...] | None = None
) -> list[_Event]:
    """Run a network's body and readout; return what came into and out of every module, in order."""
    events: list[_Event] = []
    handles = []

    def note(name: str, out: bool, value: object) -> None:
        if isinstance(value, Tensor):
            events.append(_Event(name, out, value.clone()))

    for name, module in _layers(network):
        into, out = partial(note, name, False), partial(note, name, True)
        handles.append(module.register_forward_pre_hook(lambda _, args, into=into: into(next(iter(args), None))))
        handles.append(module.register_forward_hook(lambda _, args, value, out=out: out(value)))
    try:
        with tapped(network, spikes.tap(events, rows)), torch.no_grad():
            out_seq = network.body(x_seq)
            note("readout", False, out_seq)
            note("readout", True, network.readout(out_seq))
    finally:
        for handle in handles:
            handle.remove()
    return events


def _difference(first: list[_Event], again: list[_Event], samples: int | None = None) -> str | None:
    """Return where two runs part, a noun phrase; the second may be on ``_ROWS`` of a first with so many ``samples``."""
    largest = 0.0
    for one, other in zip(first, again, strict=False):
        if one[:2] != other[:2]:
            return "the order of its layers"
        if one.value.numel():
            largest = max(largest, float(one.value.abs().max()))
        if not any(_close(expected, other.value, 1e-3 * largest) for expected in _arrangements(one.value, samples)):
            outer = one.place if one.out else one.place.rpartition(".")[0]  # what came in wrong was made there
            return f"its {outer or 'body'}"
    return None if len(first) == len(again) else "the order of its layers"


def _arrangements(value: Tensor, samples: int | None) -> Iterator[Tensor]:
    """Yield what a value may be in the run on ``_ROWS``: samples are an axis of its own, or part of the first."""
    if samples is None:
        yield value
        return
    rows = torch.tensor(_ROWS, device=value.device)
    for axis in range(min(3, value.ndim)):
        if value.shape[axis] == samples:
            yield value.index_select(axis, rows)
    if value.ndim and value.shape[0] % samples == 0:
        yield value.unflatten(0, (-1, samples))[:, rows].flatten(0, 1)
        yield value.unflatten(0, (samples, -1))[rows].flatten(0, 1)


def _close(expected: Tensor, value: Tensor, floor: float) -> bool:
    """Say whether two values differ by rounding alone, relative to their largest entry or to ``floor``."""
    if expected.shape != value.shape:
        return False
    if not value.numel() or torch.equal(expected, value):
        return True
    dtype = value.dtype if value.is_floating_point() else torch.float64
    one, other = (torch.nan_to_num(each.to(dtype)) for each in (expected, value))
    return bool((one - other).abs().max() <= tolerance(value) * one.abs().max().clamp(min=floor))


@contextmanager
def kept_noise(x: Tensor) -> Iterator[None]:
    """Leave torch's global generators as they are."""
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        yield


@contextmanager
def seeded(network: nn.Module, x: Tensor, seed: int = 0) -> Iterator[None]:
    """Draw the same numbers from torch's global generators and a network's own, and leave these as they are."""
    states = noise_states(network)
    with kept_noise(x):
        torch.manual_seed(seed)
        try:
            for generator, _ in states:
                generator.manual_seed(seed)
            yield
        finally:
            for generator, state in states:
                generator.set_state(state)


def has_own_forward(network: nn.Module) -> bool:
    """Say whether calling a network may do more than run its parts: a forward of its own, or hooks on the network."""
    kind = type(network)
    return (
        kind.forward is not SequenceModel.forward
        or kind.__call__ is not nn.Module.__call__
        or "forward" in vars(network)
        or bool(network._forward_pre_hooks or network._forward_hooks)
    )


def refuse_own_forward(network: SequenceModel, x: Tensor) -> None:
    """Raise UnsupportedModelError if calling a network on ``x`` is not ``readout(body(encode(x)))``.

    Asked for again, this is looked at anew where hooks or weights have changed.
    """
    if not has_own_forward(network):
        return
    hooks = (*network._forward_pre_hooks, *network._forward_hooks)
    state = vars(network).get("forward"), hooks, versions(network)
    if len(x) and _COMPARED.get(network) != state:
        if reasons := forward_reasons(network, x[:2].detach()):
            raise UnsupportedModelError(reasons)
        _COMPARED[network] = state


def forward_reasons(network: SequenceModel, x: Tensor) -> list[str]:
    """Say in what calling a network on a small batch ``x`` (N, ...) is not ``readout(body(encode(x)))``."""
    if not has_own_forward(network):
        return []
    spikes = _Spikes()

    def run(call: Callable[[Tensor], object]) -> list[_Event]:
        events: list[_Event] = []
        torch.manual_seed(0)
        with evaluating(network), torch.no_grad(), tapped(network, spikes.tap(events, None)):
            logits = call(x.clone())
        if not isinstance(logits, Tensor):
            raise UnsupportedModelError([not_logits("forward", logits)])
        return [*events, _Event("logits", True, logits)]

    def parts(x: Tensor) -> Tensor:
        return network.readout(network.body(network.encode(x)))

    with kept_noise(x):
        by_parts, again, called = run(parts), run(parts), run(network)
    if _difference(by_parts, again):
        return [
            "its forward or hooks are its own, and cannot be compared with its parts, whose noise cannot be repeated; "
            "let the encoder draw from a torch.Generator in its attribute generator"
        ]
    if _difference(by_parts, called):
        return [
            "calling it gives other logits than readout(body(encode(x))), which is what is predicted and attacked; put "
            "what its forward or its hooks do to the input into the encoder or the body (as Normalize), and what they "
            "do to the logits into readout"
        ]
    return []


NOT_FINITE = "it gives NaN or inf on a random input; check its weights"
PROBABILITIES = "it returns probabilities; take its softmax off, attacks and losses expect logits"


def sum_to_one(logits: Tensor) -> bool:
    """Say whether each row of logits (N, K), K > 1, sums to 1, as probabilities do."""
    return logits.shape[1] > 1 and torch.allclose(logits.sum(1), logits.new_ones(()), atol=1e-4)


def not_logits(part: str, value: object) -> str:
    """Return the sentence that says that a part of a network returns no tensor."""
    return (
        f"its {part} returns a {type(value).__name__}, not a tensor; return the outputs alone, without states or spikes"
    )
