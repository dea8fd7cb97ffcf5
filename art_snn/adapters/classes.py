"""Recognise a library's classes without importing it, and classes that users derive from them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def class_of(module: nn.Module, library: str) -> type | None:
    """Return the first class of a module, in the order of its bases, that a library defines; None if there is none."""
    return next((base for base in type(module).__mro__ if base.__module__.partition(".")[0] == library), None)


def changed(module: nn.Module, known: type, methods: Iterable[str]) -> list[str]:
    """Return which of a library class's methods a derived class, or the module itself, has replaced."""
    kind = type(module)
    return [
        name
        for name in methods
        if hasattr(known, name) and (getattr(kind, name, None) is not getattr(known, name) or name in vars(module))
    ]
