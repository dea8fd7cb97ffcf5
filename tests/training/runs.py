"""A tiny recipe, and the weights that a training left."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from art_snn.training import checkpoints

TINY = {"epochs": 3, "time_steps": 2, "defence": "fbf", "batch_size": 32}


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoints.newest(run)
    assert newest is not None
    return load_file(newest / checkpoints.WEIGHTS)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
