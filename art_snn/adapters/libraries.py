"""The libraries whose neurons are known: how each is read, and how its states are reset."""

from __future__ import annotations

from torch import nn

from art_snn.adapters import norse, sinabs, snntorch, spikingjelly
from art_snn.errors import UnsupportedModelError
from art_snn.snn.readers import read, register_reader

_LIBRARIES = (spikingjelly, snntorch, norse, sinabs)

for _library in _LIBRARIES:
    register_reader(_library.read)


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


def reset_states(model: nn.Module) -> None:
    """Let every layer of a known library start anew."""
    for module in model.modules():
        for library in _LIBRARIES:
            library.reset(module)
