"""A training step of the small VGG, in no-grad forward passes of the same batch, all in one run.

Usage: python tests/benchmarks/training.py [--batch 64] [--time-steps 4] [--width 16] [--repeat 5]

Prints seconds of a step (the least of the repeats; the ways take turns), and the ratio to the network's own forward
pass. First come the defences, as recipes train with them; then a plain step without what makes it fast, a layer of
neurons as one node through time and the layout with the channels last. Gradients of the plain ways are compared first,
in float64: in float32, sums in another order flip spikes that are close to the threshold. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn

from art_snn import LIF, PyTorchSNNClassifier, SpikingNetwork
from art_snn.errors import GradientWarning, InexactReplayWarning
from art_snn.snn.dynamics import integrate
from art_snn.snn.surrogates import spike
from art_snn.training.build import make_classifier
from art_snn.training.losses import DEFENCES
from art_snn.training.recipe import Recipe

FORWARD = "no-grad forward"


class Way(NamedTuple):
    """How a step is taken; as recipes do if nothing is said."""

    defence: str = "none"
    one_node: bool = True
    layout: torch.memory_format = torch.channels_last


WAYS = {
    "plain": Way(),
    "FGSM": Way("fgsm"),
    "PGD-3": Way("madry-pgd"),
    "TRADES": Way("trades"),
    "plain, channels first": Way(layout=torch.contiguous_format),
    "plain, step by step": Way(one_node=False),
    "plain, step by step, channels first": Way(one_node=False, layout=torch.contiguous_format),
}


def step_by_step(neuron: LIF, current_seq: Tensor) -> Tensor:
    """Run a neuron as `integrate` states it, every operation a node of the graph."""
    return integrate(current_seq, neuron.params, lambda distance: spike(distance, neuron.surrogate))


@contextmanager
def neurons_of(network: SpikingNetwork, one_node: bool) -> Iterator[None]:
    """Let the neurons run step by step inside the block, unless ``one_node``."""
    neurons = [] if one_node else [module for module in network.modules() if isinstance(module, LIF)]
    for neuron in neurons:
        neuron.forward = partial(step_by_step, neuron)
    try:
        yield
    finally:
        for neuron in neurons:
            del neuron.forward


def classifier_of(recipe: Recipe, way: Way) -> PyTorchSNNClassifier:
    """Return the untrained classifier of a recipe, the same weights for each way, in its layout."""
    torch.manual_seed(0)
    classifier = make_classifier(recipe, (3, 32, 32), 10, "cpu")
    classifier.model.to(memory_format=way.layout)
    return classifier


def gradients(recipe: Recipe, way: Way, x: np.ndarray, y: np.ndarray) -> list[Tensor]:
    """Return the gradients of all weights in a plain step, float64."""
    network = classifier_of(recipe, way).model.network.train().double()
    with neurons_of(network, way.one_node):
        loss = nn.functional.cross_entropy(network(torch.from_numpy(x).double()), torch.from_numpy(y))
        return list(torch.autograd.grad(loss, list(network.parameters())))


def make_step(recipe: Recipe, way: Way, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """Return a function that takes a step of training."""
    classifier = classifier_of(recipe, way)
    optimizer: Any = classifier.optimizer

    def step() -> None:
        with neurons_of(classifier.model.network, way.one_node):
            loss, _ = DEFENCES[way.defence](classifier, x, y, recipe.loss_settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def make_forward(recipe: Recipe, x: np.ndarray) -> Callable[[], Tensor]:
    """Return a function that runs the network forwards."""
    network, images = classifier_of(recipe, Way()).model.network, torch.from_numpy(x)
    return torch.no_grad()(lambda: network(images))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--time-steps", type=int, default=4, help="T")
    parser.add_argument("--width", type=int, default=16, help="channels of the first layer")
    parser.add_argument("--repeat", type=int, default=5, help="timed repeats")
    options = parser.parse_args()
    warnings.simplefilter("ignore", GradientWarning)  # without training, some gradients are zero
    warnings.simplefilter("error", InexactReplayWarning)  # what is measured would be something else
    recipe = Recipe(
        data="cifar10", architecture="vgg_small", width=options.width, time_steps=options.time_steps, eps=8 / 255
    )
    rng = np.random.default_rng(1)
    x, y = rng.random((options.batch, 3, 32, 32), dtype=np.float32), rng.integers(0, 10, options.batch)
    exact = [gradients(recipe, way, x[:8], y[:8]) for way in WAYS.values() if way.defence == "none"]
    for found in exact[1:]:
        torch.testing.assert_close(found, exact[0], rtol=1e-9, atol=1e-12)
    steps: dict[str, Callable[[], object]] = {FORWARD: make_forward(recipe, x)}
    steps |= {name: make_step(recipe, way, x, y) for name, way in WAYS.items()}
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(options.repeat + 1):  # the first turn warms up
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    print(
        f"vgg_small, width {options.width}, T={options.time_steps}, batch {options.batch}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    rows = [[name, f"{seconds:.3f}", f"{seconds / best[FORWARD]:.2f}"] for name, seconds in best.items()]
    print(tabulate(rows, headers=["step", "seconds", "/ forward"], tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
