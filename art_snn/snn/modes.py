"""Run a model in training or evaluation mode for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a block in evaluation mode; put flags and the noise generators of encoders back afterwards."""
    owned = [getattr(module, "generator", None) for module in network.modules()]
    generators = [(owner, owner.get_state()) for owner in owned if isinstance(owner, torch.Generator)]
    with training_mode(network, False):
        try:
            yield
        finally:
            for generator, state in generators:
                generator.set_state(state)


@contextmanager
def training_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Run a block with a model in training or evaluation mode; put every module's own flag back afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, flag in flags:
            module.training = flag
