"""The paper's evaluation, from training to tables; each step leaves what is there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from art_snn.data import stratified_part
from art_snn.errors import BusyError, TrainingError
from art_snn.evaluation import Choice, GridPlan, GridRow, GridSettings, check_results, make_cells, run_grid
from art_snn.evaluation.grid import quiet_workers
from art_snn.paper.experiments import Experiment
from art_snn.paper.figures import epsilon_figure, gamma_figure
from art_snn.paper.published import TABLES
from art_snn.paper.retention import RetentionRecord, retention_figure, retention_records, write_retention
from art_snn.paper.tables import RULES, write_rows, write_table
from art_snn.paper.wording import renamed
from art_snn.rules import GradientRule
from art_snn.training.build import make_classifier
from art_snn.training.checkpoints import locked
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_data, resume_point, train

RUNS, RESULTS, SAMPLES = "runs", "results", "samples"
_RETENTION_SAMPLES = 64


def reproduce(
    experiments: Sequence[Experiment],
    out: Path,
    *,
    rules: Sequence[str | GradientRule] | None = None,
    settings: GridSettings | None = None,
    dataset: str = "",
    events_dataset: str = "",
    n_jobs: int = 1,
    device_type: str = "cpu",
    say: Callable[[str], object] = lambda step: None,
    verbose: bool = False,
) -> list[GridRow]:
    """Train the experiments' networks, attack them, write tables and figures, and return one row per attack.

    Stopped or killed, the same call resumes; several processes may share a folder.

    Args:
        experiments: The experiments (`art_snn.paper.paper_experiments`).
        out: Folder to write to: networks, samples, rows, tables and figures.
        rules: Names of rules, or rules; None for the paper's six.
        settings: Numbers of samples, and how gamma is tuned; None for the defaults.
        dataset: Name of the images in tables; "" for that of their folder.
        events_dataset: Name of the event recordings in tables; "" for that of their file.
        n_jobs: Trainings and attacks to run at the same time, >= 1, or -1 for one per core.
        device_type: "gpu" or "cpu".
        say: Called with a line of text at each step, such as ``print``.
        verbose: Show progress bars.

    Raises:
        DataError: The data are missing or damaged.
        TrainingError: A network does not take the data, or diverged.
        CheckpointError: A folder holds another training, or a damaged checkpoint.
        ResultsError: The folder holds results that are damaged or of another version.
    """
    runs, results = out / RUNS, out / RESULTS
    check_results(results)
    say("0. trying the data and the networks")
    _try_networks(experiments, runs, verbose=verbose)
    say(f"1. {2 * len(experiments)} networks in {runs}")
    train_all(experiments, runs, n_jobs=n_jobs, device_type=device_type, verbose=verbose)
    say(f"2. attacks, rows in {results}")
    options: dict[str, Any] = {} if settings is None else vars(settings)
    cells, inputs = [], []
    for e in experiments:
        target, twin = runs / e.name, runs / e.twin.name
        plan = GridPlan(targets=[target], sources=[twin], rules=rules or RULES, attacks=e.attacks or (), **options)
        grid = make_cells(plan, out / SAMPLES, verbose=verbose)
        cells += grid
        with np.load(grid[0].samples.path) as samples:  # which lie class by class
            inputs.append(samples["x"][stratified_part(samples["y"], _RETENTION_SAMPLES)])
    cells.sort(key=lambda cell: -cell.attack.eps)  # the tables' main size first
    rows = run_grid(cells, results, n_jobs=n_jobs, device_type=device_type, verbose=verbose)
    say("3. temporal retention")
    records = []
    for e, x in zip(experiments, inputs, strict=True):
        records += retention_records(runs / e.name, x, device_type=device_type)
    write_retention(records, out)
    say("4. tables and figures")
    for file in report(renamed(rows, dataset, events_dataset), renamed(records, dataset, events_dataset), out):
        say(f"wrote {file}")
    if any(row.gamma_chosen == Choice.TUNED_ON_TEST.value for row in rows):
        say("gamma was tuned on the attacked samples: HART's numbers are those of the strongest of many attacks")
    return rows


def _try_networks(experiments: Sequence[Experiment], runs: Path, *, verbose: bool = False) -> None:
    """Load the data and build the networks that are not there yet; raise an error before anything is written."""
    recipes = [e.recipe for e in _with_twins(experiments) if resume_point(runs / e.name, e.recipe) is None]
    for _, group in groupby(sorted(recipes, key=_data_settings), key=_data_settings):
        same = list(group)
        data = load_data(same[0], verbose=verbose)
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                for recipe in same:
                    make_classifier(recipe, data.x_train.shape[1:], int(data.y_train.max()) + 1, "cpu")
        except ValueError as error:
            raise TrainingError(f"{same[0].data}: {error}") from None


def train_all(
    experiments: Sequence[Experiment], runs: Path, *, n_jobs: int = 1, device_type: str = "cpu", verbose: bool = False
) -> None:
    """Train each experiment's network and its twin, unless they are; each is trained by one of several processes."""
    left = _with_twins(experiments)
    bars = verbose and n_jobs == 1
    for wait in (False, True):  # at first those that no other process trains
        if wait and left and verbose:
            tqdm.write(f"waiting for another process: {', '.join(e.name for e in left)}")
        with quiet_workers():
            workers = Parallel(n_jobs=n_jobs, pre_dispatch="n_jobs")
            done = workers(delayed(_train)(e, runs, device_type, verbose, bars, wait) for e in left)
        left = [e for e, is_trained in zip(left, done, strict=True) if not is_trained]


def report(rows: Sequence[GridRow], records: Sequence[RetentionRecord], folder: Path) -> list[Path]:
    """Write all tables and figures; return the files."""
    tables = [file for number in TABLES for file in write_table(number, rows, folder)]
    figures = gamma_figure(rows, folder) + epsilon_figure(rows, folder) + retention_figure(records, folder)
    return [write_rows(rows, folder), *tables, *figures]


def _with_twins(experiments: Sequence[Experiment]) -> list[Experiment]:
    return [network for experiment in experiments for network in (experiment, experiment.twin)]


def _data_settings(recipe: Recipe) -> tuple[Any, ...]:
    """Return what the loaded data depend on."""
    steps = recipe.time_steps if recipe.events else 0
    return recipe.data, recipe.image_size, recipe.split_by, recipe.test_share or 0.0, steps


def _train(experiment: Experiment, runs: Path, device_type: str, verbose: bool, bars: bool, wait: bool) -> bool:
    """Train a network if it is not; return False where another process does, unless that is to be waited for."""
    run = runs / experiment.name
    checkpoint = resume_point(run, experiment.recipe)
    if checkpoint is not None and checkpoint.epoch >= experiment.recipe.epochs:
        return True
    try:
        if not wait:
            with locked(run):
                pass  # before the data are loaded
        if verbose:
            tqdm.write(f"training {experiment.name}")
        data = load_data(experiment.recipe, verbose=bars)
        _, history = train(experiment.recipe, data, run, device_type=device_type, verbose=bars, wait=wait)
    except BusyError:
        return False
    if verbose:
        seconds = sum(epoch["seconds"] for epoch in history)
        tqdm.write(f"trained {experiment.name} in {seconds:.0f} s: test accuracy {history[-1]['test_accuracy']:.1%}")
    return True
