"""Time and memory of the gradient rules on the papers' VGG-11 with random weights, all in one run.

Usage: python tests/benchmarks/vgg11.py [--batch 16] [--memory-batch 32] [--time-steps 4,8,16] [--repeat 3]

Prints a row for each number of time-steps and each way to a gradient: seconds (the least of the repeats, in turns,
so that a slow moment of the machine hits all ways alike), the ratio to the no-grad forward, and the memory that the
gradient takes on top of the network (peak of resident memory in a process of its own, less that before the work).
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from tabulate import tabulate
from torch import nn

from art_snn import HART, PyTorchSNNClassifier, SpikingNetwork
from art_snn.engine.unrolling import unroll_rate
from art_snn.snn.models import vgg11

WAYS = ("no-grad forward", "predict (streamed)", "HART by replay", "HART unrolled", "STBP", "plain ART")


def papers_network(time_steps: int) -> SpikingNetwork:
    """Build VGG-11 with random weights and batch norm statistics with which its layers fire."""
    torch.manual_seed(0)
    network = vgg11(time_steps=time_steps)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 32, 32))
        for layer in network.body:
            if isinstance(layer, nn.Linear):  # without batch norm: keep the current in the range of the threshold
                layer.weight.mul_(4)
    return network.eval()


def make_ways(network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return each way to a gradient as a function without arguments."""
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": (3, 32, 32), "nb_classes": 10, "device_type": "cpu"}
    classifier = PyTorchSNNClassifier(network, clip_values=(0, 1), **options)
    stbp = PyTorchSNNClassifier(network, clip_values=(0, 1), gradient_rule="stbp", **options)
    plain = PyTorchClassifier(network, clip_values=(0, 1), **options)
    labels = torch.from_numpy(y)

    def unrolled() -> object:
        leaf = torch.from_numpy(x).requires_grad_()
        logits = unroll_rate(network, network.encode(leaf), HART())
        return torch.autograd.grad(nn.functional.cross_entropy(logits, labels), leaf)[0]

    rows = np.eye(10, dtype=np.float32)[y]
    functions = (
        torch.no_grad()(lambda: network(torch.from_numpy(x))),
        lambda: classifier.predict(x, batch_size=len(x)),
        lambda: classifier.loss_gradient(x, y),
        unrolled,
        lambda: stbp.loss_gradient(x, y),
        lambda: plain.loss_gradient(x, rows),
    )
    return dict(zip(WAYS, functions, strict=True))


def make_data(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images and labels."""
    rng = np.random.default_rng(0)
    return rng.random((batch, 3, 32, 32), dtype=np.float32), rng.integers(0, 10, batch)


def measure_seconds(time_steps: int, batch: int, repeat: int) -> dict[str, float]:
    """Return the least time of each way; the ways take turns."""
    network = papers_network(time_steps)
    ways = make_ways(network, *make_data(batch))
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(repeat + 1):  # the first turn warms up
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    rates = firing_rates(network, *make_data(batch))
    print(f"T={time_steps}: mean firing rate of the layers {min(rates):.3f} to {max(rates):.3f}", file=sys.stderr)
    return best


def firing_rates(network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the mean firing rate of each spiking layer, to show that no layer is silent."""
    from art_snn.engine.recording import record

    with torch.no_grad():
        recording = record(network, network.encode(torch.from_numpy(x)))
    return [float(call.rate.mean()) for calls in recording.layers.values() for call in calls]


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure_memory_here(way: str, time_steps: int, batch: int) -> int:
    """Return the memory in bytes that a way takes on top of the network, in this process."""
    ways = make_ways(papers_network(time_steps), *make_data(batch))
    make_ways(papers_network(1), *make_data(2))[WAYS[0]]()  # load what the first call loads
    before, peak, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    ways[way]()
    done.set()
    watcher.join()
    return max(0, peak - before)


def measure_memory(way: str, time_steps: int, batch: int) -> int:
    """Return the memory in bytes that a way takes on top of the network, in a fresh process."""
    words = [sys.executable, __file__, "--measure", way, "--time-steps", str(time_steps), "--memory-batch", str(batch)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="batch of the timed runs")
    parser.add_argument("--memory-batch", type=int, default=32, help="batch of the memory runs; 0 leaves them out")
    parser.add_argument("--time-steps", default="4,8,16", help="numbers of time-steps")
    parser.add_argument("--repeat", type=int, default=3, help="timed repeats")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    steps = [int(t) for t in options.time_steps.split(",")]
    warnings.simplefilter("error")
    if options.measure:
        print(json.dumps(measure_memory_here(options.measure, steps[0], options.memory_batch)))
        return
    print(
        f"VGG-11, random weights, batch {options.batch} (memory: {options.memory_batch}), torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}"
    )
    table = []
    for time_steps in steps:
        seconds = measure_seconds(time_steps, options.batch, options.repeat)
        for way, value in seconds.items():
            memory = (
                measure_memory(way, time_steps, options.memory_batch) / 2**20 if options.memory_batch else float("nan")
            )
            ratios = (value / seconds["no-grad forward"], value / seconds["HART by replay"])
            table.append([time_steps, way, f"{value:.2f}", *(f"{ratio:.2f}" for ratio in ratios), f"{memory:.0f}"])
    headers = ["T", "way", "seconds", "/ forward", "/ HART by replay", "memory (MiB)"]
    print(tabulate(table, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
