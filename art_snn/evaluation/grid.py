"""Grids of experiments: networks x attacks x rules x sizes x settings, one row each."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from art_snn.checks import check_count
from art_snn.data import Split, stratified_part
from art_snn.data.sets import is_events, title
from art_snn.errors import CheckpointError
from art_snn.evaluation.cells import (
    CLIP_ONLY,
    GIVEN,
    TUNED_APART,
    TUNED_ON_TEST,
    TUNED_ON_TRAIN,
    Cell,
    read_samples,
    run_cell,
    weights_digest,
)
from art_snn.evaluation.legacy import ATTACKS
from art_snn.evaluation.store import ResultStore
from art_snn.files import write_atomic
from art_snn.rules import HART, get_rule
from art_snn.training.checkpoints import Checkpoint, read_checkpoint
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_data, recipe_of

_POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class GridPlan:
    """What a grid is made of.

    Attributes:
        targets: Folders of trained networks (runs of ``art-snn train``).
        sources: For black box: for each target the folder of the network that gradients come from, or None.
        rules: Names of rules.
        attacks: Names of attacks.
        eps: Largest changes of a pixel (L-infinity), > 0.
        eps_step: Step of PGD, > 0; None for eps / 4. The papers' is 2/255.
        samples: Test samples to attack, stratified, always the same.
        tuning_samples: Test samples apart from those, to tune gamma on.
        gamma: Gamma of HART; None to tune it for each cell.
        tune_on_test: Tune on the evaluation samples, as the papers do; each row says so.
        sweep: Measure all 48 values of gamma instead of searching.
        dataset: Name of the data set in tables; "" for that of its folder.
    """

    targets: Sequence[Path]
    sources: Sequence[Path | None] = ()
    rules: Sequence[str]
    attacks: Sequence[str] = ("fgsm", "pgd")
    eps: Sequence[float] = (8 / 255,)
    eps_step: float | None = None
    samples: int = 1000
    tuning_samples: int = 256
    gamma: float | None = None
    tune_on_test: bool = False
    sweep: bool = False
    dataset: str = ""

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError("targets is empty: there is nothing to attack")
        if self.sources and len(self.sources) != len(self.targets):
            raise ValueError(f"sources must be one a target ({len(self.targets)}), got {len(self.sources)}")
        for rule in self.rules:
            get_rule(rule)
        for attack in self.attacks:
            if attack not in ATTACKS:
                raise ValueError(f"unknown attack {attack!r}; known: {', '.join(ATTACKS)}")
        for eps in self.eps:
            if not 0 < eps < np.inf:
                raise ValueError(f"eps must be finite numbers > 0, got {eps!r}")
        if self.eps_step is not None and not 0 < self.eps_step < np.inf:
            raise ValueError(f"eps_step must be a finite number > 0, got {self.eps_step!r}")
        check_count("samples", self.samples)
        check_count("tuning_samples", self.tuning_samples)
        if self.gamma is not None:
            HART(gamma=self.gamma)


def make_cells(plan: GridPlan, folder: Path, *, verbose: bool = False) -> list[Cell]:
    """Return a plan's cells; the samples that they need are written beside the results.

    Args:
        plan: The plan.
        folder: Folder for the samples.
        verbose: Show progress.

    Raises:
        CheckpointError: A checkpoint is missing, damaged or of a training that is not over, or a source has other
            inputs or classes than its target.
        DataError: The data are missing or damaged.
    """
    sources: Sequence[Path | None] = plan.sources or [None] * len(plan.targets)
    found = {path: read_checkpoint(path) for path in (*plan.targets, *sources) if path is not None}
    for checkpoint in found.values():
        _check_trained(checkpoint)
    digests = {path: weights_digest(checkpoint) for path, checkpoint in found.items()}
    cells = []
    for target, source in zip(plan.targets, sources, strict=True):
        recipe = recipe_of(found[target])
        if source is not None:
            for name, text in (("input_shape", "takes inputs {}"), ("nb_classes", "has {} classes")):
                own_value, other = (found[path].extra.get(name) for path in (target, source))
                if own_value != other:
                    raise CheckpointError(f"{source} {text.format(other)}, and {target} {text.format(own_value)}")
        samples, digest, apart = _samples_file(recipe, plan, folder, verbose)
        fixed: dict[str, Any] = {
            "target": str(found[target].path),
            "target_sha256": digests[target],
            "samples": str(samples),
            "samples_sha256": digest,
            "dataset": plan.dataset or title(recipe.data),
        }
        own: dict[str, Any] = {"source": fixed["target"], "source_sha256": digests[target]}
        if is_events(recipe.data):
            cells.append(Cell(**fixed, **own, attack=CLIP_ONLY, eps=0.0, rule=""))
        origins = [own]
        if source is not None:
            origins.append({"source": str(found[source].path), "source_sha256": digests[source]})
        for origin in origins:
            for eps in plan.eps:
                for attack in plan.attacks:
                    size: dict[str, Any] = {"attack": attack, "eps": float(eps)}
                    if attack == "pgd":
                        size["eps_step"] = float(eps / 4 if plan.eps_step is None else plan.eps_step)
                    cells += [
                        Cell(**fixed, **origin, **size, rule=rule, **_gamma(rule, plan, apart)) for rule in plan.rules
                    ]
    return cells


def _check_trained(checkpoint: Checkpoint) -> None:
    epochs = recipe_of(checkpoint).epochs
    if checkpoint.epoch < epochs:
        raise CheckpointError(
            f"{checkpoint.path} is trained for {checkpoint.epoch} of {epochs} epochs; go on with it first"
        )


def run_grid(
    cells: Sequence[Cell],
    results: Path,
    *,
    n_jobs: int = 1,
    device_type: str = "cpu",
    batch_size: int = 128,
    verbose: bool = False,
) -> list[dict[str, Any]]:
    """Run the cells that have no row yet, and return the rows of all of them, in their order.

    Rows land one by one: after a kill, the same call goes on. Several processes may run one grid at the same time.
    The cells run in joblib's workers; ``joblib.parallel_config(backend="dask")`` around the call sends them to a
    cluster that sees the same files.

    Args:
        cells: The cells.
        results: The results file; made if missing.
        n_jobs: Number of workers, >= 1, or -1 for one a core.
        device_type: "gpu" or "cpu".
        batch_size: Samples to attack at once.
        verbose: Show progress.

    Raises:
        ResultsError: The file is damaged or of another schema.
    """
    store = ResultStore(results)
    by_key = {cell.key: cell for cell in cells}
    keys = list(by_key)
    left = len(store.missing(keys))
    with tqdm(total=len(keys), initial=len(keys) - left, desc="Grid", unit="row", disable=not verbose) as bar:
        while left:
            with store.renewing():
                for key, row in _results(store, keys, by_key, n_jobs, device_type, batch_size):
                    if store.finish(key, row):
                        bar.update()
            left = len(store.missing(keys))
            bar.n = len(keys) - left
            bar.refresh()
            if left:  # another process works on them, or has died
                time.sleep(_POLL_S)
    rows = {row["key"]: row for row in store.rows()}
    return [rows[key] | {"dataset": by_key[key].dataset} for key in keys]


def _results(
    store: ResultStore,
    keys: Sequence[str],
    by_key: dict[str, Cell],
    n_jobs: int,
    device_type: str,
    batch_size: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Claim cells one by one, and yield their rows as they are ready."""

    def tasks() -> Iterator[Callable[[], Any]]:
        while (key := store.claim(keys)) is not None:
            yield delayed(_task)(key, by_key[key], device_type, batch_size)

    backend, _ = get_active_backend()
    with quiet_workers():
        if backend.supports_return_generator:
            workers = Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
            yield from workers(tasks())
            return
        workers = Parallel(n_jobs=n_jobs, batch_size=1)  # such as Ray's: as many rows at a time as there are workers
        several = tasks()
        while some := list(islice(several, effective_n_jobs(n_jobs))):
            yield from workers(some)


