"""Is a network robust whose potentials were pushed away from the threshold?

Defences of this kind are published as robust because fixed surrogate slopes give small gradients where no potential is
near the threshold. ``python -m tests.benchmarks.guarded`` fine-tunes the digits network with and without a penalty on
potentials near the threshold, ``weight * mean(max(0, guard - |u|))`` over all neurons and steps with
``u = (m - threshold) / threshold``, and prints what the HART paper's protocol reports of both, what `robustness()`
leaves (test images 150 to 449, eps 0.1), and McNemar's exact test of the two on the same images.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from typing import Any

import numpy as np
from scipy.stats import binomtest
from torch import nn

from art_snn import PyTorchSNNClassifier, robustness
from art_snn.attacks import PGD
from art_snn.data import Split, load_digits
from art_snn.evaluation import evaluate_rules
from art_snn.rules import PAPER_RULES
from art_snn.training import DIGITS_RECIPE, train_cached
from tests.evaluation.robustness.networks import train_guarded

EPS = 0.1


def tuned(classifier: PyTorchSNNClassifier, data: Split, guard: float, weight: float, epochs: int) -> Any:
    """Return the classifier's network after more epochs with the penalty."""
    network = copy.deepcopy(classifier.model.network)
    train_guarded(network, data, epochs=epochs, guard=guard, weight=weight, lr=1e-3)
    options: dict[str, Any] = {"clip_values": (0, 1), "device_type": "cpu"}
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guard", type=float, default=1.0)
    parser.add_argument("--weight", type=float, default=30.0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--budget", default="standard")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = load_digits()
    base, _ = train_cached(DIGITS_RECIPE, data, device_type="cpu")
    x, y = data.x_test[150:450], data.y_test[150:450]
    print("| network | clean | HART PGD-7 | worst of six rules, PGD-7 | robustness() | verdict |")
    print("|---|---|---|---|---|---|")
    robust = []
    for name, weight in (("plain", 0.0), ("guarded", options.weight)):
        classifier = tuned(base, data, options.guard, weight, options.epochs)
        attack = PGD(eps=EPS, steps=7, eps_step=EPS / 4)
        rows = list(evaluate_rules(classifier, x, y, rules=PAPER_RULES, attacks=[attack], worst=True))
        result = robustness(classifier, x, y, eps=EPS, budget=options.budget)
        protocol = f"{rows[0].robust_accuracy} | {rows[-1].robust_accuracy}"
        print(f"| {name} | {result.clean} | {protocol} | {result.robust_accuracy} | {result.verdict} |", flush=True)
        robust.append(result.robust)
    only = [int((robust[i] & ~robust[1 - i]).sum()) for i in (0, 1)]
    p = binomtest(only[1], sum(only)).pvalue if sum(only) else 1.0
    print(f"robust in the plain one alone {only[0]}, in the guarded one alone {only[1]}, McNemar p = {p:.2g}")
    print(f"{np.mean(robust[1]) - np.mean(robust[0]):+.1%} robust accuracy")


if __name__ == "__main__":
    main()
