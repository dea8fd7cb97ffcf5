"""The search for gamma against the papers' sweep of 48 values: same optimum, at which cost?

Run: ``python tests/benchmarks/gamma.py [--checkpoint RUN] [--attack fgsm] [--samples 256]``. Without a checkpoint, the
digits network is attacked. The sweep is as the papers' code does it: every value anew, nothing shared.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from art_snn import HART
from art_snn.data import load_digits, stratified_part
from art_snn.evaluation import ATTACKS, tune_gamma
from art_snn.evaluation.metrics import attack_success_rate
from art_snn.training import DIGITS_RECIPE, load_data, load_trained, read_checkpoint, train_cached

GAMMAS = [round(0.1 + 0.05 * i, 2) for i in range(48)]


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
    clean = classifier.predict(x)
    print("| attack | best gamma, sweep | its ASR | best gamma, search | its ASR | values | sweep / search, time |")
    print("|---|---|---|---|---|---|---|")
    for attack in options.attacks.split(","):
        start = time.perf_counter()
        curve = tune_gamma(classifier, attack, x, y, eps=options.eps)
        search = time.perf_counter() - start
        start = time.perf_counter()
        found = []
        for gamma in GAMMAS:
            classifier.gradient_rule = HART(gamma=gamma)
            examples = ATTACKS[attack](classifier, options.eps, 128).generate(x, y)
            found.append(attack_success_rate(clean, classifier.predict(examples), y))
        sweep = time.perf_counter() - start
        best = max(range(48), key=lambda i: found[i].hits)
        same = [gamma for gamma, share in zip(GAMMAS, found, strict=True) if share.hits == found[best].hits]
        span = f"{same[0]:g}" if len(same) == 1 else f"{same[0]:g} to {same[-1]:g} ({len(same)} equal)"
        own = curve.success[curve.gammas.index(curve.best)]
        print(
            f"| {attack.upper()} | {span} | {found[best].value:.1%} | {curve.best:g} | {own.value:.1%} "
            f"| {len(curve.gammas)} of 48 | {sweep / search:.1f}x |",
            flush=True,
        )


if __name__ == "__main__":
    main()
