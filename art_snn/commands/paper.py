"""``art-snn paper``: the paper's evaluation, from training to tables."""

from __future__ import annotations

import argparse
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from art_snn.commands.options import (
    HIDDEN,
    RECORDINGS,
    add_command,
    add_device,
    check_folder,
    check_used,
    given,
    number,
    usage,
    whole,
    workers,
)
from art_snn.evaluation import GridSettings
from art_snn.paper import paper_experiments, reproduce
from art_snn.paper.experiments import SIZES
from art_snn.training.build import has_fast_bfloat16

PRECISIONS = ("auto", "bfloat16", "float32")


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser = add_command(
        commands,
        "paper",
        run,
        summary="reproduce the paper's evaluation: train, attack, tables, figures",
        description="Train the paper's networks (small ones for two cores, or its own), attack them white box and "
        "black box by all rules, and write the paper's tables beside the published numbers, and figures. Stopped, the "
        "same command resumes; two processes may share one --out.",
    )
    add, settings = parser.add_argument, GridSettings()
    add("--size", default=SIZES[0], choices=SIZES, help="of the networks")
    add("--data", help="images: 'cifar10', 'cifar100', or a folder with train/<class>/* and test/<class>/*")
    add("--events", help=f"event recordings: {RECORDINGS}")
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder for networks, results, tables and figures")
    add("--dataset", help="name of the images in tables; that of their folder if left out", **HIDDEN)
    add("--events-name", help="name of the recordings in tables; that of their file if left out", **HIDDEN)
    add("--epochs", type=whole, help="passes over the training data; 6 when small (events: 20), 200 when full")
    add("--lr", type=number, help="learning rate at the start; 0.05 when small, 0.1 when full")
    share = "share of recordings to test on; 0.3 when small, their own split when full"
    add("--test-share", type=number, help=share, **HIDDEN)
    add("--robust", action="store_true", help="robust targets (*) when small, too", **HIDDEN)
    add("--samples", type=whole, default=settings.samples, help="test samples to attack")
    apart = f"samples apart from those, to tune on (default: {settings.tuning_samples})"
    add("--tuning-samples", type=whole, help=apart, **HIDDEN)
    add("--tune-on-test", action="store_true", help="tune gamma on the attacked samples, as the paper does")
    add("--sweep", action="store_true", help="measure all 48 values of gamma, for the paper's Figure 3; slow")
    add("--precision", default=PRECISIONS[0], choices=PRECISIONS, help="of the training; bfloat16 where it is safe")
    add("--seed", type=whole, default=0, help="seed of the targets; the networks of black-box attacks have the next")
    add("--jobs", type=workers, default=1, help="trainings and attacks to run at the same time; -1 for one per core")
    add_device(parser)
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    check_folder("--out", options.out)
    is_fast = options.precision == "auto" and has_fast_bfloat16(options.device)
    with usage():
        settings = GridSettings(**given(options, (field.name for field in fields(GridSettings))))
        experiments = paper_experiments(
            options.size,
            images=options.data,
            events=options.events,
            epochs=options.epochs,
            lr=options.lr,
            **given(options, ("test_share", "robust")),
            mixed_precision=options.precision == "bfloat16" or is_fast,
            seed=options.seed,
        )
    for name, used, why in (
        ("dataset", options.data, "does nothing without --data"),
        ("robust", options.data, "does nothing without --data: networks of events have no robust target"),
        ("events_name", options.events, "does nothing without --events"),
        ("test_share", options.events, "does nothing without --events"),
        ("tuning_samples", not options.tune_on_test, "does nothing with --tune-on-test"),
    ):
        check_used(options, name, bool(used), why)
    reproduce(
        experiments,
        options.out,
        settings=settings,
        dataset=getattr(options, "dataset", ""),
        events_dataset=getattr(options, "events_name", ""),
        n_jobs=options.jobs,
        device_type=options.device,
        say=partial(print, flush=True),
        verbose=not options.quiet,
    )
    return 0
