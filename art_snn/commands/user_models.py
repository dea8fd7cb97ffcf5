"""A user's own network on the command line: ``package.module:function``, or ``file.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from art_snn import files
from art_snn.adapters import AdaptedNetwork, adapt
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.commands.options import one_line
from art_snn.data import Split
from art_snn.errors import UnsupportedModelError, UsageError


def load_classifier(
    model: str, weights: Path | None, data: Split, *, events: bool, time_steps: int | None, device_type: str
) -> PyTorchSNNClassifier:
    """Return a classifier around the network that a user's function returns, for some data.

    Args:
        model: "package.module:function" or "file.py:function"; the function is called without arguments.
        weights: File with the network's state; None where the function loads it.
        data: Inputs and labels, which say shape and number of classes.
        events: Whether inputs are event frames.
        time_steps: T for a network that takes time-steps; None where its forward has the time.
        device_type: "gpu" or "cpu".

    Raises:
        UsageError: There is no such function, it fails, or what it returns cannot be attacked on these data.
    """
    network = _called(model, _function(model))
    if weights is not None:
        try:
            files.load_weights(network.model if isinstance(network, AdaptedNetwork) else network, weights)
        except (FileNotFoundError, ValueError) as error:
            raise UsageError(f"--weights: {one_line(str(error))}") from None
    most = max(float(x.max()) for x in (data.x_train, data.x_test)) if events else 1.0
    try:
        if time_steps is not None or (events and _takes_time(network)):
            network = adapt(network, time_steps=None if events else time_steps, frames=events)
        return PyTorchSNNClassifier(
            network,
            nn.CrossEntropyLoss(),
            data.x_train.shape[1:],
            int(np.concatenate([data.y_train, data.y_test]).max()) + 1,
            clip_values=(0.0, most),
            device_type=device_type,
        )
    except UnsupportedModelError as error:
        raise UsageError(f"--model {model}: {one_line('; '.join(error.reasons))}") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"--model {model}: {one_line(str(error))}") from None


def _takes_time(network: nn.Module) -> bool:
    return not any(callable(getattr(network, part, None)) for part in ("encode", "body", "readout"))


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
