"""Readers of spiking layers: module -> `NeuronParams`, or None for a module that is no spiking layer.

The engine runs every neuron from its parameters, so that another library's neuron needs a reader and nothing else.
A reader's module takes and returns sequences (T, N, *F).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.neurons import LIF

Reader = Callable[[nn.Module], NeuronParams | None]


def _read_own(module: nn.Module) -> NeuronParams | None:
    if not isinstance(module, LIF):
        return None
    if type(module).forward is not LIF.forward:
        raise UnsupportedModelError(
            [
                f"{type(module).__name__} overrides LIF.forward, and the engine cannot know what it computes; derive "
                "from nn.Module and register a reader with art_snn.snn.readers.register_reader"
            ]
        )
    return module.params


_READERS: list[Reader] = [_read_own]


def register_reader(reader: Reader) -> Reader:
    """Let the engine recognise another kind of spiking layer; usable as a decorator."""
    if not callable(reader):
        raise TypeError(f"a reader must be callable, got {reader!r}")
    if reader not in _READERS:
        _READERS.append(reader)
    return reader


def neuron_params(module: nn.Module) -> NeuronParams | None:
    """Return the parameters of a spiking layer, or None for any other module.

    Example:
        >>> neuron_params(LIF(decay=0.9)).decay
        0.9
        >>> neuron_params(nn.ReLU()) is None
        True
    """
    for reader in _READERS:
        params = reader(module)
        if params is not None:
            return params
    return None


def spiking_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module, NeuronParams]]:
    """Yield name, module and parameters of every spiking layer in ``network``."""
    for name, module in network.named_modules():
        params = neuron_params(module)
        if params is not None:
            yield name, module, params


def is_spiking(module: nn.Module) -> bool:
    """Say whether ``module`` is or holds a spiking layer."""
    return next(spiking_layers(module), None) is not None
