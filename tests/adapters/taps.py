"""Spikes of a library's neurons by the engine's equation, called as the library calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from art_snn.engine.recording import Neurons
from art_snn.engine.taps import Layers
from art_snn.snn.readers import tapped

STEPS = 8


def stepped(module: nn.Module, call: Callable[[Any], Any]) -> Any:
    """Return what a call gives while the engine's neurons stand in for a module's."""
    with torch.no_grad(), tapped(module, Layers(module, Neurons).make_tap):  # type: ignore[arg-type]
        return call(module)


def currents(threshold: float = 1.0, scale: float = 1.0) -> Iterator[Tensor]:
    """Yield Gaussian currents (T, N, F), and such on the grid of the threshold, float32 and float64."""
    generator = torch.Generator().manual_seed(0)
    shape = (STEPS, 20, 500)
    gaussian = threshold * torch.randn(shape, generator=generator, dtype=torch.float64)
    tied = threshold / 4 * torch.randint(-4, 9, shape, generator=generator)
    for values in (gaussian, tied):
        for dtype in (torch.float32, torch.float64):
            yield (scale * values).to(dtype)
