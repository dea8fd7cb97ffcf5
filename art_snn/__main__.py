"""The command line: ``art-snn`` or ``python -m art_snn``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import torch
from tqdm.auto import tqdm

import art_snn
from art_snn.data import load_digits
from art_snn.digits import DigitsRecipe, trained_digits_classifier
from art_snn.evaluation import ATTACKS, evaluate_rules
from art_snn.report import plot, text_table, write_csv, write_json
from art_snn.rules import HART, get_rule, rule_names
from art_snn.types import GradientRule

PLOT_FORMATS = (".png", ".svg", ".pdf")


class UsageError(ValueError):
    """An option's value is wrong; the message is one line for the user."""


class _OneLineParser(argparse.ArgumentParser):
    """Say what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the command's name; the process's own by default.

    Returns:
        Exit code: 0 for success, 2 for a wrong option, 130 if the user stopped it.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = _parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except UsageError as error:
        print(f"art-snn {options.command}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"art-snn {options.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(prog="art-snn", description="Robustness of spiking neural networks with ART.")
    parser.add_argument("--version", action="version", version=f"art-snn {art_snn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    evaluate = commands.add_parser(
        "evaluate",
        help="attack a spiking network through every gradient rule",
        description="Train a spiking network on scikit-learn's digits (or take it from the cache), attack it with ART "
        "through each gradient rule, and print clean accuracy, attack success rate (ASR) and robust accuracy with "
        "95 % confidence intervals.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = evaluate.add_argument
    add("--rules", default=",".join(rule_names()), help="gradient rules, separated by commas")
    add("--attacks", default=",".join(ATTACKS), help="attacks, separated by commas")
    add("--eps", type=_number, default=0.1, help="largest change of a pixel (L-infinity); pixels are in [0, 1]")
    add("--gamma", type=_number, default=1.0, help="gamma of HART")
    add("--decay", type=_number, default=0.9, help="membrane retention lambda, in (0, 1]; 1 is IF")
    add("--time-steps", type=_whole, default=8, help="number of time-steps T")
    add("--reset", default="hard", help="'hard' or 'soft'")
    add("--seed", type=_whole, default=0, help="seed of weights and batches")
    device = "gpu" if torch.cuda.is_available() else "cpu"
    add("--device", default=device, help="'gpu' (falls back to the CPU) or 'cpu'")
    add("--json", type=Path, metavar="FILE", help="write settings and rows here as JSON")
    add("--csv", type=Path, metavar="FILE", help="write rows here as CSV")
    add("--plot", type=Path, metavar="FILE", help="draw the rows here (.png, .svg or .pdf)")
    add("--quiet", action="store_true", help="no progress bars")
    return parser


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _evaluate(options: argparse.Namespace) -> int:
    rules, attacks, recipe = _checked(options)
    data = load_digits()
    verbose = not options.quiet
    classifier, cached = trained_digits_classifier(recipe, data, device_type=options.device, verbose=verbose)
    source = "from the cache" if cached else "trained now"
    print(
        f"digits SNN ({source}): T={recipe.time_steps}, lambda={recipe.decay:g}, {recipe.reset} reset, seed "
        f"{recipe.seed}; {len(data.x_test)} test images, eps={options.eps:g}",
        flush=True,
    )
    work = evaluate_rules(classifier, data.x_test, data.y_test, rules=rules, attacks=attacks, eps=options.eps)
    rows = list(
        tqdm(work, total=len(rules) * len(attacks), desc="Attacking", unit="attack", disable=not verbose, leave=False)
    )
    print(text_table(rows))
    settings = _settings(options, recipe, rules)
    if options.json:
        write_json(rows, settings, options.json)
    if options.csv:
        write_csv(rows, options.csv)
    if options.plot:
        title = f"digits, T={recipe.time_steps}, λ={recipe.decay:g}, {recipe.reset} reset, ε={options.eps:g}"
        plot(rows, title, options.plot)
    return 0


def _checked(options: argparse.Namespace) -> tuple[list[GradientRule], list[str], DigitsRecipe]:
    """Return what the options mean; raise UsageError before any work is done."""
    try:
        recipe = DigitsRecipe(
            time_steps=options.time_steps, decay=options.decay, reset=options.reset, seed=options.seed
        )
        hart = HART(gamma=options.gamma)
        rules = [hart if name == hart.name else get_rule(name) for name in _names(options.rules, "--rules")]
    except ValueError as error:
        raise UsageError(str(error)) from None
    attacks = _names(options.attacks, "--attacks")
    for name in attacks:
        if name not in ATTACKS:
            raise UsageError(f"unknown attack {name!r}; known: {', '.join(ATTACKS)}")
    if not 0 < options.eps < float("inf"):
        raise UsageError(f"--eps must be a finite number > 0, got {options.eps:g}")
    if options.device not in ("gpu", "cpu"):
        raise UsageError(f"--device must be 'gpu' or 'cpu', got {options.device!r}")
    if options.plot and options.plot.suffix not in PLOT_FORMATS:
        raise UsageError(f"--plot must end in {', '.join(PLOT_FORMATS)}, got {str(options.plot)!r}")
    for name in ("json", "csv", "plot"):
        _check_writable(f"--{name}", getattr(options, name))
    return rules, attacks, recipe


def _names(text: str, option: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{option} names nothing")
    return list(dict.fromkeys(names))


def _check_writable(option: str, path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{option} {str(path)!r} is a folder; name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {str(path)!r}: the folder {str(path.parent)!r} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option} {str(path)!r}: the folder {str(path.parent)!r} is not writable")


def _settings(options: argparse.Namespace, recipe: DigitsRecipe, rules: Sequence[GradientRule]) -> dict[str, Any]:
    return {
        "data": "scikit-learn digits, test split",
        **asdict(recipe),
        "eps": options.eps,
        "rules": [repr(rule) for rule in rules],
        "gamma_chosen": "given, not tuned",
        "confidence": 0.95,
        "versions": {
            "art_snn": art_snn.__version__,
            "adversarial-robustness-toolbox": version("adversarial-robustness-toolbox"),
            "torch": torch.__version__,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
