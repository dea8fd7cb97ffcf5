"""What the paper's protocol reports of a network, and what `robustness()` leaves of it.

``python -m tests.benchmarks.robustness_table runs/a runs/b --out table.csv --first 150 --count 300`` adds a row a
checkpoint of ``art-snn train``: clean accuracy; robust accuracy under HART's PGD as the paper runs it (7 steps of
eps / 4, no random start, gamma 1) and under the worst of the six rules that it compares; and under a budget of
`robustness()`, with its verdict, cost and time. Test samples ``first`` to ``first + count`` are used. Rows that are in
the file stay.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from pathlib import Path

import numpy as np

from art_snn import robustness
from art_snn.attacks import PGD
from art_snn.evaluation import evaluate_rules
from art_snn.rules import PAPER_RULES
from art_snn.training import load_data, load_trained, read_checkpoint


def row(run: Path, options: argparse.Namespace) -> dict[str, object]:
    """Return what was measured of one checkpoint."""
    checkpoint = read_checkpoint(run)
    data = load_data(checkpoint.recipe)
    recipe, classifier = load_trained(checkpoint, device_type="cpu")
    rows = np.arange(options.first, options.first + options.count)
    x, y = data.x_test[rows], data.y_test[rows]
    eps = options.eps or recipe.eps
    attack = PGD(eps=eps, steps=7, eps_step=eps / 4)
    found = list(evaluate_rules(classifier, x, y, rules=PAPER_RULES, attacks=[attack], worst=True))
    start = time.perf_counter()
    folder = options.out.with_suffix("") / run.name
    result = robustness(classifier, x, y, eps=eps, budget=options.budget, folder=folder)
    fired = [flag.name for flag in result.flags if flag.fired]
    return {
        "network": run.name,
        "defence": recipe.defence,
        "T": classifier.model.network.encoder.time_steps,
        "lambda": recipe.decay,
        "eps": round(eps, 5),
        "samples": len(x),
        "clean": result.clean,
        "HART PGD-7": found[0].robust_accuracy,
        "worst of six rules, PGD-7": found[-1].robust_accuracy,
        options.budget: result.robust_accuracy,
        "verdict": result.verdict,
        "fired": "; ".join(fired),
        "last doubling": f"{100 * result.last_doubling:.1f}",
        "forwards": f"{result.forwards.mean():.0f}",
        "seconds": f"{time.perf_counter() - start:.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=150)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--eps", type=float)
    parser.add_argument("--budget", default="standard")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    known = list(csv.DictReader(options.out.open())) if options.out.exists() else []
    for run in options.runs:
        if run.name not in {each["network"] for each in known}:
            known.append({name: str(value) for name, value in row(run, options).items()})
            with options.out.open("w", newline="") as file:
                writer = csv.DictWriter(file, known[0])
                writer.writeheader()
                writer.writerows(known)
        print(known[-1], flush=True)


if __name__ == "__main__":
    main()
