"""Does any attack of ART break what `robustness()` leaves?

``python -m tests.benchmarks.beyond_plus runs/a --first 150 --count 150 --budget plus`` runs ART's AutoAttack through
every rule on the samples that the budget leaves, made of AutoPGD with cross-entropy and with the difference of logits
(100 steps each), and Square with 1,000 queries, whose attacks need no rule. It prints how many of them each breaks.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from art.attacks.evasion import AutoAttack, AutoProjectedGradientDescent, SquareAttack

from art_snn import robustness, rule_names
from art_snn.evaluation.outcomes import allowed_examples
from art_snn.training import load_data, load_trained, read_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--first", type=int, default=150)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--budget", default="plus")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for run in options.runs:
        recipe, classifier = load_trained(read_checkpoint(run), device_type="cpu")
        data, rows = load_data(recipe), slice(options.first, options.first + options.count)
        x, y, eps = data.x_test[rows], data.y_test[rows], recipe.eps
        result = robustness(classifier, x, y, eps=eps, budget=options.budget)
        print(f"{run.name}: {result}, {result.forwards.mean():.0f} forwards a sample", flush=True)
        x, y = x[result.robust], y[result.robust]
        if not len(x):
            continue

        def broken(made: np.ndarray, x: np.ndarray = x, y: np.ndarray = y, eps: float = eps) -> int:
            good = allowed_examples(x, made, eps, classifier.clip_values)  # noqa: B023  (called in this turn)
            return int((good & (classifier.predict(made).argmax(1) != y)).sum())  # noqa: B023

        for rule in rule_names():
            view = classifier.with_rule(rule, warn=False)
            np.random.seed(0)
            options_of_both = {"eps": eps, "eps_step": 2 * eps, "max_iter": 100, "nb_random_init": 1}
            parts = [
                AutoProjectedGradientDescent(view, loss_type=loss, batch_size=len(x), verbose=False, **options_of_both)
                for loss in ("cross_entropy", "difference_logits_ratio")
            ]
            auto = AutoAttack(view, eps=eps, eps_step=2 * eps, attacks=parts, batch_size=len(x))
            print(f"  {rule}: AutoAttack {broken(auto.generate(x, y))} of {len(x)}", flush=True)
        square = SquareAttack(classifier, eps=eps, max_iter=1000, p_init=0.5, batch_size=len(x), verbose=False)
        print(f"  Square 1000: {broken(square.generate(x, y))} of {len(x)}", flush=True)


if __name__ == "__main__":
    main()