@contextmanager
def quiet_workers() -> Iterator[None]:
    """Leave out joblib's word that a worker with much memory was replaced: torch's caches look like a leak to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        yield


def _task(key: str, cell: Cell, device_type: str, batch_size: int) -> tuple[str, dict[str, Any]]:
    return key, {"key": key, **run_cell(cell, device_type=device_type, batch_size=batch_size)}


def _gamma(rule: str, plan: GridPlan, apart: str) -> dict[str, Any]:
    if rule != HART.name:
        return {}
    if plan.gamma is not None:
        return {"gamma": float(plan.gamma), "gamma_chosen": GIVEN}
    return {"gamma_chosen": TUNED_ON_TEST if plan.tune_on_test else apart, "sweep": plan.sweep}


def _samples_file(recipe: Recipe, plan: GridPlan, folder: Path, verbose: bool) -> tuple[Path, str, str]:
    """Return the file with a recipe's samples, its digest, and where those to tune on come from.

    The data are loaded only if the file is missing.
    """
    parts = (recipe.data, recipe.image_size, recipe.split_by, recipe.test_share, plan.samples, plan.tuning_samples)
    steps = recipe.time_steps if is_events(recipe.data) else None
    name = hashlib.sha256(repr((*parts, steps)).encode()).hexdigest()[:16]
    file = folder / f"samples-{name}.npz"
    if not file.is_file():
        arrays = choose_samples(load_data(recipe, verbose=verbose), plan.samples, plan.tuning_samples)
        write_atomic(file, lambda temporary: _save(temporary, arrays))
    found, digest = read_samples(file)
    return file, digest, str(found["tuned"])


def choose_samples(data: Split, samples: int, tuning_samples: int) -> dict[str, np.ndarray]:
    """Return stratified test samples to attack ("x", "y"), and others to tune gamma on ("x_tune", "y_tune").

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
        "tuned": np.array(TUNED_APART if apart else TUNED_ON_TRAIN),
    }


def _save(temporary: Path, arrays: dict[str, np.ndarray]) -> None:
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
