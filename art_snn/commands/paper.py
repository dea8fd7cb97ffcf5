"""``art-snn paper``: the paper's evaluation, from training to tables."""

from __future__ import annotations

import argparse
import json
import math
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from art_snn.commands.options import OneLineParser, add_device, check_device, check_folder, whole
from art_snn.commands.results import RETENTION
from art_snn.data.sets import is_events, resolved
from art_snn.data.split import stratified_part
from art_snn.errors import DataError, UsageError
from art_snn.evaluation import Cell, Choice, check_results, make_cells, run_grid
from art_snn.files import write_atomic
from art_snn.paper.experiments import SIZES, Experiment, experiments, plans, retention_records, train_all
from art_snn.paper.figures import epsilon_figure, gamma_figure, retention_figure
from art_snn.paper.published import TABLES
from art_snn.paper.tables import write_rows, write_table
from art_snn.training.recipe import Recipe, has_fast_bfloat16, make_classifier
from art_snn.training.run import load_data, resume_point

RUNS, RESULTS = "runs", "results"
_RETENTION_SAMPLES = 64


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser: OneLineParser = commands.add_parser(
        "paper",
        help="re-make the paper's evaluation: train, attack, tables, figures",
        description="Train the paper's networks (small ones for two cores, or its own), attack them white box and "
        "black box by all rules, and write the paper's tables beside the published numbers, and figures. Stopped, the "
        "same command goes on; two processes share one --out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--size", default=SIZES[0], help=f"one of {', '.join(SIZES)}")
    add("--data", help="images: 'cifar10', 'cifar100', or a folder with train/<class>/* and test/<class>/*")
    add("--events", help="event recordings: an .npz, or N-MNIST's folder")
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder for networks, results, tables and figures")
    add("--dataset", default="", help="name of the images in tables; that of their folder if left out")
    add("--events-name", default="", help="name of the recordings in tables; that of their file if left out")
    add("--epochs", type=whole, help="passes over the training data; 6 when small (events: 20), 200 when full")
    add("--lr", type=float, help="learning rate at the start; 0.05 when small, 0.1 when full")
    add(
        "--test-share", type=float, help="share of the recordings to test on; 0.3 when small, their own split when full"
    )
    add("--robust", action="store_true", help="robust targets (*) when small, too")
    add("--samples", type=whole, default=1000, help="test samples to attack")
    add("--tuning-samples", type=whole, default=256, help="samples apart from those, to tune gamma on")
    add("--tune-on-test", action="store_true", help="tune gamma on the attacked samples, as the paper does")
    add("--sweep", action="store_true", help="measure all 48 values of gamma, for the paper's Figure 3; slow")
    add("--precision", default="auto", help="train in 'bfloat16' where safe, 'float32', or what the device is fast in")
    add("--seed", type=whole, default=0, help="seed of the targets; surrogates have the next one")
    add("--jobs", type=whole, default=1, help="trainings and attacks at once; -1 for one a core")
    add_device(parser)
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    chosen = _checked(options)
    verbose = not options.quiet
    results, runs = options.out / RESULTS, options.out / RUNS
    check_results(results)
    print("0. trying the data and the networks", flush=True)
    _try(chosen, runs, options)
    print(f"1. {2 * len(chosen)} networks in {runs}", flush=True)
    train_all(chosen, runs, n_jobs=options.jobs, device_type=options.device, verbose=verbose)
    print(f"2. attacks, rows in {results}", flush=True)
    cells = _cells(chosen, runs, options)
    grid = run_grid(cells, results, n_jobs=options.jobs, device_type=options.device, verbose=verbose)
    rows = [row.to_json() for row in grid]
    print("3. temporal retention", flush=True)
    records = _retention(chosen, runs, cells, options)
    print("4. tables and figures", flush=True)
    for file in _report(rows, records, options.out):
        print(f"wrote {file}")
    if any(row["gamma_chosen"] == Choice.TUNED_ON_TEST.value for row in rows):
        print("gamma was tuned on the attacked samples: HART's numbers are those of the strongest of many attacks")
    return 0


