"""Rows of grids, records of temporal retention, and what a picture says."""

from __future__ import annotations

import html
from pathlib import Path

from art_snn.evaluation.metrics import wilson_interval


def row(hits: int = 150, **changes) -> dict:
    """A row as a grid makes it."""
    share = wilson_interval(hits, 200)
    return {
        "dataset": "CIFAR-10",
        "architecture": "vgg11",
        "width": None,
        "decay": 0.9,
        "time_steps": 8,
        "defence": "none",
        "seed": 0,
        "reset": "hard",
        "setting": "white-box",
        "attack": "fgsm",
        "eps": 8 / 255,
        "rule": "hart",
        "gamma": 0.5,
        "gamma_chosen": "tuned on a split of its own",
        "gamma_curve": [[0.1, 40, 100], [0.5, 80, 100], [1.0, 60, 100]],
        "clean_accuracy": 0.8,
        "attack_success_rate": share.value,
        "attack_success_rate_low": share.low,
        "attack_success_rate_high": share.high,
        "attack_success_rate_n": 200,
        "robust_accuracy": 0.2,
        "samples_sha256": "a" * 64,
        "target_sha256": "b" * 64,
        "source_sha256": "b" * 64,
        "seconds": 1.5,
        "versions": {"torch": "2.0"},
        **changes,
    }


def record(**changes) -> dict:
    """A record of temporal retention as `art_snn.paper.experiments.retention_records` makes it."""
    found = {
        "dataset": "CIFAR-10",
        "architecture": "vgg11",
        "defence": "none",
        "decay": 0.5,
        "time_steps": 4,
        "trained_time_steps": 4,
        "layer": "body.1",
        "position": 1,
        "chi": 0.1,
        **changes,
    }
    return {"run": "-".join(f"{found[name]}" for name in ("architecture", "trained_time_steps", "decay")), **found}


def drawn(svg: Path) -> list[str]:
    """The texts of a picture, of which matplotlib keeps each as a comment."""
    found = [line.strip() for line in svg.read_text().splitlines()]
    return [html.unescape(line[5:-4]) for line in found if line.startswith("<!-- ") and line.endswith(" -->")]


NETWORKS = [{}, {"architecture": "resnet17"}, {"defence": "fgsm"}, {"time_steps": 16}, {"dataset": "CIFAR-100"}]
