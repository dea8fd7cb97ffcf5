"""Taps: run a network with its spiking layers replaced, and leave nothing behind.

A tap shadows ``forward`` on the instance of a spiking layer. No class is swapped and no module copied, so hooks,
``isinstance`` checks and the user's own code around the layer go on as before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from art_snn.adapters import spiking_layers
from art_snn.types import NeuronParams

Forward = Callable[[Tensor], Tensor]

# Two threads that tapped one network at once would run each other's taps.
_LOCK = threading.RLock()


@contextmanager
def tapped(network: nn.Module, make_tap: Callable[[str, NeuronParams], Forward]) -> Iterator[None]:
    """Shadow ``forward`` of every spiking layer for the time of a ``with`` block.

    Args:
        network: Any module that holds spiking layers.
        make_tap: Name and parameters of a layer to the forward that stands in, sequence (T, N, *F) to sequence.
    """
    shadowed: list[tuple[nn.Module, Forward | None]] = []
    with _LOCK:
        try:
            for name, module, params in list(spiking_layers(network)):
                shadowed.append((module, module.__dict__.get("forward")))
                module.forward = make_tap(name, params)
            yield
        finally:
            for module, own in shadowed:
                if own is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.forward = own
