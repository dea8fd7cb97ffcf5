"""What ART's attacks do to inputs outside the clip values.

``python -m tests.benchmarks.clip_values`` shows the trained digits network 100 digits that are normalised to values
from -2 to 2, with the normalisation undone inside. It prints by how much each attack of ART changes the entries outside
(0, 1) where these are the clip values, and the share of wrong answers, also with the clip values that fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from art.attacks.evasion import (
    AutoProjectedGradientDescent,
    BasicIterativeMethod,
    DeepFool,
    FastGradientMethod,
    ProjectedGradientDescent,
    SquareAttack,
)
from torch import nn

from art_snn import DirectEncoder, Normalize, PyTorchSNNClassifier, SpikingNetwork
from art_snn.data import load_digits
from art_snn.training import DIGITS_RECIPE, train_cached

EPS = 0.4  # 0.1 in units of the images
STEPS: dict[str, Any] = {"eps": EPS, "eps_step": EPS / 4, "verbose": False}
ATTACKS: dict[str, Callable[[Any], Any]] = {
    "FGSM": lambda c: FastGradientMethod(c, eps=EPS),
    "PGD": lambda c: ProjectedGradientDescent(c, max_iter=10, **STEPS),
    "BIM": lambda c: BasicIterativeMethod(c, max_iter=10, **STEPS),
    "Auto-PGD": lambda c: AutoProjectedGradientDescent(c, max_iter=10, nb_random_init=1, **STEPS),
    "Square": lambda c: SquareAttack(c, eps=EPS, max_iter=100, verbose=False),
    "DeepFool": lambda c: DeepFool(c, max_iter=20, verbose=False),
}


def main() -> None:
    warnings.simplefilter("ignore")
    data = load_digits()
    trained, _ = train_cached(DIGITS_RECIPE, data, device_type="cpu")
    body = nn.Sequential(Normalize([-2.0], [4.0]), trained.model.network.body)
    network = SpikingNetwork(DirectEncoder(time_steps=DIGITS_RECIPE.time_steps), body)
    x, y = 4 * data.x_test[:100] - 2, data.y_test[:100]

    def classifier(low: float, high: float) -> PyTorchSNNClassifier:
        return PyTorchSNNClassifier(
            network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(low, high), device_type="cpu"
        )

    def wrong(examples: np.ndarray) -> float:
        return 100 * float((fitting.predict(examples).argmax(1) != y).mean())

    narrow, fitting = classifier(0, 1), classifier(-2, 2)
    outside = (x < 0) | (x > 1)
    print(f"{len(x)} digits, eps {EPS}, {100 * outside.mean():.0f} % outside; wrong answers: {wrong(x):.0f} % without")
    print(f"an attack, {wrong(x.clip(0, 1)):.0f} % after clipping alone")
    print("| attack | towards (0, 1) | least | median | most | outside afterwards | wrong | clip values that fit |")
    print("|---|---|---|---|---|---|---|---|")
    for name, make in ATTACKS.items():
        made = []
        for victim in (narrow, fitting):
            torch.manual_seed(0)
            np.random.seed(0)
            made.append(make(victim).generate(x, y))
        towards = np.where(x > 1, x - made[0], made[0] - x)[outside]
        ends = made[0][outside]
        sizes = " | ".join(f"{size:.2f}" for size in np.quantile(towards, [0, 0.5, 1]))
        left = 100 * ((ends < 0) | (ends > 1)).mean()
        print(
            f"| {name} | {100 * (towards > 0).mean():.0f} % | {sizes} | {left:.0f} % | {wrong(made[0]):.0f} % "
            f"| {wrong(made[1]):.0f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
