"""Time and memory of the gradient rules on the papers' VGG-11 with random weights, all in one run.

On a GPU: ``python tests/benchmarks/vgg11.py --device gpu``. On the CPU, on an idle machine:
``python tests/benchmarks/vgg11.py [--batch 16] [--memory-batch 32] [--time-steps 4,8,16] [--repeat 3] [--threads 2]``.

Prints a row for each number of time-steps and each way to a gradient: seconds (the least of the repeats, in turns,
so that a slow moment of the machine hits all ways alike), the ratios to the no-grad forward and to HART in one pass,
and the memory that the gradient takes on top of the network: on the CPU the peak of resident memory in a process of
its own, less that before the work; on a GPU the peak of what torch allocates there. For a GPU, the launches of kernels
are counted, too.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from tabulate import tabulate
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from art_snn import HART, LIF, PyTorchSNNClassifier, SpikingNetwork
from art_snn.engine.recording import record
from art_snn.engine.unrolling import unroll_rate
from art_snn.errors import GradientWarning, InexactReplayWarning
from art_snn.snn import fused
from art_snn.snn.models import vgg11

FORWARD, ONE_PASS = "no-grad forward", "HART (one pass)"
WAYS = (
    FORWARD,
    "predict (streamed)",
    ONE_PASS,  # what loss_gradient does; on a GPU it replays, without the graph of the weights
    "HART by replay",  # the model's own graph
    "HART unrolled",
    "STBP",
    "STBP, time_chunk=2",
    "reference BPTT",
    "plain ART",
)
BATCH = {"cpu": 16, "gpu": 128}
MEMORY_BATCH = {"cpu": 32, "gpu": 128}

Way = Callable[[], object]


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


class TriangularSpike(torch.autograd.Function):
    """Fire where the distance from the threshold is >= 0; the slope is the papers' triangle, ``max(0, 1 - |u|)``."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (distance,) = ctx.saved_tensors
        return grads[0] * (1 - distance.abs()).clamp(min=0)


def reference_bptt(network: SpikingNetwork, x: Tensor) -> Tensor:
    """Return the logits (N, K) of images (N, C, H, W) with STBP's gradient, the way the papers compute it.

    T copies of the images go through each layer as one batch. A layer of neurons is a loop over the steps,
    ``m(t) = decay * v(t-1) + I(t)``, ``v(t) = m(t) * (1 - s(t))``, and every operation is a node of autograd's graph.
    """
    time_steps = network.encoder.time_steps
    x = x.repeat(time_steps, 1, 1, 1)
    for layer in network.body:
        if not isinstance(layer, LIF):
            x = layer(x)
            continue
        current_seq = x.unflatten(0, (time_steps, -1))
        potential = torch.zeros_like(current_seq[0])
        spikes_seq = []
        for current in current_seq:
            membrane = layer.params.decay * potential + current
            spikes = TriangularSpike.apply(membrane - layer.params.threshold)
            potential = membrane * (1 - spikes)
            spikes_seq.append(spikes)
        x = torch.stack(spikes_seq).flatten(0, 1)
    return x.unflatten(0, (time_steps, -1)).mean(0)


def make_ways(network: SpikingNetwork, x: np.ndarray, y: np.ndarray, device: str) -> dict[str, Way]:
    """Return each way to a gradient as a function without arguments. The network is moved to "cpu" or "gpu"."""
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": (3, 32, 32), "nb_classes": 10, "device_type": device}
    classifier = PyTorchSNNClassifier(network, clip_values=(0, 1), **options)
    stbp = PyTorchSNNClassifier(network, clip_values=(0, 1), gradient_rule="stbp", **options)
    chunked = PyTorchSNNClassifier(network, clip_values=(0, 1), gradient_rule="stbp", time_chunk=2, **options)
    plain = PyTorchClassifier(network, clip_values=(0, 1), **options)

    def images() -> Tensor:
        return torch.from_numpy(x).to(classifier.device)

    def gradient_of(logits_of: Callable[[Tensor], Tensor]) -> Way:
        def gradient() -> Tensor:
            leaf = images().requires_grad_()
            loss = nn.functional.cross_entropy(logits_of(leaf), torch.from_numpy(y).to(leaf.device))
            return torch.autograd.grad(loss, leaf)[0]

        return gradient

    rows = np.eye(10, dtype=np.float32)[y]
    functions = (
        torch.no_grad()(lambda: network(images())),
        lambda: classifier.predict(x, batch_size=len(x)),
        lambda: classifier.loss_gradient(x, y),
        gradient_of(classifier.model),
        gradient_of(lambda leaf: unroll_rate(network, network.encode(leaf), HART(), parameters=False)),
        lambda: stbp.loss_gradient(x, y),
        lambda: chunked.loss_gradient(x, y),
        gradient_of(lambda leaf: reference_bptt(network, leaf)),
        lambda: plain.loss_gradient(x, rows),
    )
    return dict(zip(WAYS, functions, strict=True))


