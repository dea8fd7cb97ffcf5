"""A user's own network on the command line: ``package.module:function``, or ``file.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from art_snn import files
from art_snn.adapters import AdaptedNetwork
from art_snn.commands.options import one_line
from art_snn.errors import UsageError


def network_maker(model: str, weights: Path | None = None) -> Callable[[], nn.Module]:
    """Return a user's function, whose errors are said in one line.

    Args:
        model: "package.module:function" or "file.py:function"; the function is called without arguments.
        weights: File with the state of the network that it returns; None where it loads one itself, or none.

    Raises:
        UsageError: There is no such function. What is returned raises it, too: where the function fails or returns no
            network, and where the weights are those of another one.
    """
    function = _function(model)

    def make_network() -> nn.Module:
        network = _called(model, function)
        if weights is not None:
            try:
                files.load_weights(network.model if isinstance(network, AdaptedNetwork) else network, weights)
            except (FileNotFoundError, ValueError) as error:
                raise UsageError(f"--weights: {one_line(str(error))}") from None
        return network

    return make_network


def _function(model: str) -> Callable[[], Any]:
    place, _, name = model.rpartition(":")
    if not (place and name):
        raise UsageError(f"--model {model!r} is no package.module:function, and no file.py:function")
    if str(Path.cwd()) not in sys.path:  # a console script has its own folder there
        sys.path.insert(0, str(Path.cwd()))
    module = _file(model, Path(place)) if place.endswith(".py") else _module(model, place)
    function = getattr(module, name, None)
    if isinstance(function, nn.Module):
        raise UsageError(f"--model {model}: {name} is a network; name a function that returns it")
    if not callable(function):
        raise UsageError(f"--model {model}: {place} has no function {name!r}")
    return function


def _module(model: str, place: str) -> Any:
    with _users_code(model, f"importing {place}"):
        return importlib.import_module(place)


def _file(model: str, path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"--model {model}: there is no file {str(path)!r}")
    name = f"_model_of_{path.stem}"  # which no other module has
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--model {model}: {str(path)!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses inside look it up
    with _users_code(model, f"running {path}"):
        spec.loader.exec_module(module)
    return module


def _called(model: str, function: Callable[[], Any]) -> nn.Module:
    with _users_code(model, "calling it"):
        network = function()
    if not isinstance(network, nn.Module):
        raise UsageError(f"--model {model}: it returns a {type(network).__name__}, not a network (torch.nn.Module)")
    return network


@contextmanager
def _users_code(model: str, what: str) -> Iterator[None]:
    """Raise whatever a block of a user's code raises as UsageError, in one line; also leaving, as scripts do."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"--model {model}: {what} fails: {reason}") from error
