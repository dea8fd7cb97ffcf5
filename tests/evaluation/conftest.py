"""Trained networks for grids."""

from __future__ import annotations

from pathlib import Path

import pytest

from art_snn.data import load_digits
from art_snn.data.split import Split
from art_snn.training.recipe import Recipe
from art_snn.training.run import train


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """Two small networks on digits, from two seeds, that know most of them."""
    folder = tmp_path_factory.mktemp("runs")
    data = load_digits()
    part = Split(data.x_train[:400], data.y_train[:400], data.x_test[:100], data.y_test[:100])
    found = []
    for seed in (0, 1):
        recipe = Recipe(defence="none", epochs=2, time_steps=2, seed=seed, lr=0.01, batch_size=8)
        train(recipe, part, folder / str(seed), device_type="cpu")
        found.append(folder / str(seed))
    return found[0], found[1]
