"""``art-snn evaluate``: attack a spiking network through every gradient rule."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm.auto import tqdm

import art_snn
from art_snn.attacks import FGSM, PGD, Attack, attack_names, make_attack
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.commands.options import (
    OneLineParser,
    add_device,
    check_device,
    check_eps,
    check_writable,
    names,
    number,
    whole,
)
from art_snn.data import Split, load_digits
from art_snn.errors import UsageError
from art_snn.evaluation import evaluate_rules
from art_snn.evaluation.report import plot, text_table, write_csv, write_json
from art_snn.rules import HART, get_rule, rule_names
from art_snn.rules.base import GradientRule
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import DIGITS_RECIPE, Recipe
from art_snn.training.run import load_data, load_trained, train_cached

PLOT_FORMATS = (".png", ".svg", ".pdf")
# Settings of the network, which a checkpoint has already.
NETWORK = ("decay", "time_steps", "reset", "seed")


class _Target(NamedTuple):
    """What is attacked."""

    classifier: PyTorchSNNClassifier
    data: Split
    settings: dict[str, Any]
    headline: str
    title: str
    gamma: float


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser: OneLineParser = commands.add_parser(
        "evaluate",
        help="attack a spiking network through every gradient rule",
        description="Train a spiking network on scikit-learn's digits (or take it from the cache, or from a checkpoint "
        "of art-snn train), attack it with ART through each gradient rule, and print clean accuracy, attack success "
        "rate (ASR) and robust accuracy with 95 % confidence intervals.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    own: Any = {"default": argparse.SUPPRESS}
    recipe = DIGITS_RECIPE
    add("--checkpoint", type=Path, metavar="FOLDER", help="evaluate this run, or checkpoint, of art-snn train")
    add("--rules", default=",".join(rule_names()), help="gradient rules, separated by commas")
    add(
        "--attacks",
        default=f"{FGSM.name},{PGD.name}",
        help=f"attacks, separated by commas: {', '.join(attack_names())}",
    )
    add("--eps", type=number, default=0.1, help="largest change of a pixel (L-infinity); pixels are in [0, 1]")
    add("--gamma", type=number, help=f"gamma of HART (default: the checkpoint's, or {HART().gamma} for digits)", **own)
    add("--decay", type=number, help=f"membrane retention lambda, in (0, 1]; 1 is IF (default: {recipe.decay})", **own)
    add("--time-steps", type=whole, help=f"number of time-steps T (default: {recipe.time_steps})", **own)
    add("--reset", help=f"'hard' or 'soft' (default: {recipe.reset})", **own)
    add("--seed", type=whole, help=f"seed of weights and batches (default: {recipe.seed})", **own)
    add_device(parser)
    add("--json", type=Path, metavar="FILE", help="write settings and rows here as JSON")
    add("--csv", type=Path, metavar="FILE", help="write rows here as CSV")
    add("--plot", type=Path, metavar="FILE", help="draw the rows here (.png, .svg or .pdf)")
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    chosen, attacks = _checked(options)
    verbose = not options.quiet
    target = _from_checkpoint(options, verbose) if options.checkpoint else _from_cache(options, verbose)
    rules = _rules(chosen, getattr(options, "gamma", target.gamma))
    print(f"{target.headline}; {len(target.data.x_test)} test images, eps={options.eps:g}", flush=True)
    work = evaluate_rules(target.classifier, target.data.x_test, target.data.y_test, rules=rules, attacks=attacks)
    rows = list(
        tqdm(work, total=len(rules) * len(attacks), desc="Attacking", unit="attack", disable=not verbose, leave=False)
    )
    print(text_table(rows))
    if options.json:
        write_json(rows, _settings(options, target, rules), options.json)
    if options.csv:
        write_csv(rows, options.csv)
    if options.plot:
        plot(rows, f"{target.title}, ε={options.eps:g}", options.plot)
    return 0


def _checked(options: argparse.Namespace) -> tuple[list[str], list[Attack]]:
    """Return the names of rules and attacks; raise UsageError before any work is done."""
    try:
        if not options.checkpoint:
            _recipe(options)
        rules = names(options.rules, "--rules")
        _rules(rules, getattr(options, "gamma", HART().gamma))
    except ValueError as error:
        raise UsageError(str(error)) from None
    chosen = names(options.attacks, "--attacks")
    check_eps(options.eps)
    try:
        attacks = [make_attack(name, eps=options.eps) for name in chosen]
    except ValueError as error:
        raise UsageError(str(error)) from None
    check_device(options.device)
    if options.plot and options.plot.suffix not in PLOT_FORMATS:
        raise UsageError(f"--plot must end in {', '.join(PLOT_FORMATS)}, got {str(options.plot)!r}")
    for name in ("json", "csv", "plot"):
        check_writable(f"--{name}", getattr(options, name))
    if options.checkpoint:
        given = [f"--{name.replace('_', '-')}" for name in NETWORK if hasattr(options, name)]
        if given:
            raise UsageError(f"{given[0]} contradicts --checkpoint, which has its own; leave it out")
    return rules, attacks


def _rules(chosen: Sequence[str], gamma: float) -> list[GradientRule]:
    hart = HART(gamma=gamma)
    return [hart if name == hart.name else get_rule(name) for name in chosen]


def _recipe(options: argparse.Namespace) -> Recipe:
    return replace(DIGITS_RECIPE, **{name: getattr(options, name) for name in NETWORK if hasattr(options, name)})


def _from_cache(options: argparse.Namespace, verbose: bool) -> _Target:
    recipe, data = _recipe(options), load_digits()
    classifier, cached = train_cached(recipe, data, device_type=options.device, verbose=verbose)
    shape = f"T={recipe.time_steps}, lambda={recipe.decay:g}, {recipe.reset} reset"
    source = "from the cache" if cached else "trained now"
    settings = asdict(recipe)
    title = f"digits, {shape.replace('lambda', 'λ')}"
    return _Target(
        classifier, data, settings, f"digits SNN ({source}): {shape}, seed {recipe.seed}", title, HART().gamma
    )


def _from_checkpoint(options: argparse.Namespace, verbose: bool) -> _Target:
    checkpoint = read_checkpoint(options.checkpoint)
    recipe, classifier = load_trained(checkpoint, device_type=options.device)
    data = load_data(recipe, verbose=verbose)
    shape = f"T={recipe.time_steps}, lambda={recipe.decay:g}, {recipe.reset} reset"
    source = f"{recipe.defence}, eps {recipe.eps:g}, {checkpoint.epoch} of {recipe.epochs} epochs"
    settings = {**asdict(recipe), "trained_epochs": checkpoint.epoch}
    title = f"{Path(recipe.data).name}, {recipe.defence}, {shape.replace('lambda', 'λ')}"
    return _Target(classifier, data, settings, f"{Path(recipe.data).name} SNN ({source}): {shape}", title, recipe.gamma)


def _settings(options: argparse.Namespace, target: _Target, rules: Sequence[GradientRule]) -> dict[str, Any]:
    return {
        **target.settings,
        "eps": options.eps,
        "rules": [repr(rule) for rule in rules],
        "gamma_chosen": f"{'given' if hasattr(options, 'gamma') else 'by default'}, not tuned",
        "confidence": 0.95,
        "versions": {
            "art_snn": art_snn.__version__,
            "adversarial-robustness-toolbox": version("adversarial-robustness-toolbox"),
            "torch": torch.__version__,
        },
    }
