"""What attacks whose budget is in events do to a small network on N-MNIST.

``python -m tests.benchmarks.event_attacks nmnist.npz`` takes recordings as `art_snn.data.read_npz` does, cuts them into
ten frames of their own size, and trains a network of two convolutions on binary frames, and another one on counts. For
each attack it prints robust accuracy, the share of correctly classified samples that it breaks, the median and mean
number of events that it changes where it succeeds, and what it costs. The first rows are what clipping to [0, 1] does,
and moves and flips at random. ``--robustness quick`` (or standard, plus) prints what `robustness()` leaves instead.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from art_snn import LIF, STBP, EventFrameEncoder, PyTorchSNNClassifier, SpikingNetwork, robustness
from art_snn.attacks import ClipOnly, SparseDynamicAttack, SpikeRetiming, flips, retimed
from art_snn.attacks.events import EventAttack
from art_snn.data import Framing, Split, read_npz, stratified, to_frames
from art_snn.evaluation.robustness.noise import Noise, RandomFlips, RandomShifts
from art_snn.evaluation.robustness.report import text_summary

SHIFTS = (1, 2, 3)


def trained(data: Split, epochs: int) -> PyTorchSNNClassifier:
    torch.manual_seed(0)
    shape = data.x_train.shape[1:]
    body = nn.Sequential(
        nn.Conv2d(2, 12, 5, stride=2),
        nn.BatchNorm2d(12),
        LIF(decay=0.5),
        nn.Conv2d(12, 24, 3, stride=2),
        nn.BatchNorm2d(24),
        LIF(decay=0.5),
        nn.Flatten(),
        nn.LazyLinear(10),
    )
    network = SpikingNetwork(EventFrameEncoder(), body)
    network(torch.zeros(2, *shape))
    adam = torch.optim.Adam(network.parameters(), lr=2e-3)
    classifier = PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        shape,
        10,
        optimizer=adam,
        clip_values=(0.0, float(data.x_train.max())),
        device_type="gpu" if torch.cuda.is_available() else "cpu",
    )
    classifier.fit(data.x_train, data.y_train, batch_size=32, nb_epochs=epochs)
    return classifier


def line(name: str, correct: np.ndarray, broken: np.ndarray, sizes: np.ndarray, cost: str = "| |") -> None:
    hits = correct & broken
    of = sizes[hits] if hits.any() else np.zeros(1)
    print(
        f"| {name} | {100 * (correct & ~broken).mean():.1f} % | {100 * hits.sum() / correct.sum():.1f} % "
        f"| {np.median(of):.0f} | {of.mean():.0f} {cost}",
        flush=True,
    )


def attacked(name: str, attack: EventAttack, x: np.ndarray, y: np.ndarray, correct: np.ndarray) -> None:
    begun = time.perf_counter()
    found = attack.search(x, y)
    cost = f"| {found.forwards[correct].mean():.0f} | {time.perf_counter() - begun:.0f} s |"
    moves = isinstance(attack, SpikeRetiming)
    line(name, correct, found.broken, retimed(x, found.x_adv).moved if moves else flips(x, found.x_adv), cost)


def judged(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, budget: str, *, binary: bool) -> None:
    """What robustness() says of flips, and of events that move."""
    threats = [{"flips": 50}, {"flips": 200}] if binary else []
    threats += [{"shift": 1, "moved": 200}, {"shift": 1}, {"shift": 2}]
    for threat in threats:
        begun = time.perf_counter()
        result = robustness(classifier, x, y, **threat, budget=budget)
        print(
            f"{text_summary(result)}\n  clip only {result.clip_only}; {time.perf_counter() - begun:.0f} s", flush=True
        )


def controls(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, correct: np.ndarray) -> None:
    """What clipping does, and moves and flips at random."""
    made = {"clip only": ClipOnly().make(classifier).generate(x)}
    for shift in SHIFTS:
        noise: Noise = RandomShifts(steps=1, max_shift=shift)
        made[f"moves at random, D = {shift}"] = noise.make(classifier).generate(x, y)
    if x.max() == 1:
        noise = RandomFlips(steps=1, max_flips=200)
        made["200 flips at random"] = noise.make(classifier).generate(x, y)
    for name, examples in made.items():
        wrong = classifier.predict(examples).argmax(1) != y
        lost = np.maximum(x - examples, 0).sum((1, 2, 3, 4))
        line(name, correct, wrong, flips(x, examples) if "flips" in name else lost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--max-iter", type=int, default=60, help="iterations of SDA")
    parser.add_argument("--robustness", metavar="BUDGET", help="evaluate with this budget of robustness() instead")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    recordings = read_npz(options.archive)
    frames = to_frames(recordings, Framing(time_steps=10, image_size=None))
    for kind in ("binary", "counts"):
        data = stratified((frames > 0).astype(np.float32) if kind == "binary" else frames, recordings.labels, 0.3)
        classifier = trained(data, options.epochs)
        x, y = data.x_test[: options.samples], data.y_test[: options.samples]
        correct = classifier.predict(x).argmax(1) == y
        events = x.sum((1, 2, 3, 4)).mean()
        print(f"\n{kind}: clean {100 * correct.mean():.1f} %, {len(x)} samples, {events:.0f} events each")
        if options.robustness:
            judged(classifier, x, y, options.robustness, binary=kind == "binary")
            continue
        print("| attack | left | broken | events: median | mean | forwards | time |\n|---|---|---|---|---|---|---|")
        controls(classifier, x, y, correct)
        for shift in SHIFTS:
            for most in (50, 200, 800, None):
                name = f"retiming, D = {shift}" + (f", at most {most} events" if most else "")
                attacked(name, SpikeRetiming(classifier, max_shift=shift, max_moved=most), x, y, correct)
        if kind == "binary":
            for rule in (STBP(detach_reset=True), STBP(gamma=0.5, detach_reset=True)):
                attack = SparseDynamicAttack(classifier, max_iter=options.max_iter, rule=rule)
                attacked(f"SDA, {rule!r}", attack, x, y, correct)


if __name__ == "__main__":
    main()
