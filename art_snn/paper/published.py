"""Published attack success rates, to compare with.

Source: Hao et al., "Threaten Spiking Neural Networks through Combining Rate and Temporal Information" (ICLR 2024),
Tables 1 to 5 of its poster.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from math import isclose
from typing import Any, NamedTuple

import pandas as pd

from art_snn.attacks import PAPER_STEP, PGD
from art_snn.evaluation.rows import GridRow

TABLES = (1, 2, 3, 4, 5)


class Published(NamedTuple):
    """One published attack success rate."""

    table: int  #: Number of the table, 1 to 5.
    dataset: str  #: "CIFAR-10", "CIFAR-100" or "CIFAR10-DVS".
    architecture: str  #: Name of the builder in `art_snn.snn.models`.
    time_steps: int  #: T.
    decay: float  #: Membrane retention lambda.
    robust_target: bool  #: Whether the target was trained on FGSM examples.
    setting: str  #: "white-box" or "black-box".
    attack: str  #: "fgsm" or "pgd".
    eps_255: float  #: Largest change of a pixel, in 1/255.
    rule: str  #: Name of the rule.
    attack_success_rate: float  #: In percent.
    clean_accuracy: float | None  #: Of the target, in percent; None where the table does not say.


@lru_cache(maxsize=1)
def hart_iclr2024() -> tuple[Published, ...]:
    """Return all numbers of the five tables.

    Example:
        >>> len([number for number in hart_iclr2024() if number.table == 2])
        100
    """
    with files("art_snn.paper").joinpath("hart_iclr2024.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype={"eps_255": float}).astype(object)
    return tuple(Published(*line) for line in frame.where(frame.notna(), None).itertuples(index=False))


def published_number(table: int, row: GridRow) -> Published | None:
    """Return the number of a table for a row's data, network, T, lambda, reset, target and attack; None for none."""
    if row.width is not None or row.reset != "hard" or row.defence not in ("none", "fgsm"):
        return None
    if row.attack == "pgd":
        is_papers_step = row.eps_step is not None and isclose(row.eps_step, PAPER_STEP, rel_tol=1e-4)
        if not is_papers_step or row.attack_repr != repr(PGD(eps=row.eps, eps_step=row.eps_step)):
            return None
    network = (row.architecture, row.time_steps, row.decay, row.defence == "fgsm")
    attack = (row.setting, row.attack, round(255 * row.eps, 4), row.rule)
    return _by_setting().get((table, _letters(row.dataset), *network, *attack))


@lru_cache(maxsize=1)
def _by_setting() -> dict[tuple[Any, ...], Published]:
    """Return the numbers by their first ten entries, which are the setting."""
    return {(number.table, _letters(number.dataset), *number[2:10]): number for number in hart_iclr2024()}


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
