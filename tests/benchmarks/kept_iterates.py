"""What keeping iterates, and another optimiser, give an attack.

``python -m tests.benchmarks.kept_iterates`` attacks the digits network with 50 steps through several rules: ART's PGD
and Auto-PGD, and `SAPGD` and `APGD` with either loss. It prints robust accuracy in per cent, and what the last two cost
in forward passes a sample. ART's attacks take a gradient a step, Auto-PGD one or two losses more.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescent

from art_snn.attacks import APGD, SAPGD
from art_snn.data import load_digits
from art_snn.rules import HART, STBP
from art_snn.training import DIGITS_RECIPE, train_cached

EPS, STEPS, IMAGES = 0.1, 50, 450
RULES = (HART(gamma=0.4), HART(), STBP(gamma=0.5, detach_reset=True), STBP())
OWN = [(attack, loss) for attack in (SAPGD, APGD) for loss in ("cross-entropy", "margin")]


def main() -> None:
    warnings.simplefilter("ignore")
    data = load_digits()
    classifier, _ = train_cached(DIGITS_RECIPE, data, device_type="cpu")
    x, y = data.x_test[:IMAGES], data.y_test[:IMAGES]

    def left(examples: np.ndarray) -> str:
        return f"{100 * (classifier.predict(examples).argmax(1) == y).mean():.1f}"

    print(f"clean {left(x)}; {len(x)} images, eps {EPS}, {STEPS} steps")
    titles = ["PGD of ART", "Auto-PGD of ART", *(f"{attack.__name__}, {loss}" for attack, loss in OWN)]
    print(f"| rule | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 1)}")
    for rule in RULES:
        view = classifier.with_rule(rule)
        np.random.seed(0)
        pgd = ProjectedGradientDescent(view, eps=EPS, eps_step=EPS / 4, max_iter=STEPS, verbose=False)
        auto = AutoProjectedGradientDescent(
            view, eps=EPS, eps_step=2 * EPS, max_iter=STEPS, nb_random_init=1, verbose=False
        )
        made: list[Callable[..., np.ndarray]] = [pgd.generate, auto.generate]
        cells = [left(generate(x, y)) for generate in made]
        for attack, loss in OWN:
            found = attack(view, eps=EPS, steps=STEPS, loss=loss).search(x, y)
            cells.append(f"{left(found.x_adv)} ({found.forwards.mean():.0f})")
        print(f"| `{rule!r}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
