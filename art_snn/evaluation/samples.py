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


class Samples(NamedTuple):
    """The samples of a grid: their file (`art_snn.evaluation.grid`), and its digest."""

    file: str
    sha256: str


def write_samples(
    recipe: Recipe, folder: Path, *, samples: int, tuning_samples: int, verbose: bool = False
) -> tuple[Samples, Choice]:
    """Return a recipe's samples, and where those to tune on come from; write them first if they are not there yet.

    Args:
        recipe: The recipe.
        folder: Folder of the file.
        samples: Number to attack.
        tuning_samples: Number to tune on.
        verbose: Show progress.

    Raises:
        DataError: The data, or the file, are missing or damaged.
    """
    parts = (recipe.data, recipe.image_size, recipe.split_by, recipe.test_share, samples, tuning_samples)
    steps = recipe.time_steps if recipe.events else None
    name = hashlib.sha256(repr((*parts, steps)).encode()).hexdigest()[:16]
    file = folder / f"samples-{name}.npz"
    if not file.is_file():
        arrays = choose_samples(load_data(recipe, verbose=verbose), samples, tuning_samples)
        write_atomic(file, lambda temporary: np.savez(temporary, allow_pickle=False, **arrays))
    found, digest = read_samples(file)
    return Samples(str(file), digest), Choice(str(found["tuned"]))


def choose_samples(data: Split, samples: int, tuning_samples: int) -> dict[str, np.ndarray]:
    """Return stratified test samples to attack ("x", "y"), and others to tune on ("x_tune", "y_tune").

    Where too few test samples are left, those to tune on are training samples; "tuned" says which.

    Args:
        data: The data set.
        samples: Number to attack.
        tuning_samples: Number to tune on.
    """
    chosen = stratified_part(data.y_test, samples)
    rest = np.setdiff1d(np.arange(len(data.y_test)), chosen)
    apart = len(rest) >= tuning_samples
    x_rest, y_rest = (data.x_test, data.y_test) if apart else (data.x_train, data.y_train)
    pool = rest if apart else np.arange(len(y_rest))
    tune = pool[stratified_part(y_rest[pool], tuning_samples)]
    return {
        "x": data.x_test[chosen],
        "y": data.y_test[chosen],
        "x_tune": x_rest[tune],
        "y_tune": y_rest[tune],
        "tuned": np.array((Choice.TUNED_APART if apart else Choice.TUNED_ON_TRAIN).value),
    }


def read_samples(file: Path) -> tuple[dict[str, np.ndarray], str]:
    """Return the samples in a file, and its SHA-256.

    Raises:
        DataError: It is damaged, or holds something else.
    """
    content = file.read_bytes()
    try:
        with np.load(io.BytesIO(content)) as archive:
            samples = {name: archive[name] for name in ("x", "y", "x_tune", "y_tune", "tuned")}
    except Exception as error:  # the errors of zip and NumPy have no common base
        raise DataError(f"{file} is damaged: {error!r}; delete it, and it is made again") from None
    return samples, hashlib.sha256(content).hexdigest()
