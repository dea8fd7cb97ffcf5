"""What `robustness()` leaves of random networks, beside plain PGD with as many encodings.

``python -m tests.benchmarks.random_encoders`` trains two networks on digits, one with Poisson encoding (T=8), one with
Gaussian noise before each layer of neurons (T=4), and prints the robust accuracy, in per cent, that PGD leaves (30
steps of eps / 10, no random start) through two rules, and *quick* and *standard*. Gradients are averaged over 20
encodings. Examples of PGD are judged by most of 100 draws, as those of `robustness()` are in the end.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from art_snn import ASSG, HART, LIF, PoissonEncoder, PyTorchSNNClassifier, SpikingNetwork, adapt, robustness
from art_snn.attacks import PGD
from art_snn.data import load_digits

EPS, IMAGES, ENCODINGS, DRAWS = 0.1, 100, 20, 100


class Noise(nn.Module):
    """Add Gaussian noise with a standard deviation of 0.3."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.3 * torch.randn_like(x)


class Flat(nn.Module):
    """Put channels and pixels into one axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(-3)


class Noisy(nn.Module):
    """A network over four steps, with noise that nothing outside knows of."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = body(Noise)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.expand(4, *x.shape)
        for layer in self.layers:
            steps = layer(steps) if isinstance(layer, LIF) else layer(steps.flatten(0, 1)).unflatten(0, (4, -1))
        return steps.mean(0)


def body(before: type[nn.Module]) -> nn.Sequential:
    """Return two convolutions with neurons, each behind a layer of another kind, and a linear readout."""
    layers = [nn.Conv2d(1, 16, 3, padding=1), before(), LIF(decay=0.9)]
    layers += [nn.Conv2d(16, 32, 3, padding=1, stride=2), before(), LIF(decay=0.9)]
    return nn.Sequential(*layers, Flat(), nn.Linear(32 * 16, 10))


def trained(name: str) -> PyTorchSNNClassifier:
    torch.manual_seed(0)
    np.random.seed(0)
    poisson = SpikingNetwork(PoissonEncoder(time_steps=8), body(nn.Identity)) if name == "Poisson, T=8" else None
    network = adapt(Noisy(), lambda model, x: model(x)) if poisson is None else poisson
    classifier = PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        (1, 8, 8),
        10,
        optimizer=torch.optim.Adam(network.parameters(), lr=2e-3),
        clip_values=(0, 1),
        device_type="cpu",
    )
    data = load_digits()
    classifier.fit(data.x_train, data.y_train, batch_size=64, nb_epochs=20)
    classifier.eot_samples = ENCODINGS
    return classifier


def main() -> None:
    warnings.simplefilter("ignore")
    data = load_digits()
    x, y = data.x_test[:IMAGES], data.y_test[:IMAGES]
    print("| network | clean | PGD 30, HART | PGD 30, ASSG | quick | standard |\n|---|---|---|---|---|---|")
    for name in ("Poisson, T=8", "noise before neurons, T=4"):
        classifier = trained(name)

        def right(examples: np.ndarray, classifier: PyTorchSNNClassifier = classifier) -> np.ndarray:
            wrong = [classifier.predict(examples, batch_size=64).argmax(1) != y for _ in range(DRAWS)]
            share: np.ndarray = np.mean(wrong, axis=0)
            return share <= 1 / 2

        cells = [f"{100 * right(x).mean():.1f}"]
        for rule in (HART(), ASSG()):
            attack = PGD(eps=EPS, eps_step=EPS / 10, steps=30).make(classifier.with_rule(rule, warn=False))
            cells.append(f"{100 * (right(x) & right(attack.generate(x, y))).mean():.1f}")
        for budget in ("quick", "standard"):
            start = time.perf_counter()
            result = robustness(classifier, x, y, eps=EPS, budget=budget)
            late = result.stages[-1].broken
            seconds = time.perf_counter() - start
            cells.append(f"{100 * result.robust_accuracy.value:.1f}, {result.verdict} ({late} late, {seconds:.0f} s)")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
