"""Do derivatives between neurons tell what values do? A network's own, compared with central differences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from art_snn.engine.probing import seeded
from art_snn.engine.stand_ins import StandIn
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.encoders import PoissonEncoder
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import Forward, tapped

# Steps from numbers between 0 and 1. Kinks, as of max-pooling, put a difference off by a share that falls with the
# step; a derivative that is wrong stays wrong. Steps over jumps become rare, though: what is far off is enough.
_STEP, _SMALL_STEP = 1e-2, 1e-3
_LIMIT, _FAR = 0.2, 0.5  # of the size
_DRAWS = 3  # of numbers and directions


class _Run(NamedTuple):
    """What a run on numbers in the place of spikes shows."""

    leaves: list[Tensor]  # the input and the numbers, in the order of the calls
    ends: dict[str, Tensor]  # place (each layer, the logits) to a weighted sum of what comes in


def misleading(network: SequenceModel, x: Tensor) -> list[str]:
    """Return the layers, or "the logits", before which a derivative is not that of the values.

    What lies there rounds, compares, detaches, or has a gradient of its own. Numbers stand in for spikes, so that all
    other functions are smooth but for a few kinks. Of a network that does not run on numbers, nothing is said.

    Args:
        network: The network, in evaluation mode.
        x: A few inputs (N, ...).
    """
    try:
        shares = _shares_off(network, x, _STEP)
        suspects = [place for place, share in shares.items() if share > _LIMIT]
        if all(shares[place] > _FAR for place in suspects):
            return suspects
        again = _shares_off(network, x, _SMALL_STEP)
    except Exception:  # it runs on spikes; that it does not on other numbers says nothing of its derivatives
        return []
    return [place for place in suspects if shares[place] > _FAR or again[place] > _LIMIT]


def _shares_off(network: SequenceModel, x: Tensor, step: float) -> dict[str, float]:
    """Return for each place how far derivatives are off, as a share of their size."""
    off: dict[str, float] = {}
    size: dict[str, float] = {}
    for draw in range(_DRAWS):
        for place, (derivative, difference, scale) in _compared(network, x, draw, step).items():
            off[place] = off.get(place, 0.0) + (derivative - difference) ** 2
            size[place] = size.get(place, 0.0) + max(scale, abs(derivative), abs(difference)) ** 2
    return {place: (off[place] / size[place]) ** 0.5 if size[place] else 0.0 for place in off}


def _compared(network: SequenceModel, x: Tensor, draw: int, step: float) -> dict[str, tuple[float, float, float]]:
    """Return for each place the derivative in a random direction, the difference, and the size of such a derivative."""
    with torch.enable_grad():
        middle = _run(network, x, draw)
    generator = torch.Generator().manual_seed(draw)
    moves = [torch.randn(leaf.shape, generator=generator).to(leaf) for leaf in middle.leaves]
    with torch.no_grad():
        up, down = (_run(network, x, draw, [sign * step * move for move in moves]) for sign in (1, -1))
    found = {}
    for place, end in middle.ends.items():
        difference = float(up.ends[place] - down.ends[place]) / (2 * step)
        if not end.requires_grad:
            found[place] = (0.0, difference, 0.0)
            continue
        grads = torch.autograd.grad(end, middle.leaves, allow_unused=True, retain_graph=True)
        terms = [g * move for g, move in zip(grads, moves, strict=True) if g is not None]
        scale = sum(float(term.square().sum()) for term in terms) ** 0.5
        found[place] = (sum(float(term.sum()) for term in terms), difference, scale)
    return found


def _run(network: SequenceModel, x: Tensor, draw: int, moves: list[Tensor] | None = None) -> _Run:
    """Run a network on the numbers of a draw; each leaf moved, if there are moves."""
    numbers, weights, states = (torch.Generator().manual_seed(3 * draw + i) for i in range(3))
    leaves: list[Tensor] = []
    ends: dict[str, Tensor] = {}

    def leaf(values: Tensor) -> Tensor:
        moved = values if moves is None else values + moves[len(leaves)]
        leaves.append(moved.requires_grad_(moves is None))
        return leaves[-1].clone()

    def add(place: str, value: Tensor) -> None:
        weighted = (torch.randn(value.shape, generator=weights).to(value) * value).sum()
        ends[place] = weighted if place not in ends else ends[place] + weighted

    def make_tap(name: str, params: NeuronParams) -> Forward:
        def answer(current_seq: Tensor) -> Tensor:
            add(name, current_seq)
            return leaf(torch.rand(current_seq.shape, generator=numbers).to(current_seq))

        return StandIn(answer, params, states)

    with seeded(network, x), tapped(network, make_tap), _expected_spikes(network):
        logits: Any = network.readout(network.body(network.encode(leaf(x.detach().clone()))))
        add("the logits", logits)
    return _Run(leaves, ends)


@contextmanager
def _expected_spikes(network: SequenceModel) -> Iterator[None]:
    """Let each `PoissonEncoder` return its expected spikes: it is these that its gradient is of, not those drawn."""
    encoders = [module for module in network.modules() if isinstance(module, PoissonEncoder)]
    handles = [encoder.register_forward_hook(_expected) for encoder in encoders]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _expected(_: nn.Module, args: tuple[Tensor, ...], spikes_seq: Tensor) -> Tensor:
    return args[0].clamp(0, 1).expand_as(spikes_seq)
