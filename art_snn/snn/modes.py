"""Run a model in training or evaluation mode for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from art_snn.ranges import RangeWatch


@contextmanager
def mode(model: nn.Module, training: bool = False) -> Iterator[None]:
    """Run a block with a model in evaluation or training mode; put every module's own flag back afterwards."""
    with kept_modes(model):
        model.train(training)
        yield


@contextmanager
def kept_modes(model: nn.Module) -> Iterator[None]:
    """Put every module's training flag back after a block."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Try a network out in evaluation mode; put flags and the noise generators of encoders back afterwards.

    Ranges of encoders are not watched meanwhile.
    """
    states = noise_states(network)
    watches = range_watches(network)
    with mode(network):
        try:
            for watch in watches:
                watch.paused = True
            yield
        finally:
            for watch in watches:
                watch.paused = False
            for generator, state in states:
                generator.set_state(state)


def range_watches(network: nn.Module) -> list[RangeWatch]:
    """Return each `RangeWatch` in an attribute ``range_watch`` of a network's modules."""
    owned = [getattr(module, "range_watch", None) for module in network.modules()]
    return [watch for watch in owned if isinstance(watch, RangeWatch)]


def noise_states(network: nn.Module) -> list[tuple[torch.Generator, Tensor]]:
    """Return each generator in an attribute of a network's modules, with its state."""
    held = [value for module in network.modules() for value in vars(module).values()]
    owned = {id(value): value for value in held if isinstance(value, torch.Generator)}
    return [(owner, owner.get_state()) for owner in owned.values()]
