"""Files that are written whole or not at all, the cache folder, and weights that are checked before they are loaded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from platformdirs import user_cache_path
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_WRAPPERS = ("module.", "_orig_mod.")
# Entries of a dict that hold a network's state, beside those of the optimizer and others.
_ENTRIES = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights")
_SAVE = "save the state alone, torch.save(model.state_dict(), file)"


def cache_folder() -> Path:
    """Return where networks and data are kept: ``ART_SNN_CACHE`` if it is set, else the user's cache folder."""
    own = os.environ.get("ART_SNN_CACHE")
    return Path(own) if own else user_cache_path("art_snn")


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it; on an error nothing is left behind.

    The file is on the disk then, in folders made for it. A process that is killed may leave a hidden ``.<name>.*``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    mask = os.umask(0)  # which cannot be read without setting it
    os.umask(mask)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~mask)
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk, where the system can."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's state as safetensors."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    write_atomic(path, lambda temporary: save_file(state, temporary))


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a network's state from safetensors, or from a file that ``torch.save`` wrote.

    It may be an entry of a dict, by a usual name such as "state_dict".

    Raises FileNotFoundError, or as `set_weights` does if the file is damaged or belongs to another network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        is_safe = path.suffix == ".safetensors"
        state = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch's own words are an essay on how to run the file's code
        whole = "Unsupported global" in str(error)
        reason = "it holds more than tensors, and is not run" if whole else "it is damaged, or not of torch.save"
        raise ValueError(f"{path} is not a readable file of weights: {reason}; {_SAVE}") from None
    except Exception as error:  # the errors of pickle, zip and safetensors have no common base
        raise ValueError(f"{path} is not a readable file of weights: {error}") from error
    set_weights(network, _state(state, path), path)


def _state(content: Any, path: Path) -> Mapping[str, Tensor]:
    """Return the named tensors that a file holds, in a dict or not; raise ValueError unless there is one such state."""
    if content == {} or _are_tensors(content):  # of a network without weights, or with some
        return content
    kind, names = type(content).__name__, []
    if isinstance(content, dict):
        if {"recipe", "weights"} <= content.keys():
            raise ValueError(f"{path} is a checkpoint of art-snn train; give it, or its folder, as --checkpoint")
        names = [name for name in _ENTRIES if _are_tensors(content.get(name))]
        kind = f"dict of {', '.join(map(repr, list(content)[:5]))}"
    if len(names) != 1:
        several = f" with several states, {' and '.join(names)}" if names else ", not named tensors"
        raise ValueError(f"{path} is not a readable file of weights: it holds a {kind}{several}; {_SAVE}")
    return content[names[0]]


def _are_tensors(content: Any) -> bool:
    return isinstance(content, dict) and bool(content) and all(isinstance(each, Tensor) for each in content.values())


def set_weights(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Set a network's state to what was read from a file.

    Names may begin as ``nn.DataParallel`` and ``torch.compile`` let them begin.

    Raises ValueError, which names the file, if it is another network's state; the network is unchanged then.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for prefix in _WRAPPERS:
        if state and all(name.startswith(prefix) for name in state) and not expected.keys() & state.keys():
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    wrong = [name for name in (expected | found) if found.get(name) != expected.get(name)]
    if wrong:
        texts = [f"{n} has shape {found.get(n, 'none')}, not {expected.get(n, 'none')}" for n in wrong[:3]]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{path} holds the weights of another network: {'; '.join(texts)}{more}")
    network.load_state_dict(state)
