"""Does anything beat SA-PGD with ASSG at the same cost?

``python -m tests.benchmarks.equal_cost --tune runs/a runs/b --report runs/a runs/b runs/c`` attacks digits networks of
``art-snn train`` with variants of 200 forward passes a sample. They are compared on test images 0 to 149 of the
networks that ``--tune`` names. The best of them, and the paper's setting with as many and with twice as many steps, are
then run with two seeds on test images 150 to 449 of those that ``--report`` names, with McNemar's exact test.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from art_snn.attacks import APGD, SAPGD
from art_snn.attacks.search import Search
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.rules import ASSG, HARTASSG, Annealed
from art_snn.rules.base import GradientRule
from art_snn.training import load_data, load_trained, read_checkpoint


class Variant(NamedTuple):
    name: str
    rule: GradientRule
    steps: int = 100
    loss: str = "cross-entropy"
    first: float | None = None  # largest step at first, in eps
    attack: type[Search] = SAPGD


PAPER = Variant("ASSG, SA-PGD 100", ASSG())
TWICE = Variant("ASSG, SA-PGD 200", ASSG(), steps=200)
VARIANTS = [
    PAPER,
    Variant("a=2.2", ASSG(sharpness=2.2)),
    Variant("a=4.5", ASSG(sharpness=4.5)),
    Variant("a=6", ASSG(sharpness=6.0)),
    Variant("b=0.8", ASSG(momentum=0.8)),
    Variant("b=0.95", ASSG(momentum=0.95)),
    Variant("b=0.95, a=6", ASSG(momentum=0.95, sharpness=6.0)),
    Variant("rho=0", ASSG(relax=0.0)),
    Variant("margin", ASSG(), loss="margin"),
    Variant("first step eps / 2", ASSG(), first=0.5),
    Variant("first step eps / 2, a=6", ASSG(sharpness=6.0), first=0.5),
    Variant("annealed a=6", Annealed()),
    Variant("HART-ASSG a=5, 160 steps", HARTASSG(sharpness=5.0), steps=160),
    Variant("HART-ASSG a=3.07, 160 steps", HARTASSG(), steps=160),
    Variant("APGD", ASSG(), attack=APGD),
]


class Target(NamedTuple):
    classifier: PyTorchSNNClassifier
    x: np.ndarray
    y: np.ndarray
    eps: float


def targets(runs: Sequence[Path], rows: slice) -> list[Target]:
    found = []
    for run in runs:
        recipe, classifier = load_trained(read_checkpoint(run), device_type="cpu")
        data = load_data(recipe)
        found.append(Target(classifier, data.x_test[rows], data.y_test[rows], recipe.eps))
    return found


def left(variant: Variant, on: Sequence[Target], seed: int = 0) -> tuple[np.ndarray, float]:
    """Return which samples of all targets are left, and the mean cost of a sample."""
    robust, costs = [], []
    for classifier, x, y, eps in on:
        attack = variant.attack(
            classifier.with_rule(variant.rule, warn=False),
            eps=eps,
            steps=variant.steps,
            loss=variant.loss,
            first_step=None if variant.first is None else variant.first * eps,
            seed=seed,
            batch_size=64,
        )
        found = attack.search(x, y)
        robust.append(~found.broken)
        costs.append(found.forwards)
    return np.concatenate(robust), float(np.concatenate(costs).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", nargs="+", type=Path, required=True)
    parser.add_argument("--report", nargs="+", type=Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tuning = targets(options.tune, slice(0, 150))
    print("| variant | left, seeds 0 and 1 | forwards a sample |\n|---|---|---|")
    shares = {}
    for variant in VARIANTS:
        runs = [left(variant, tuning, seed) for seed in (0, 1)]
        shares[variant] = float(np.mean([robust.mean() for robust, _ in runs]))
        told = " / ".join(f"{100 * robust.mean():.1f}" for robust, _ in runs)
        print(f"| {variant.name} | {told} | {runs[0][1]:.0f} |", flush=True)
    best = min((variant for variant in VARIANTS if variant != PAPER), key=lambda variant: shares[variant])
    reporting = targets(options.report, slice(150, 450))
    print("\n| variant | seed | left | forwards a sample | only this / only the paper's, p |\n|---|---|---|---|---|")
    for seed in (0, 1):
        reference, cost = left(PAPER, reporting, seed)
        print(f"| {PAPER.name} | {seed} | {100 * reference.mean():.1f} | {cost:.0f} | |", flush=True)
        for variant in (best, TWICE):
            robust, cost = left(variant, reporting, seed)
            only, other = int((~robust & reference).sum()), int((robust & ~reference).sum())
            p = binomtest(only, only + other).pvalue if only + other else 1.0
            row = f"| {variant.name} | {seed} | {100 * robust.mean():.1f} | {cost:.0f} | {only} / {other}, {p:.2g} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
