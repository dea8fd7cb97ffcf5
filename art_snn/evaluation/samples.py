"""Samples of a grid: some to attack, others to tune on, in a file that all of its cells read."""

from __future__ import annotations

import hashlib
import io
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from art_snn.data import Split, stratified_part
from art_snn.errors import DataError
from art_snn.files import write_atomic
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_data


class Choice(str, Enum):
    """How a rule's hyperparameter was chosen."""

    TUNED_APART = "tuned on a split of its own"
    TUNED_ON_TRAIN = "tuned on training samples"
    TUNED_ON_TEST = "tuned on the evaluation set"
    GIVEN = "given"
    NOTHING = ""


class PinnedFile(NamedTuple):
    """A file that cells read, and the digest of what it must hold."""

    path: str
    sha256: str


def write_samples(
    recipe: Recipe, folder: Path, samples: int, tuning_samples: int, *, verbose: bool = False
) -> tuple[PinnedFile, Choice]:
    """Return the file of a recipe's samples, made if missing, and where those to tune on come from."""
    steps = recipe.time_steps if recipe.events else None
    parts = (recipe.data, recipe.image_size, recipe.split_by, recipe.test_share, samples, tuning_samples, steps)
    file = folder / f"samples-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.npz"
    if not file.is_file():
        arrays = choose_samples(load_data(recipe, verbose=verbose), samples, tuning_samples)
        write_atomic(file, lambda temporary: np.savez(temporary, allow_pickle=False, **arrays))
    arrays, digest = read_samples(file)
    return PinnedFile(str(file), digest), Choice(str(arrays["tuned"]))


def choose_samples(data: Split, samples: int, tuning_samples: int) -> dict[str, np.ndarray]:
    """Return stratified test samples to attack ("x", "y"), and others to tune on ("x_tune", "y_tune").

    Where too few test samples are left, those to tune on are training samples; "tuned" says which.
    """
    chosen = stratified_part(data.y_test, samples)
    pool = np.setdiff1d(np.arange(len(data.y_test)), chosen)
    x_tune, y_tune, choice = data.x_test, data.y_test, Choice.TUNED_APART
    if len(pool) < tuning_samples:
        pool = np.arange(len(data.y_train))
        x_tune, y_tune, choice = data.x_train, data.y_train, Choice.TUNED_ON_TRAIN
    tune = pool[stratified_part(y_tune[pool], tuning_samples)]
    return {
        "x": data.x_test[chosen],
        "y": data.y_test[chosen],
        "x_tune": x_tune[tune],
        "y_tune": y_tune[tune],
        "tuned": np.array(choice.value),
    }


def read_samples(file: Path) -> tuple[dict[str, np.ndarray], str]:
    """Return the samples in a file, and its SHA-256; raise DataError where it is damaged."""
    content = file.read_bytes()
    try:
        with np.load(io.BytesIO(content)) as archive:
            samples = {name: archive[name] for name in ("x", "y", "x_tune", "y_tune", "tuned")}
    except Exception as error:  # the errors of zip and NumPy have no common base
        raise DataError(f"{file} is damaged: {error!r}; delete it, and it is made again") from None
    return samples, hashlib.sha256(content).hexdigest()
