"""What averaging over encodings gives an attack on a Poisson-encoded network.

``python tests/benchmarks/eot.py`` trains a digits network with Poisson encoding (T=8) and prints the robust accuracy
that PGD and AutoPGD leave, by number of encodings, with fresh noise in every call and with common random numbers. It
is the mean of eight predictions with fresh noise, in per cent.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import torch
from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescent
from torch import nn

from art_snn import PoissonEncoder, PyTorchSNNClassifier
from art_snn.data import load_digits
from art_snn.snn.models import digits_net

EPS = 0.1
SAMPLES = (1, 4, 16)
IMAGES = 450


def main() -> None:
    warnings.simplefilter("ignore")
    data = load_digits()
    torch.manual_seed(0)
    network = digits_net(encoder=PoissonEncoder(time_steps=8))
    classifier = PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        (1, 8, 8),
        10,
        optimizer=torch.optim.Adam(network.parameters(), lr=2e-3),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    classifier.fit(data.x_train, data.y_train, batch_size=64, nb_epochs=12)
    x, y = data.x_test[:IMAGES], data.y_test[:IMAGES]

    def accuracy(examples: np.ndarray) -> float:
        return 100 * float(np.mean([(classifier.predict(examples).argmax(1) == y).mean() for _ in range(8)]))

    print(f"clean {accuracy(x):.1f}; {len(x)} images, eps {EPS}, 10 steps")
    print("| encodings | noise | PGD | AutoPGD |\n|---|---|---|---|")
    for count in SAMPLES:
        classifier.eot_samples = count
        for noise in ("fresh", "common"):
            np.random.seed(0)
            with classifier.common_random_numbers() if noise == "common" else nullcontext():
                pgd = ProjectedGradientDescent(
                    classifier, eps=EPS, eps_step=EPS / 4, max_iter=10, batch_size=150, verbose=False
                ).generate(x, y)
                auto = AutoProjectedGradientDescent(
                    classifier, eps=EPS, eps_step=EPS / 4, max_iter=10, nb_random_init=1, batch_size=150, verbose=False
                ).generate(x, y)
            print(f"| {count} | {noise} | {accuracy(pgd):.1f} | {accuracy(auto):.1f} |", flush=True)


if __name__ == "__main__":
    main()