def make_data(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images and labels."""
    rng = np.random.default_rng(0)
    return rng.random((batch, 3, 32, 32), dtype=np.float32), rng.integers(0, 10, batch)


def measure_seconds(ways: dict[str, Way], repeat: int, device: str) -> dict[str, float]:
    """Return the least time of each way; the ways take turns."""
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(repeat + 1):  # the first turn warms up
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if device == "gpu":
                torch.cuda.synchronize()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def firing_rates(network: SpikingNetwork, x: np.ndarray) -> list[float]:
    """Return the mean firing rate of each spiking layer, to show that no layer is silent."""
    device = next(network.parameters()).device
    with torch.no_grad():
        recording = record(network, network.encode(torch.from_numpy(x).to(device)))
    return [float(call.rate.mean()) for calls in recording.layers.values() for call in calls]


def count_launches(way: Way) -> int:
    """Return the number of kernels that a way launches on the GPU."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        way()
        torch.cuda.synchronize()
    # The calls of CUDA's runtime and driver: cudaLaunchKernel, cudaLaunchCooperativeKernel, cuLaunchKernelEx, ...
    names = [event.name for event in profiler.events() if event.device_type == DeviceType.CPU]
    return sum(name.startswith(("cudaLaunch", "cuLaunch")) and "Kernel" in name for name in names)


def measure_gpu_memory(way: Way) -> int:
    """Return the memory in bytes that a way, which has run before, takes on top of the network."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    way()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure_memory_here(way: str, time_steps: int, batch: int) -> int:
    """Return the memory in bytes that a way takes on top of the network, in this process, on the CPU."""
    ways = make_ways(papers_network(time_steps), *make_data(batch), "cpu")
    make_ways(papers_network(1), *make_data(2), "cpu")[FORWARD]()  # load what the first call loads
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
    """Return the memory in bytes that a way takes on top of the network, in a fresh process, on the CPU."""
    words = [sys.executable, __file__, "--measure", way, "--time-steps", str(time_steps), "--memory-batch", str(batch)]
    words += ["--threads", str(torch.get_num_threads())]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def rows_of(time_steps: int, batch: int, memory_batch: int, repeat: int, device: str) -> list[list[object]]:
    """Return the table's rows for a number of time-steps."""
    network = papers_network(time_steps)
    ways = make_ways(network, *make_data(batch), device)
    seconds = measure_seconds(ways, repeat, device)
    rates = firing_rates(network, make_data(batch)[0])
    print(f"T={time_steps}: mean firing rate of the layers {min(rates):.3f} to {max(rates):.3f}", file=sys.stderr)
    memory: dict[str, float] = dict.fromkeys(ways, float("nan"))
    if memory_batch and device == "gpu":
        memory = {
            name: measure_gpu_memory(way) for name, way in make_ways(network, *make_data(memory_batch), device).items()
        }
    elif memory_batch:
        memory = {name: measure_memory(name, time_steps, memory_batch) for name in ways}
    rows = []
    for name, way in ways.items():
        value = seconds[name]
        cells = [f"{value:.4f}" if device == "gpu" else f"{value:.2f}"]
        cells += [f"{value / seconds[other]:.2f}" for other in (FORWARD, ONE_PASS)] + [f"{memory[name] / 2**20:.0f}"]
        rows.append([time_steps, name, *cells, *([count_launches(way)] if device == "gpu" else [])])
    return rows


def read_options() -> argparse.Namespace:
    """Return the options, with the defaults of the device; exit with a line that says so where one cannot be kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where to compute")
    parser.add_argument("--precision", choices=("float32", "tf32"), default="float32", help="of products on a GPU")
    parser.add_argument("--no-kernels", action="store_true", help="leave the package's own kernels for a GPU aside")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice if left out")
    parser.add_argument("--batch", type=int, help="batch of the timed runs; 16 on the CPU, 128 on a GPU")
    parser.add_argument("--memory-batch", type=int, help="of the memory runs; 32 on the CPU, 128 on a GPU; 0: none")
    parser.add_argument("--time-steps", default="4,8,16", help="numbers of time-steps")
    parser.add_argument("--repeat", type=int, default=3, help="timed repeats")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "gpu" and not torch.cuda.is_available():
        sys.exit("--device gpu: torch finds no GPU on this machine; leave the option out to measure on the CPU")
    if options.device == "cpu" and options.precision != "float32":
        sys.exit(f"--precision {options.precision} is for a GPU; add --device gpu")
    if options.batch is None:
        options.batch = BATCH[options.device]
    if options.memory_batch is None:
        options.memory_batch = MEMORY_BATCH[options.device]
    return options


def main() -> None:
    """Measure and print."""
    options = read_options()
    steps = [int(t) for t in options.time_steps.split(",")]
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = options.precision == "tf32"
    for category in (GradientWarning, InexactReplayWarning):  # what is measured would be something else
        warnings.simplefilter("error", category)
    if options.measure:
        print(json.dumps(measure_memory_here(options.measure, steps[0], options.memory_batch)))
        return
    where = f"{torch.get_num_threads()} threads"
    if options.device == "gpu":
        kernels = "without kernels of its own" if options.no_kernels else "with its kernels"
        where = f"{torch.cuda.get_device_name()}, {options.precision}, {kernels}"
    print(
        f"VGG-11, random weights, batch {options.batch} (memory: {options.memory_batch}), torch {torch.__version__}, "
        f"{where}, Python {platform.python_version()}"
    )
    sizes = options.batch, options.memory_batch, options.repeat
    with fused.unfused() if options.no_kernels else nullcontext():
        table = [row for time_steps in steps for row in rows_of(time_steps, *sizes, options.device)]
    headers = ["T", "way", "seconds", "/ forward", "/ HART", "memory (MiB)"]
    headers += ["launches"] if options.device == "gpu" else []
    print(tabulate(table, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
