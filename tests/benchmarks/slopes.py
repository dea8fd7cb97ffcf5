"""How wide the slopes of HART and STBP should be for an attack of many steps.

``python -m tests.benchmarks.slopes runs/a runs/b --first 0 --count 150`` attacks the networks of checkpoints with PGD
(7 steps of eps / 4, and 50) and `SAPGD` (50 steps) through HART and STBP of several widths, STBP with the reset's
gradient and without, and through the other rules. It prints the robust accuracy in per cent over all networks.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np

from art_snn.attacks import PGD, Attack, SAPGDSpec
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.rules import ASSG, HART, HARTASSG, PDSG, STBP, Annealed, get_rule
from art_snn.rules.base import GradientRule
from art_snn.training import load_data, load_trained, read_checkpoint

WIDTHS = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5)
OTHERS = [
    ASSG(),
    ASSG(sharpness=6.0),
    ASSG(momentum=None),
    HARTASSG(sharpness=5.0),
    HARTASSG(momentum=None),
    Annealed(),
    PDSG(),
    *map(get_rule, ("rga", "bptr", "rate", "cba")),
]


def attacks(eps: float) -> list[Attack]:
    return [
        PGD(eps=eps, steps=7, eps_step=eps / 4),
        PGD(eps=eps, steps=50, eps_step=eps / 4),
        SAPGDSpec(eps=eps, steps=50),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=150)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    targets: list[tuple[PyTorchSNNClassifier, np.ndarray, np.ndarray, float]] = []
    for run in options.runs:
        recipe, classifier = load_trained(read_checkpoint(run), device_type="cpu")
        data, rows = load_data(recipe), slice(options.first, options.first + options.count)
        targets.append((classifier, data.x_test[rows], data.y_test[rows], recipe.eps))
    print("| rule | PGD-7 | PGD-50 | SA-PGD-50 |\n|---|---|---|---|")
    rules: list[GradientRule] = [HART(gamma=width) for width in WIDTHS]
    rules += [STBP(gamma=width, detach_reset=detached) for detached in (False, True) for width in WIDTHS]
    for rule in rules + OTHERS:
        cells = []
        for number in range(3):
            left = []
            for classifier, x, y, eps in targets:
                attack = attacks(eps)[number].make(classifier.with_rule(rule, warn=False), batch_size=64)
                left.append(classifier.predict(attack.generate(x, y)).argmax(1) == y)
            cells.append(f"{100 * np.concatenate(left).mean():.1f}")
        print(f"| `{rule!r}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
