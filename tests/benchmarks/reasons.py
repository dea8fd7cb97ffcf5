"""Why the results are as they are.

Run: ``python -m tests.benchmarks.reasons FOLDER`` for a finished ``art-snn paper --out FOLDER``. First table: the ANN
that CBA attacks. How well it predicts, how far its activations are from the SNN's firing rates, and how often CBA's
examples succeed on it and on the SNN. Second table: temporal retention of the same weights at other lambdas and with
the other reset, and how far the potential is spread out given the mean current.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn

from art_snn.attacks import FGSM, PGD
from art_snn.data import stratified_part
from art_snn.engine import record, record_distances
from art_snn.evaluation import accuracy, attack_success_rate, read_rows
from art_snn.evaluation.retention import SMALLEST_CURRENT, _within_bins, temporal_retention
from art_snn.rules import CBA
from art_snn.snn.dynamics import reset
from art_snn.snn.encoders import DirectEncoder, takes_frames
from art_snn.snn.network import SpikingNetwork
from art_snn.snn.neurons import LIF
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.run import load_trained

SAMPLES, RATE_SAMPLES, BINS, TIME_STEPS = 400, 64, 50, 8


class Activation(nn.Module):
    """CBA's activation in the place of a neuron; keeps what it gave."""

    def __init__(self, neuron: LIF) -> None:
        super().__init__()
        self.params = neuron.params
        self.given = torch.empty(0)

    def forward(self, current: Tensor) -> Tensor:
        self.given = CBA().activate(current, self.params)
        return self.given


def conversion(folder: Path, samples: dict[str, np.ndarray], eps: float, eps_step: float | None) -> list[str]:
    """Return a row of the first table."""
    classifier = load_trained(read_checkpoint(folder), device_type="cpu")[1]
    network = classifier.model.network
    ann = nn.Sequential(*[Activation(m) if isinstance(m, LIF) else m for m in network.body]).eval()

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            parts = torch.as_tensor(x.mean(1) if x.ndim == 5 else x).split(128)
            return torch.cat([ann(part) for part in parts]).numpy()

    x, y = samples["x"], samples["y"]
    few = stratified_part(y, RATE_SAMPLES)
    clean, clean_ann = classifier.predict(x), predict(x)
    with torch.no_grad():
        found = record(network, network.encode(torch.as_tensor(x[few])))
    predict(x[few])
    rates = [calls[0].rate for calls in found.layers.values()]
    given = [module.given for module in ann if isinstance(module, Activation)]
    errors = [float((a - r).norm() / r.norm()) for a, r in zip(given, rates, strict=True)]
    row = [folder.name, str(accuracy(clean, y)), str(accuracy(clean_ann, y)), f"{errors[0]:.2f} to {max(errors):.2f}"]
    source = classifier.with_rule("cba")
    part = stratified_part(y, SAMPLES)
    for attack in (FGSM(eps=eps), PGD(eps=eps, eps_step=eps_step)):
        examples = attack.make(source).generate(x[part], y[part])
        row.append(str(attack_success_rate(clean_ann[part], predict(examples), y[part])))
        row.append(str(attack_success_rate(clean[part], classifier.predict(examples), y[part])))
    return row


def retention(folder: Path, x: np.ndarray) -> list[list[object]]:
    """Return rows of the second table."""
    classifier = load_trained(read_checkpoint(folder), device_type="cpu")[1]
    own = classifier.model.network
    direct = not takes_frames(own)
    network = SpikingNetwork(DirectEncoder(time_steps=TIME_STEPS) if direct else own.encoder, own.body).eval()
    rows: list[list[object]] = []
    for kind in ("hard", "soft"):
        for decay in (0.5, 0.9, 1.0):
            for module in network.modules():
                if isinstance(module, LIF):
                    module.params = module.params._replace(reset=kind, decay=decay)
            chi = np.mean([layer.chi for layer in temporal_retention(network, x)])
            rows.append([folder.name, kind, decay, float(chi), spread(network, x)])
    return rows


def spread(network: SpikingNetwork, x: np.ndarray) -> float:
    """Return the deviation of a neuron's mean potential given its mean current, over that; mean of the layers."""
    with torch.no_grad():
        found = record_distances(network, network.encode(torch.as_tensor(x)))
    layers = []
    for (layer, distances), *_ in found.values():
        potential = reset(distances + layer.params.threshold, (distances >= 0).to(distances.dtype), layer.params)
        enough = layer.mean_current.abs() >= SMALLEST_CURRENT
        currents = layer.mean_current[enough].double().numpy()
        ratios = potential.mean(0)[enough].double().numpy() / currents
        layers.append(np.sqrt(_within_bins(currents, ratios, BINS)))
    return float(np.mean(layers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--eps", type=float, help="size of the attacks; the largest of the rows if left out")
    options = parser.parse_args()
    rows = read_rows(options.folder / "results")
    eps = options.eps or max(row.eps for row in rows)
    step = next((row.eps_step for row in rows if row.attack == "pgd"), None)
    (file,) = (options.folder / "samples").glob("*.npz")
    with np.load(file) as archive:
        samples = {name: archive[name] for name in ("x", "y")}
    few = samples["x"][stratified_part(samples["y"], RATE_SAMPLES)]
    runs = [run for run in sorted((options.folder / "runs").iterdir()) if not run.name.endswith("-twin")]
    headers = ["network", "SNN", "ANN", "rate error", "FGSM, ANN", "FGSM, SNN", "PGD, ANN", "PGD, SNN"]
    print(tabulate([conversion(run, samples, eps, step) for run in runs], headers=headers, tablefmt="github"))
    print()
    headers = ["weights of", "reset", "lambda", "chi", "spread"]
    kept = [row for run in runs for row in retention(run, few)]
    print(tabulate(kept, headers=headers, tablefmt="github", floatfmt=".4g"))


if __name__ == "__main__":
    main()
