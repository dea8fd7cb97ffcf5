"""Recognise a library's classes without importing it, classes that users derive from them, and their parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from torch import Tensor, nn

from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams, Scalar
from art_snn.snn.readers import is_shadow


def class_of(module: nn.Module, library: str) -> type | None:
    """Return the first class of a module, in the order of its bases, that a library defines; None if there is none."""
    return next((base for base in type(module).__mro__ if base.__module__.partition(".")[0] == library), None)


def changed(module: nn.Module, known: type, methods: Iterable[str]) -> list[str]:
    """Return which of a library class's methods a derived class, or the module itself, has replaced."""
    return [name for name in methods if hasattr(known, name) and _is_changed(module, known, name)]


def _is_changed(module: nn.Module, known: type, name: str) -> bool:
    of_instance = vars(module).get(name)  # looked up once: another thread may tap meanwhile
    of_class = getattr(type(module), name, None)
    return of_class is not getattr(known, name) or not (of_instance is None or is_shadow(of_instance))


def refuse(reason: str) -> NoReturn:
    """Raise UnsupportedModelError; the layer's name comes before the reason, "is snnTorch's RLeaky, ..."."""
    raise UnsupportedModelError([reason])


def refuse_changed(module: nn.Module, known: type, library: str, methods: Iterable[str]) -> None:
    """Raise UnsupportedModelError if a derived class, or the module itself, replaces methods that make the dynamics."""
    if names := changed(module, known, methods):
        changes = f"changes {', '.join(names)}; register a reader for it"
        kind = type(module)
        if kind is known:
            raise UnsupportedModelError([f"is {library}'s {known.__name__}, and the instance {changes}"])
        raise UnsupportedModelError(
            [f"is {kind.__name__}, which derives from {library}'s {known.__name__} and {changes}"]
        )


def number(value: Scalar) -> Scalar:
    """Return a parameter as a float where it has one entry, else the tensor without its graph."""
    value = value.detach() if isinstance(value, Tensor) else value
    return value if isinstance(value, Tensor) and value.numel() > 1 else float(value)


def refuse_low_threshold(params: NeuronParams, name: str) -> None:
    """Raise UnsupportedModelError unless thresholds, called ``name`` in the library, are above 0."""
    lowest = float(params.threshold.min()) if isinstance(params.threshold, Tensor) else params.threshold
    if not lowest > 0:
        raise UnsupportedModelError(
            [
                f"has {name}={lowest:g}; rules count potentials in thresholds, which have to be above 0: add a "
                "constant to all its potentials"
            ]
        )
