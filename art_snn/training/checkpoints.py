"""Checkpoints of a training: files ``epoch-0007.pt`` in a run's folder, each written whole or not at all."""

from __future__ import annotations

import copy
import hashlib
import re
import shutil
import zipfile
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.errors import BusyError, CheckpointError
from art_snn.files import set_weights, write_atomic
from art_snn.training.recipe import Recipe

FORMAT = 2
LOCK = ".lock"
History = list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read."""

    path: Path
    epoch: int  # number of epochs that were trained
    recipe: Recipe
    history: History  # as `train` returns it
    input_shape: tuple[int, ...]
    nb_classes: int
    clip_values: tuple[float, float]
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    generators: dict[str, Any]  # states of torch's and numpy's global random generators

    @cached_property
    def sha256(self) -> str:
        """Digest of the weights: of their names, kinds, shapes and bytes, so that equal weights share it."""
        digest = hashlib.sha256()
        for name, tensor in self.weights.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def restore(self, classifier: PyTorchSNNClassifier) -> None:
        """Put weights, optimizer and the global random generators back to where this checkpoint left them."""
        self.restore_weights(classifier)
        classifier.optimizer.load_state_dict(copy.deepcopy(self.optimizer))  # which training would change else
        torch.set_rng_state(self.generators["torch"])
        key, *rest = self.generators["numpy"]
        np.random.set_state(("MT19937", key.numpy().astype(np.uint32), *rest))  # noqa: NPY002

    def restore_weights(self, classifier: PyTorchSNNClassifier) -> None:
        """Put the weights into a classifier's network; raise CheckpointError if they are those of another network."""
        try:
            set_weights(classifier.model.network, self.weights, self.path)
        except ValueError as error:
            raise CheckpointError(str(error)) from None


def write_checkpoint(run: Path, classifier: PyTorchSNNClassifier, recipe: Recipe, history: History) -> None:
    """Write a checkpoint with the state of the global random generators; keep the newest two."""
    _, key, *rest = np.random.get_state()  # noqa: NPY002  (ART draws from it)
    numpy_state = [torch.from_numpy(np.asarray(key, dtype=np.int64)), *rest]
    content = {
        "format": FORMAT,
        "epoch": len(history),
        "recipe": asdict(recipe),
        "history": history,
        "input_shape": tuple(classifier.input_shape),
        "nb_classes": classifier.nb_classes,
        "clip_values": tuple(float(value) for value in classifier.clip_values),
        "weights": dict(classifier.model.network.state_dict()),
        "optimizer": classifier.optimizer.state_dict(),
        "generators": {"torch": torch.get_rng_state(), "numpy": numpy_state},
        "versions": {name: version(name) for name in ("adversarial-robustness-toolbox", "torch")},
    }
    write_atomic(run / f"epoch-{len(history):04d}.pt", partial(torch.save, content))
    for old in _files(run)[:-2]:
        with suppress(OSError):  # some systems keep files that are mapped
            old.unlink()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint; its tensors stay on the disk until they are used.

    Args:
        path: A checkpoint's file, or a run's folder, whose newest checkpoint is taken.

    Raises:
        CheckpointError: There is none, it is damaged, or its format is another one.
    """
    file = newest(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise CheckpointError(f"no checkpoint in {str(path)!r}; art-snn train --out makes one")
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} differs")
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the errors of zip and pickle have no common base
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{file} is damaged ({reason}); remove it") from None
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{file} has format {found!r}, and this art_snn reads format {FORMAT}")
    del content["versions"]
    try:
        recipe = Recipe(**content.pop("recipe"))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file} does not fit this art_snn: {error}") from None
    return Checkpoint(path=file, recipe=recipe, **content)


def newest(run: Path) -> Path | None:
    """Return the file of a run's newest checkpoint; None if it has none. Those of art_snn 0.1.0 are refused."""
    files = _files(run)
    if not files and next(run.glob("epoch-*/checkpoint.json"), run / "checkpoint.json").is_file():
        raise CheckpointError(f"{run} has checkpoints of art_snn 0.1.0, which cannot be read; train again elsewhere")
    return files[-1] if files else None


def clean(run: Path, *, everything: bool = False) -> None:
    """Remove what a killed process left behind; with ``everything``, a run's checkpoints, too."""
    for path in (*run.glob(".epoch-*"), *(_files(run) if everything else ())):
        if path.is_dir():  # of 0.1.0
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def locked(run: Path, *, wait: bool = False) -> AbstractContextManager[object]:
    """Keep a run's folder, made if missing, to this process in a block; the lock goes with the process if it is killed.

    Raises BusyError if another process has it, unless that is to be waited for.
    """
    run.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(run / LOCK).acquire(blocking=wait)
    except Timeout:
        raise BusyError(f"another process trains in {run}; wait for it, or give another folder") from None


def _files(run: Path) -> list[Path]:
    found = [path for path in run.iterdir() if re.fullmatch(r"epoch-\d{4,}\.pt", path.name)]
    return sorted(found, key=lambda path: int(path.stem[6:]))
