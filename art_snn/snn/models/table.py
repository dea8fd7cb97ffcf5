"""The networks by name.

A builder registers itself, where it is defined. A new one is one file, and one line in `art_snn.snn.models` that
imports it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from art_snn.checks import check_choice
from art_snn.snn.network import SpikingNetwork


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of network: how it is built, and for which inputs.

    Attributes:
        title: What tables call it.
        build: Builds it from keyword arguments.
        events: Whether it takes event frames (N, T, C, H, W), not images (N, C, H, W).
        fixed_shape: The only shape (C, H, W) that it takes; None for any.
        multiple: What height and width must be multiples of.
    """

    title: str
    build: Callable[..., SpikingNetwork]
    events: bool = False
    fixed_shape: tuple[int, int, int] | None = None
    multiple: int = 1

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the builder's keyword arguments, such as ``width``."""
        return tuple(inspect.signature(self.build).parameters)


_ARCHITECTURES: dict[str, Architecture] = {}
_Build = TypeVar("_Build", bound=Callable[..., SpikingNetwork])


def register_architecture(title: str, **fields: Any) -> Callable[[_Build], _Build]:
    """Make a builder available by its name, with the other fields of its `Architecture`; a decorator.

    The builder takes ``nb_classes`` and options of its neurons, such as ``decay``, and is given ``time_steps``,
    ``in_channels``, ``image_size``, ``width``, ``mean`` and ``std`` if its signature names them.

    Raises:
        ValueError: The name is another builder's.
    """

    def register(build: _Build) -> _Build:
        known = _ARCHITECTURES.get(build.__name__)
        if known is not None and known.build.__module__ != build.__module__:
            raise ValueError(f"the name {build.__name__!r} is taken by {known.build.__module__}; choose another")
        _ARCHITECTURES[build.__name__] = Architecture(title=title, build=build, **fields)
        return build

    return register


def architecture_names() -> tuple[str, ...]:
    """Return the names of all registered networks, in the order of registration."""
    return tuple(_ARCHITECTURES)


def get_architecture(name: str) -> Architecture:
    """Return a network's entry by its name; raise ValueError if no network has it."""
    check_choice("architecture", name, _ARCHITECTURES)
    return _ARCHITECTURES[name]
