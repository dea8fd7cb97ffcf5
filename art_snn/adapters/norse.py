"""Neurons of norse."""

from __future__ import annotations

from torch import nn

from art_snn.snn.readers import Reading


def read(module: nn.Module) -> Reading | None:
    """Return a neuron's reading, None for any other module; UnsupportedModelError for one that cannot be run."""
    return None


def reset(module: nn.Module) -> None:
    """Let a layer start anew; any other module is left alone."""
