"""A plan of a small grid."""

from __future__ import annotations

from pathlib import Path

from art_snn.evaluation.grid import GridPlan


def plan(runs: tuple[Path, Path], **options) -> GridPlan:
    defaults = {"rules": ("hart", "bptr"), "eps": (0.1,), "samples": 30, "tuning_samples": 20}
    return GridPlan(targets=[runs[0]], sources=[runs[1]], **{**defaults, **options})
