"""Checkpoints of a training: folders that are whole or absent.

A run's folder holds ``epoch-0007/`` and the like, each with ``weights.safetensors``, ``state.safetensors`` (the
optimizer's tensors and the random generators) and ``checkpoint.json``. A checkpoint is written under a hidden name and
renamed, so that a process may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from art_snn.errors import BusyError, CheckpointError
from art_snn.files import load_weights, save_weights

FORMAT = 1
WEIGHTS, STATE, META = "weights.safetensors", "state.safetensors", "checkpoint.json"
LOCK = ".lock"
_HIDDEN = ".epoch-"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        path: Its folder.
        epoch: Number of epochs that were trained.
        recipe: Settings of the training.
        history: One entry an epoch: loss, accuracies, seconds.
        extra: What else was kept.
    """

    path: Path
    epoch: int
    recipe: dict[str, Any]
    history: list[dict[str, float]]
    extra: dict[str, Any]


def save_checkpoint(
    run: Path,
    *,
    epoch: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Mapping[str, Any],
    history: list[dict[str, float]],
    extra: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write a checkpoint with the state of the global random generators, then drop all but the newest ``keep``.

    Args:
        run: Folder of the training.
        epoch: Number of epochs that were trained.
        network: The network.
        optimizer: Its optimizer.
        recipe: Settings of the training; numbers, texts and None.
        history: One entry an epoch.
        extra: More to keep, such as versions.
        keep: Number of checkpoints to keep, >= 1.

    Returns:
        The checkpoint's folder.
    """
    target = run / f"epoch-{epoch:04d}"
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002  (ART draws from the global generator)
    state = {"torch_generator": torch.get_rng_state()}
    state["numpy_generator"] = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))
    state |= _optimizer_tensors(optimizer)
    temporary = Path(tempfile.mkdtemp(prefix=_HIDDEN, dir=run))
    try:
        save_weights(network, temporary / WEIGHTS)
        save_file(state, temporary / STATE)
        meta = {
            "format": FORMAT,
            "epoch": epoch,
            "recipe": dict(recipe),
            "history": history,
            "extra": dict(extra),
            "numpy_generator": {
                "position": numpy_state["state"]["pos"],
                "has_gauss": numpy_state["has_gauss"],
                "gauss": numpy_state["gauss"],
            },
            "sha256": {name: _digest(temporary / name) for name in (WEIGHTS, STATE)},
        }
        (temporary / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        temporary.chmod(0o755)
        temporary.replace(target)
        _sync(run)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _folders(run)[:-keep]:
        hidden = run / f"{_HIDDEN}{old.name}"
        old.rename(hidden)  # so that a kill in between leaves no half of a checkpoint
        shutil.rmtree(hidden)
    return target


def newest(run: Path) -> Path | None:
    """Return the folder of a run's newest checkpoint, or None."""
    return next(reversed(_folders(run)), None)


def clean(run: Path) -> None:
    """Remove what a killed process left behind under hidden names."""
    for path in run.glob(f"{_HIDDEN}*"):
        shutil.rmtree(path, ignore_errors=True)


def clear(run: Path) -> None:
    """Remove a run's checkpoints."""
    for path in _folders(run):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(run: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep a run's folder to this process inside the block; the lock goes with the process, also when it is killed.

    Args:
        run: Folder of the training; it has to exist.
        wait: Wait for another process that has it.

    Raises:
        BusyError: Another process has it.
    """
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        raise BusyError(f"another process trains in {run}; wait for it, or give another folder") from None
    try:
        yield
    finally:
        lock.release()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint's description and files.

    Args:
        path: A checkpoint's folder, or a run's, whose newest checkpoint is taken.

    Raises:
        CheckpointError: There is none, a file is damaged or missing, or the format is another one.
    """
    if not (path / META).is_file():
        found = newest(path) if path.is_dir() else None
        if found is None:
            raise CheckpointError(f"no checkpoint in {str(path)!r}; art-snn train --out makes one")
        path = found
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
        version = meta["format"]
        if version != FORMAT:
            raise CheckpointError(f"{path} has format {version!r}, and this art_snn reads format {FORMAT}")
        for name, digest in meta["sha256"].items():
            if _digest(path / name) != digest:
                raise CheckpointError(f"{path / name} is damaged: its checksum differs; remove the folder {path}")
        return Checkpoint(path, meta["epoch"], meta["recipe"], meta["history"], meta["extra"])
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove that folder") from None


def restore(checkpoint: Checkpoint, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights, optimizer and the global random generators back to where a checkpoint left them.

    Raises:
        CheckpointError: The weights are those of another network.
    """
    try:
        load_weights(network, checkpoint.path / WEIGHTS)
        state = load_file(checkpoint.path / STATE)
    except (OSError, ValueError) as error:
        raise CheckpointError(str(error)) from None
    meta = json.loads((checkpoint.path / META).read_text(encoding="utf-8"))["numpy_generator"]
    torch.set_rng_state(state.pop("torch_generator"))
    np.random.set_state(  # noqa: NPY002
        (
            "MT19937",
            state.pop("numpy_generator").numpy().astype(np.uint32),
            meta["position"],
            meta["has_gauss"],
            meta["gauss"],
        )
    )
    _restore_optimizer(optimizer, state)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    return tensors


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        _, index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _folders(run: Path) -> list[Path]:
    found = [path for path in run.iterdir() if path.is_dir() and re.fullmatch(r"epoch-\d{4,}", path.name)]
    return sorted(found, key=lambda path: int(path.name[6:]))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
