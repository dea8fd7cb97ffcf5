"""Spiking layers: readers recognise them, taps stand in for them.

A reader turns a module into `NeuronParams`, or returns None for one that is no spiking layer. The engine runs every
neuron from its parameters, so that another library's neuron needs a reader and nothing else. A reader's module takes
and returns sequences (T, N, *F), or single steps (N, *F) in a network that loops over time itself.

A tap shadows ``forward`` on the instance of a spiking layer. No class is swapped and no module copied, so hooks,
``isinstance`` checks and the user's own code around the layer go on as before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from art_snn.errors import UnsupportedModelError
from art_snn.snn.checkpointing import REENTRANT, checkpoints_saved_at_once
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.layouts import Layout, Sequences, Steps
from art_snn.snn.mended import MendedGradients
from art_snn.snn.neurons import LIF
from art_snn.snn.surrogates import surrogates_in_use

_SEQUENCES, _STEPS = Sequences(), Steps()


class Reading(NamedTuple):
    """What a reader finds out about a spiking layer.

    Attributes:
        params: Its parameters.
        layout: How it is called.
        library: The library that it is of; None for this package's own, and for those that users register.
    """

    params: NeuronParams
    layout: Layout = _SEQUENCES
    library: str | None = None


Reader = Callable[[nn.Module], NeuronParams | Reading | None]
Forward = Callable[[Tensor], Tensor]
_Reader = TypeVar("_Reader", bound=Reader)

# One thread at a time taps; the others find the layers as they are, but for a forward that has this attribute.
_LOCK = threading.RLock()
_SHADOW = "_art_snn_shadow"


def is_shadow(value: object) -> bool:
    """Say whether an attribute of a layer is a forward that shadows its own for a while, perhaps in another thread."""
    return hasattr(value, _SHADOW)


def _read_own(module: nn.Module) -> NeuronParams | None:
    if not isinstance(module, LIF):
        return None
    if type(module).forward is not LIF.forward:
        reason = (
            f"{type(module).__name__} overrides LIF.forward, and the engine cannot know what it computes; derive "
            "from nn.Module and register a reader with art_snn.snn.readers.register_reader"
        )
        raise UnsupportedModelError([reason])
    return module.params


_READERS: dict[Reader, Layout] = {_read_own: _SEQUENCES}


def register_reader(reader: _Reader, *, single_step: bool = False) -> _Reader:
    """Let the engine recognise another kind of spiking layer; usable as a decorator.

    Args:
        reader: Function from a module to its parameters, or None where it is no such layer. Where layers are called in
            another way than ``single_step`` can say, it returns a `Reading`.
        single_step: Whether its modules take one step (N, *F) in each call, and keep their state in themselves, rather
            than a sequence (T, N, *F). The body of such a network loops over time.
    """
    if not callable(reader):
        raise TypeError(f"a reader must be callable, got {reader!r}")
    _READERS[reader] = _STEPS if single_step else _SEQUENCES
    return reader


def unregister_reader(reader: Reader) -> None:
    """Forget a reader; one that is not registered is ignored."""
    _READERS.pop(reader, None)


def read(module: nn.Module) -> Reading | None:
    """Return what the readers find out about a module, None where it is no spiking layer.

    Raises:
        UnsupportedModelError: It is one, and the engine cannot run it.
    """
    for reader, layout in reversed(list(_READERS.items())):  # a user's own before that of a library
        found = reader(module)
        if isinstance(found, Reading):
            return found
        if found is not None:
            return Reading(found, layout)
    return None


def neuron_params(module: nn.Module) -> NeuronParams | None:
    """Return the parameters of a spiking layer, or None for any other module.

    Example:
        >>> neuron_params(LIF(decay=0.9)).decay
        0.9
        >>> neuron_params(nn.ReLU()) is None
        True
    """
    reading = read(module)
    return None if reading is None else reading.params


def long_layers(network: nn.Module) -> set[str]:
    """Return the names of the spiking layers in ``network`` whose calls go on where the one before ended."""
    readings = ((name, read(module)) for name, module in network.named_modules())
    return {name for name, reading in readings if reading is not None and reading.layout.goes_on}


def takes_single_steps(network: nn.Module) -> bool:
    """Say whether some spiking layers in ``network`` take one step (N, *F) in each call."""
    readings = (read(module) for module in network.modules())
    return any(reading is not None and reading.layout.axes == "N" for reading in readings)


def spiking_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module, NeuronParams]]:
    """Yield name, module and parameters of every spiking layer in ``network``."""
    for name, module in network.named_modules():
        params = neuron_params(module)
        if params is not None:
            yield name, module, params


def is_spiking(module: nn.Module) -> bool:
    """Say whether ``module`` is or holds a spiking layer."""
    return next(spiking_layers(module), None) is not None


_ELSEWHERE = (
    "its spiking layer {} runs in another thread than the network, where a gradient rule does not reach it; run the "
    "whole network in one thread, without nn.DataParallel"
)


@contextmanager
def tapped(network: nn.Module, make_tap: Callable[[str, NeuronParams], Forward]) -> Iterator[None]:
    """Shadow ``forward`` of every spiking layer for the time of a ``with`` block.

    ``make_tap`` gives, for a layer's name and parameters, what stands in: sequence (T, N, *F) to sequence. The layer's
    layout calls it; for a layer that takes single steps, each is a sequence of one. Where a layout asks for the state
    of neurons, it has to be a `Tap`.

    Raises:
        UnsupportedModelError: Inside the block, a layer ran past its tap, or layers are checkpointed, while a graph is
            built, in a way that is not known.
    """
    shadowed: list[tuple[nn.Module, Forward | None]] = []
    reached: set[str] = set()
    elsewhere: set[str] = set()
    with _LOCK:
        try:
            for name, module in list(network.named_modules()):
                reading = read(module)
                if reading is None:
                    continue
                tap: Any = make_tap(name, reading.params)
                earlier = module.__dict__.get("forward")
                shadowed.append((module, earlier))
                own = module.forward
                stand_in = reading.layout.forward(module, tap)
                module.forward = _for_this_thread(name, stand_in, own, reached, elsewhere)
            with (
                surrogates_in_use(False),
                checkpoints_saved_at_once(),
                MendedGradients() if torch.is_grad_enabled() else nullcontext(),
            ):
                yield
        finally:
            for module, earlier in shadowed:
                if earlier is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.forward = earlier
    # Another thread may run the same network meanwhile, on its own account; this one then reached the layer, too.
    if past := elsewhere - reached:
        raise UnsupportedModelError([_ELSEWHERE.format(sorted(past)[0])])


def _for_this_thread(
    name: str, stand_in: Callable[..., Any], forward: Callable[..., Any], reached: set[str], elsewhere: set[str]
) -> Callable[..., Any]:
    """Return a forward that is the stand-in in the thread that calls this now, and the layer's own in any other."""
    thread = threading.get_ident()

    def call(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == thread:
            reached.add(name)
            with surrogates_in_use(True):
                return stand_in(*args, **kwargs)
        elsewhere.add(name)
        output = forward(*args, **kwargs)
        for each in output if isinstance(output, tuple) else (output,):
            node: Any = each.grad_fn if isinstance(each, Tensor) else None
            if node is not None:
                node.metadata[_ELSEWHERE] = name
        return output

    setattr(call, _SHADOW, True)
    return call


def refuse_strays(logits: Tensor, x: Tensor) -> None:
    """Raise UnsupportedModelError if the graph from ``x`` to the logits holds a layer that no tap stood in for."""
    for node in graph_nodes(logits, x):
        if node.name() == "CheckpointFunctionBackward":
            raise UnsupportedModelError([REENTRANT])
        if _ELSEWHERE in node.metadata:
            raise UnsupportedModelError([_ELSEWHERE.format(node.metadata[_ELSEWHERE])])


def graph_nodes(end: Tensor, start: Tensor) -> Iterator[Any]:
    """Yield the nodes of the graph of a tensor, each once, without that of ``start`` and what is behind it."""
    seen: set[Any] = {None, start.grad_fn}
    left: list[Any] = [end.grad_fn]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            yield node
            left.extend(following for following, _ in node.next_functions)
