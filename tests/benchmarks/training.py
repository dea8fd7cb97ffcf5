"""A training step of the small VGG: what one node through time and the layout in memory save, in one run.

Usage: python tests/benchmarks/training.py [--batch 64] [--time-steps 4] [--repeat 5]

Prints seconds of a step (the least of the repeats; the ways take turns), and the ratio to the first way. Gradients of
all ways are compared first, in float64: in float32, sums in another order flip spikes that are close to the threshold.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from tabulate import tabulate
from torch import Tensor, nn

from art_snn import LIF, SpikingNetwork
from art_snn.snn.dynamics import integrate
from art_snn.snn.models import vgg_small
from art_snn.snn.surrogates import spike

WAYS = {
    "step by step, channels first": (False, torch.contiguous_format),
    "step by step, channels last": (False, torch.channels_last),
    "one node, channels first": (True, torch.contiguous_format),
    "one node, channels last": (True, torch.channels_last),
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


def make_step(way: str, time_steps: int, x: Tensor, y: Tensor) -> Callable[[], list[Tensor]]:
    """Return a function that takes gradients of all weights."""
    one_node, layout = WAYS[way]
    torch.manual_seed(0)
    network = vgg_small(time_steps=time_steps).to(x.dtype, memory_format=layout)

    def step() -> list[Tensor]:
        with neurons_of(network, one_node):
            loss = nn.functional.cross_entropy(network(x), y)
            return list(torch.autograd.grad(loss, list(network.parameters())))

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--time-steps", type=int, default=4, help="T")
    parser.add_argument("--repeat", type=int, default=5, help="timed repeats")
    options = parser.parse_args()
    torch.manual_seed(1)
    x, y = torch.rand(options.batch, 3, 32, 32), torch.randint(0, 10, (options.batch,))
    exact = [make_step(way, options.time_steps, x[:8].double(), y[:8])() for way in WAYS]
    for found in exact[1:]:
        torch.testing.assert_close(found, exact[0], rtol=1e-9, atol=1e-12)
    steps = {way: make_step(way, options.time_steps, x, y) for way in WAYS}
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(options.repeat):
        for way, step in steps.items():
            start = time.perf_counter()
            step()
            best[way] = min(best[way], time.perf_counter() - start)
    first = next(iter(best.values()))
    print(f"vgg_small, T={options.time_steps}, batch {options.batch}, {torch.get_num_threads()} threads")
    rows = [[way, f"{seconds:.3f}", f"{seconds / first:.2f}"] for way, seconds in best.items()]
    print(tabulate(rows, headers=["way", "seconds a step", "/ first"], tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
