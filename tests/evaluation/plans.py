"""A plan of a small grid, and a row of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from art_snn.attacks import FGSM, PGD
from art_snn.evaluation import GridPlan, GridRow, wilson_interval

ATTACKS = (FGSM(eps=0.1), PGD(eps=0.1))


def plan(runs: tuple[Path, Path], **options: Any) -> GridPlan:
    defaults = {"rules": ("hart", "bptr"), "attacks": ATTACKS, "samples": 30, "tuning_samples": 20}
    return GridPlan(targets=[runs[0]], sources=[runs[1]], **{**defaults, **options})


def grid_row(**changes: Any) -> GridRow:
    """A row as a grid makes it."""
    fields = {
        "rule": "hart",
        "rule_title": "HART",
        "rule_repr": "HART(gamma=0.5)",
        "gamma": 0.5,
        "attack": "fgsm",
        "attack_title": "FGSM",
        "attack_repr": "FGSM(eps=8/255)",
        "eps": 8 / 255,
        "eps_step": None,
        "max_iter": None,
        "clean_accuracy": wilson_interval(180, 200),
        "attack_success_rate": wilson_interval(150, 180),
        "robust_accuracy": wilson_interval(30, 200),
        "zero_gradients": 0.25,
        "seconds": 1.5,
        "key": "0" * 64,
        "dataset": "CIFAR-10",
        "architecture": "vgg11",
        "architecture_title": "VGG-11",
        "width": None,
        "events": False,
        "decay": 0.9,
        "time_steps": 8,
        "reset": "hard",
        "defence": "none",
        "seed": 0,
        "epochs": 6,
        "setting": "white-box",
        "parameter": "gamma",
        "gamma_chosen": "tuned on a split of its own",
        "gamma_curve": [[0.1, 40, 100], [0.5, 80, 100], [1.0, 60, 100]],
        "n_tune": 100,
        "target_sha256": "b" * 64,
        "source_sha256": "b" * 64,
        "samples_sha256": "a" * 64,
        "versions": {"torch": "2.0"},
    }
    return GridRow(**{**fields, **changes})
