"""Taps: run a network with its spiking layers replaced, and leave nothing behind.

A tap shadows ``forward`` on the instance of a spiking layer. No class is swapped and no module copied, so hooks,
``isinstance`` checks and the user's own code around the layer go on as before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.readers import spiking_layers

Forward = Callable[[Tensor], Tensor]

# One thread at a time taps; the others find the layers as they are.
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
                own = module.__dict__.get("forward")
                shadowed.append((module, own))
                module.forward = _for_this_thread(make_tap(name, params), module.forward)
            yield
        finally:
            for module, own in shadowed:
                if own is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.forward = own


def _for_this_thread(tap: Forward, own: Forward) -> Forward:
    """Return a forward that is the tap in the thread that calls this now, and the layer's own in any other."""
    thread = threading.get_ident()
    return lambda current_seq: tap(current_seq) if threading.get_ident() == thread else own(current_seq)
