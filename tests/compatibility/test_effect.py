"""Rows of evasion attacks notice an attack that has no effect."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isclass

import numpy as np
import pytest
from art.attacks import evasion as art
from art.attacks.attack import EvasionAttack

from tests.compatibility import black_box, evasion
from tests.compatibility.table import WORKS, Case, Item
from tests.compatibility.test_compatibility import Make, rows, seeded, skip_without_packages


def unchanged(x: np.ndarray) -> np.ndarray:
    return x.copy()


def nudged(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 1e-3 * np.sign(0.5 - x), 0, 1).astype(np.float32)


def has_effect(item: Item) -> bool:
    return item.family in (evasion.FAMILY, black_box.FAMILY) and not item.no_effect


@pytest.mark.parametrize(
    "inert", [unchanged, pytest.param(nudged, marks=pytest.mark.slow)], ids=["unchanged", "nudged"]
)
@pytest.mark.parametrize(("item", "inputs"), rows(WORKS, chosen=has_effect))
def test_row_notices_an_attack_without_effect(item, inputs, inert, make: Make, monkeypatch):
    skip_without_packages(item)
    disarm(inert, monkeypatch)
    case: Case = make("spiking", inputs)
    with seeded(), pytest.raises(AssertionError):
        item.run(case)


def disarm(inert: Callable[[np.ndarray], np.ndarray], patch: pytest.MonkeyPatch) -> None:
    """Let every attack of ART return what ``inert`` makes of its inputs."""
    for attack in vars(art).values():
        if isclass(attack) and issubclass(attack, EvasionAttack):
            for method in ("generate", "apply_patch"):
                if hasattr(attack, method):
                    patch.setattr(attack, method, lambda self, x, *args, **kwargs: inert(x))