def _checked(options: argparse.Namespace) -> list[Experiment]:
    """Return the experiments; raise UsageError before any work is done."""
    check_device(options.device)
    check_folder("--out", options.out)
    names: dict[str, str | None] = {"data": options.data, "events": options.events}
    for option, text in names.items():
        if text is None:
            continue
        try:
            names[option] = resolved(text)
        except DataError as error:
            raise UsageError(f"--{option} {error}") from None
        if is_events(str(names[option])) != (option == "events"):
            raise UsageError(f"--{option} {text!r} holds {'images' if option == 'events' else 'event recordings'}")
    for option in ("samples", "tuning_samples"):
        if getattr(options, option) < 1:
            raise UsageError(f"--{option.replace('_', '-')} must be >= 1, got {getattr(options, option)}")
    if options.lr is not None and not 0 < options.lr < math.inf:
        raise UsageError(f"--lr must be a finite number > 0, got {options.lr}")
    if options.test_share is not None and not 0 < options.test_share < 1:
        raise UsageError(f"--test-share must be in (0, 1), got {options.test_share}")
    if options.epochs is not None and options.epochs < 1:
        raise UsageError(f"--epochs must be >= 1, got {options.epochs}")
    if not 0 <= options.seed < 2**32 - 1:
        raise UsageError(f"--seed must be in 0 to 2**32 - 2, as surrogates have the next one, got {options.seed}")
    if options.jobs < 1 and options.jobs != -1:
        raise UsageError(f"--jobs must be >= 1, or -1, got {options.jobs}")
    if options.precision not in ("auto", "bfloat16", "float32"):
        raise UsageError(f"--precision must be 'auto', 'bfloat16' or 'float32', got {options.precision!r}")
    bfloat16 = options.precision == "bfloat16"
    if options.precision == "auto":
        bfloat16 = has_fast_bfloat16(options.device)
    try:
        return experiments(
            options.size,
            images=names["data"],
            events=names["events"],
            epochs=options.epochs,
            lr=options.lr,
            test_share=options.test_share,
            robust=options.robust,
            mixed_precision=bfloat16,
            seed=options.seed,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _try(chosen: list[Experiment], runs: Path, options: argparse.Namespace) -> None:
    """Load the data and build the networks that are not there yet; raise an error before anything is written.

    Raises:
        CheckpointError: A run's folder holds another training, or a damaged checkpoint.
        DataError: The data are missing or damaged.
        UsageError: A network does not take the data.
    """
    recipes = [network.recipe for one in chosen for network in (one, one.surrogate()) if _is_new(network, runs)]
    recipes.sort(key=_source)
    for _, group in groupby(recipes, key=_source):
        same = list(group)
        data = load_data(same[0], verbose=not options.quiet)
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                for recipe in same:
                    make_classifier(recipe, data.x_train.shape[1:], int(data.y_train.max()) + 1, "cpu")
        except ValueError as error:
            raise UsageError(f"--size {options.size} of {same[0].data}: {error}") from None


def _is_new(network: Experiment, runs: Path) -> bool:
    return resume_point(runs / network.name, network.recipe) is None


def _source(recipe: Recipe) -> tuple[Any, ...]:
    """Return what the loaded data depend on."""
    steps = recipe.time_steps if is_events(recipe.data) else 0
    return recipe.data, recipe.image_size, recipe.split_by, recipe.test_share or 0.0, steps


def _cells(chosen: list[Experiment], runs: Path, options: argparse.Namespace) -> list[Cell]:
    grids = plans(
        chosen,
        runs,
        samples=options.samples,
        tuning_samples=options.tuning_samples,
        tune_on_test=options.tune_on_test,
        sweep=options.sweep,
        dataset=options.dataset,
        events_dataset=options.events_name,
    )
    cells = [c for grid in grids for c in make_cells(grid, options.out / "samples", verbose=not options.quiet)]
    return sorted(cells, key=lambda cell: -cell.attack.eps)  # the tables' main size first


def _retention(
    chosen: list[Experiment], runs: Path, cells: list[Cell], options: argparse.Namespace
) -> list[dict[str, Any]]:
    files = {Path(cell.target.folder).parent.name: cell.samples.file for cell in cells}
    records = []
    for one in chosen:
        with np.load(files[one.name]) as samples:
            x = samples["x"][stratified_part(samples["y"], _RETENTION_SAMPLES)]  # they lie class by class
        dataset = options.events_name if is_events(one.recipe.data) else options.dataset
        records += retention_records([runs / one.name], x, device_type=options.device, dataset=dataset)
    text = json.dumps(records, indent=1)
    write_atomic(options.out / RETENTION, lambda file: file.write_text(text + "\n", encoding="utf-8"))
    return records


def _report(rows: list[dict[str, Any]], records: list[dict[str, Any]], folder: Path) -> list[Path]:
    files = [file for number in TABLES for file in write_table(number, rows, folder)]
    return [
        write_rows(rows, folder),
        *files,
        *gamma_figure(rows, folder),
        *epsilon_figure(rows, folder),
        *retention_figure(records, folder),
    ]
