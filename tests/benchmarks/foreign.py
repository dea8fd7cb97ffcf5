"""snnTorch networks of its tutorials: what plain ART's PGD and HART's find on them, and what a gradient costs.

``pip install ".[snntorch]"``, then ``python tests/benchmarks/foreign.py [--samples 437] [--epochs 10] [--seed 0]``.
Each network is trained on digits by its own loop, with its own surrogate. PGD takes 7 steps with eps = 0.1. The success
is the share of the answers that are right before, with its number n. Times are medians of 15 gradients at batch 32,
each divided by the forward pass without a graph that was taken just before it.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import snntorch as snn
import torch
from art.attacks.evasion import ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier
from snntorch import surrogate, utils
from torch import Tensor, nn

from art_snn import PyTorchSNNClassifier, adapt
from art_snn.data import load_digits
from tests.adapters.snntorch_networks import FullyConnected, population, potential_sum, spike_sum

Forward = Callable[[nn.Module, Tensor], Tensor]


def fully_connected(outputs: int = 10, time_steps: int = 25) -> nn.Module:
    return FullyConnected(100, outputs, time_steps=time_steps)


def convolutional() -> nn.Sequential:
    """Tutorial 6: layers that keep their state, and a loop outside."""
    options: dict[str, Any] = {"beta": 0.5, "spike_grad": surrogate.fast_sigmoid(slope=25), "init_hidden": True}
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(**options),
        nn.Conv2d(12, 32, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(**options),
        nn.Flatten(),
        nn.Linear(128, 10),
        snn.Leaky(**options, output=True),
    )


def spikes_of_the_loop(net: nn.Module, x: Tensor) -> Tensor:
    utils.reset(net)
    return torch.stack([net(x)[0] for _ in range(25)]).sum(0)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Forward]] = {
    "fully connected, sum of spikes": (fully_connected, spike_sum),
    "fully connected, sum of potentials": (fully_connected, potential_sum),
    "convolutional, sum of spikes": (convolutional, spikes_of_the_loop),
    "population, 50 outputs a class, T=1": (lambda: fully_connected(outputs=500, time_steps=1), population),
    "population, 50 outputs a class, T=5": (lambda: fully_connected(outputs=500, time_steps=5), population),
}


class Plain(nn.Module):
    """What people give to ART's `PyTorchClassifier`."""

    def __init__(self, net: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.net, self.run = net, forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.net, x)


def train(net: nn.Module, forward: Forward, x: Tensor, y: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(forward(net, x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def success(classifier: PyTorchClassifier, judge: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of samples, all right before, that PGD with a classifier's gradient makes wrong."""
    np.random.seed(0)
    attack = ProjectedGradientDescent(
        classifier, eps=0.1, eps_step=0.025, max_iter=7, batch_size=128, targeted=False, verbose=False
    )
    return float((judge.predict(attack.generate(x, y)).argmax(1) != y).mean())


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def costs(net: nn.Module, forward: Forward, classifiers: list[PyTorchClassifier], x: np.ndarray) -> list[float]:
    """Return the time of each classifier's gradient, in forward passes without a graph."""
    labels = np.eye(10, dtype=np.float32)[classifiers[0].predict(x).argmax(1)]

    def native() -> None:
        with torch.no_grad():
            forward(net, torch.tensor(x))

    ratios: list[list[float]] = [[] for _ in classifiers]
    for turn in range(18):
        for classifier, found in zip(classifiers, ratios, strict=True):
            base = seconds(native)
            ratio = seconds(lambda classifier=classifier: classifier.loss_gradient(x, labels)) / base
            if turn >= 3:  # the first ones look at the network
                found.append(ratio)
    return [statistics.median(found) for found in ratios]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=437)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="networks whose name begins so")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    data = load_digits()
    print("| network | accuracy | n | ASR, own gradient | ASR, HART | HART / forward | own / forward | path |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (make, forward) in NETWORKS.items():
        if not name.startswith(options.only):
            continue
        torch.manual_seed(options.seed)
        net = make()
        train(net, forward, torch.tensor(data.x_train), torch.tensor(data.y_train), options.epochs)
        net.eval()
        settings: dict[str, Any] = {"loss": nn.CrossEntropyLoss(), "input_shape": (1, 8, 8), "nb_classes": 10}
        settings |= {"clip_values": (0, 1), "device_type": "cpu"}
        hart = PyTorchSNNClassifier(adapt(net, forward, time_steps=1 if "T=1" in name else None), **settings)
        plain = PyTorchClassifier(Plain(net, forward).eval(), **settings)
        right = hart.predict(data.x_test).argmax(1) == data.y_test
        x, y = data.x_test[right][: options.samples], data.y_test[right][: options.samples]
        own, ours = success(plain, hart, x, y), success(hart, hart, x, y)
        of_hart, of_own = costs(net, forward, [hart, plain], x[:32])
        print(
            f"| {name} | {right.mean():.3f} | {len(x)} | {own:.2f} | {ours:.2f} | {of_hart:.1f} | {of_own:.1f} "
            f"| {hart.gradient_path} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
