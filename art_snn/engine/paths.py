"""Which path the last gradient of a network took."""

from __future__ import annotations

from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary

from torch import nn

Path: TypeAlias = Literal["one pass", "replay", "tied", "segmented", "unrolled", "through time", "converted"]

_PATHS: WeakKeyDictionary[nn.Module, Path] = WeakKeyDictionary()


def note_path(network: nn.Module, path: Path) -> None:
    """Remember the path of a gradient."""
    _PATHS[network] = path


def last_path(network: nn.Module) -> Path | None:
    """Return the path that a network's last gradient took, None before the first.

    Those of rate rules are "one pass" over the T steps, of which the first carries the graph; "replay" of one step
    after a record of T; "tied", a loop over time whose first step carries the graph; "segmented", a forward or a loop
    of one's own, whose graph is cut at all spikes; and "unrolled", the graph of all T steps. Rules through time have
    "through time", and conversion rules "converted".
    """
    return _PATHS.get(network)
