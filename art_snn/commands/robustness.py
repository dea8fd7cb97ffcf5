"""``art-snn robustness``: one number for how robust a network is, and whether it may be trusted."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from art_snn.checks import check_count, check_positive
from art_snn.commands.options import HIDDEN, add_command, add_device, check_folder, flag, given, number, usage, whole
from art_snn.commands.targets import Target, add_target, check_target, load_target
from art_snn.data import stratified_part
from art_snn.errors import DataError, UsageError
from art_snn.evaluation.robustness import BUDGETS, Verdict, robustness
from art_snn.evaluation.robustness.report import text_summary, write_report
from art_snn.ranges import check_range
from art_snn.snn.encoders import is_random
from art_snn.training import DIGITS_RECIPE
from art_snn.training.recipe import OF_ARCHITECTURES

INVALID = 1  # exit code
ENCODINGS = 20  # that gradients are averaged over, and draws to judge by, where the encoder is random


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser = add_command(
        commands,
        "robustness",
        run,
        summary="one number for how robust a spiking network is, and whether it may be trusted",
        description="Attack a spiking network in stages, each on the samples that are left, look for signs that the "
        "attacks failed, and write a page with the robust accuracy, its verdict and its checks. The exit code is 1 "
        "where the verdict is invalid, and 2 where something is refused or fails. The same command goes on after it "
        "was stopped.",
    )
    add = parser.add_argument
    add_target(parser)
    own = "what the network of --model does to images"
    steps = f"number of time-steps T (default: {DIGITS_RECIPE.time_steps}, or {own}; frames of recordings need it)"
    add("--time-steps", type=whole, help=steps, **HIDDEN)
    eps = f"(default: the checkpoint's, or {DIGITS_RECIPE.eps})"
    add("--eps", type=number, help=f"largest change of a pixel (L-infinity); 8/255 is a number {eps}", **HIDDEN)
    add("--flips", type=whole, help="entries of binary event frames that may flip, in the place of eps", **HIDDEN)
    add("--shift", type=whole, help="frames that an event may move in time, in the place of eps", **HIDDEN)
    add("--moved", type=whole, help="events that may move, with --shift (default: any number)", **HIDDEN)
    add("--budget", default="standard", choices=tuple(BUDGETS), help="how much is tried")
    add("--samples", type=whole, help="test samples, every class in its share (default: all)", **HIDDEN)
    add("--batch-size", type=whole, default=64, help="samples to attack at the same time")
    draws = "draws by whose majority a sample is judged, where the encoder is random"
    add("--draws", type=whole, default=ENCODINGS, help=draws)
    encodings = f"encodings that a gradient is averaged over, where the encoder is random (default: {ENCODINGS})"
    add("--eot-samples", type=whole, help=encodings, **HIDDEN)
    counts = "attack event frames all the same, by changing their counts by eps"
    add("--linf-on-counts", action="store_true", help=counts)
    add_device(parser)
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the page and the numbers go, and what is done")
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    check_target(options)
    check_threat(options)
    check_folder("--out", options.out)
    with usage():
        for name in ("samples", "batch_size", "draws", "eot_samples"):
            if hasattr(options, name):
                check_count(name, getattr(options, name))
        recipe = replace(DIGITS_RECIPE, **given(options, ("time_steps",)))
    target = load_target(options, recipe, not options.quiet)
    check_events(options, target)
    x, y = target.data.x_test, target.data.y_test
    if hasattr(options, "samples"):
        part = stratified_part(y, options.samples)
        x, y = x[part], y[part]
    check_range(f"the test data of {target.recipe.title}", x, target.classifier.clip_values, DataError)
    threat = given(options, ("eps", "flips", "shift", "moved")) or {"eps": target.recipe.eps}
    if hasattr(options, "eot_samples") or is_random(target.classifier.model.network):
        target.classifier.eot_samples = getattr(options, "eot_samples", ENCODINGS)
    print(f"{target.title}; {len(x)} test samples, {said(threat)}, budget {options.budget}", flush=True)
    try:
        with usage():
            result = robustness(
                target.classifier,
                x,
                y,
                **threat,
                budget=options.budget,
                batch_size=options.batch_size,
                draws=options.draws,
                linf_on_counts=options.linf_on_counts,
                folder=options.out / "pieces",
                card=_training(target),
                verbose=not options.quiet,
            )
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on with what is done in {options.out}")
        raise
    print(text_summary(result))
    page, *_ = write_report(result, x, options.out, target.name)
    print(f"report: {page}")
    return INVALID if result.verdict is Verdict.INVALID else 0


def check_threat(options: argparse.Namespace) -> None:
    """Raise UsageError where several threats are asked for, or the moved events of none."""
    threats = given(options, ("eps", "flips", "shift"))
    if len(threats) > 1:
        raise UsageError(f"give one of --eps, --flips and --shift, got {' and '.join(map(flag, threats))}")
    if hasattr(options, "moved") and "shift" not in threats:
        raise UsageError("--moved bounds the events that move; give --shift, too")
    with usage():
        for name, value in given(options, ("flips", "shift", "moved")).items():
            check_count(flag(name), value)
        for name, value in given(options, ("eps",)).items():
            check_positive(flag(name), value)


def check_events(options: argparse.Namespace, target: Target) -> None:
    """Raise UsageError where counts of event recordings are to change by eps, whatever a network says of its inputs."""
    if target.recipe.events and not (hasattr(options, "flips") or hasattr(options, "shift") or options.linf_on_counts):
        raise UsageError(
            f"{target.recipe.title} is event frames, whose counts no camera changes by eps: give --flips N, for events "
            "that are added or dropped, or --shift D, for events that move in time; or --linf-on-counts"
        )


def said(threat: dict[str, Any]) -> str:
    """Return the threat in words, such as "eps=0.1"."""
    return ", ".join(f"{name}={value:g}" for name, value in threat.items())


def _training(target: Target) -> dict[str, Any]:
    """Return what the card says of the data and the training."""
    recipe = target.recipe
    card: dict[str, Any] = {"data": recipe.title, "title": target.title}
    if target.epochs is None:
        return card | {"training": "not known"}
    names = ["defence", "rule", "eps", "eps_step", "max_iter", "epochs", "optimizer", "lr", "batch_size", "seed"]
    names += [] if recipe.model is not None else [name for name in OF_ARCHITECTURES if name != "width"]
    trained = ", ".join(f"{name}={getattr(recipe, name)}" for name in names)
    return card | {"training": f"{target.epochs} of {recipe.epochs} epochs; {trained}"}
