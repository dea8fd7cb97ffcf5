"""The libraries whose neurons are known: how each is read, and how its states are reset."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from art_snn.adapters import norse, sinabs, snntorch, spikingjelly
from art_snn.errors import UnsupportedModelError
from art_snn.snn.readers import Reading, read, register_reader

# Top package of each library to what is known of it; none is imported.
_LIBRARIES: dict[str, Any] = {
    "spikingjelly": spikingjelly,
    "snntorch": snntorch,
    "norse": norse,
    "sinabs": sinabs,
}


# Classes that were looked up; networks are read several times for a gradient.
_OF_CLASS: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def _library_of(kind: type) -> Any:
    if kind not in _OF_CLASS:
        roots = (base.__module__.partition(".")[0] for base in kind.__mro__)
        _OF_CLASS[kind] = next((_LIBRARIES[root] for root in roots if root in _LIBRARIES), None)
    return _OF_CLASS[kind]


@register_reader
def read_library(module: nn.Module) -> Reading | None:
    """Return the reading of a known library's neuron; None for any other module."""
    library = _library_of(type(module))
    return None if library is None else library.read(module)


def unreadable(model: nn.Module) -> list[str]:
    """Return why the engine cannot run some neurons of a model, a sentence each; empty where it can run all."""
    reasons: dict[str, None] = {}
    for name, module in model.named_modules():
        reasons.update(dict.fromkeys(f"{name or 'it'} {reason}" for reason in _reasons(module)))
    return list(reasons)


def _reasons(module: nn.Module) -> tuple[str, ...]:
    try:
        read(module)
    except UnsupportedModelError as error:
        return tuple(error.reasons)
    return ()


# The states of neurons are in the model, which threads share: one at a time runs.
_STATES = threading.RLock()


@contextmanager
def fresh_states(model: nn.Module) -> Iterator[None]:
    """Let a model run inside the block with states that begin anew, and leave none behind."""
    with _STATES:
        reset_states(model)
        try:
            yield
        finally:
            reset_states(model)


def reset_states(model: nn.Module) -> None:
    """Let every layer of a known library start anew."""
    for module in model.modules():
        library = _library_of(type(module))
        if library is not None:
            library.reset(module)


def state_keys(model: nn.Module) -> set[str]:
    """Return the keys in a model's state_dict that are states of neurons, as large as the last batch."""
    return {
        f"{name}.{state}".lstrip(".")
        for name, module in model.named_modules()
        for state in sinabs.state_names(module)
        if state not in module._non_persistent_buffers_set
    }
