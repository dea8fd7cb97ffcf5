"""A tiny recipe, and the weights that a training left."""

from __future__ import annotations

from pathlib import Path

import torch

from art_snn.training import read_checkpoint

TINY = {"epochs": 3, "time_steps": 2, "defence": "fbf", "batch_size": 32}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run).weights


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
