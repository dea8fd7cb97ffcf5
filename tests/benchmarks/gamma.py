"""The search for gamma against the papers' sweep of 48 values: same optimum, at which cost?

Run: ``python tests/benchmarks/gamma.py [--checkpoint RUN] [--attack fgsm] [--samples 256]``. Without a checkpoint, the
digits network is attacked.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from art_snn.attacks import make_attack
from art_snn.data import load_digits, stratified_part
from art_snn.evaluation import tune
from art_snn.training import DIGITS_RECIPE, load_data, load_trained, read_checkpoint, train_cached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--attacks", default="fgsm,pgd")
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--samples", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.checkpoint:
        recipe, classifier = load_trained(read_checkpoint(options.checkpoint), device_type="cpu")
        data = load_data(recipe, verbose=True)
    else:
        data = load_digits()
        classifier, _ = train_cached(DIGITS_RECIPE, data, device_type="cpu")
    chosen = stratified_part(data.y_test, options.samples)
    x, y = data.x_test[chosen], data.y_test[chosen]
    print("| attack | best gamma, sweep | its ASR | best gamma, search | its ASR | values | sweep / search, time |")
    print("|---|---|---|---|---|---|---|")
    for name in options.attacks.split(","):
        attack = make_attack(name, eps=options.eps)
        curves, seconds = [], []
        for sweep in (False, True):
            start = time.perf_counter()
            curves.append(tune("hart", "gamma", classifier, attack, x, y, sweep=sweep))
            seconds.append(time.perf_counter() - start)
        search, whole = curves
        best = max(whole.success, key=lambda share: share.hits)
        same = [gamma for gamma, share in zip(whole.values, whole.success, strict=True) if share.hits == best.hits]
        span = f"{same[0]:g}" if len(same) == 1 else f"{same[0]:g} to {same[-1]:g} ({len(same)} equal)"
        own = search.success[search.values.index(search.best)]
        print(
            f"| {attack.title} | {span} | {best.value:.1%} | {search.best:g} | {own.value:.1%} "
            f"| {len(search.values)} of {len(whole.values)} | {seconds[1] / seconds[0]:.1f}x |",
            flush=True,
        )


if __name__ == "__main__":
    main()
