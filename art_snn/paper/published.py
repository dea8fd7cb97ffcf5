"""Published attack success rates, to compare with.

Source: Hao et al., "Threaten Spiking Neural Networks through Combining Rate and Temporal Information" (ICLR 2024),
Tables 1 to 5 of its poster.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

TABLES = (1, 2, 3, 4, 5)


class Published(NamedTuple):
    """One published attack success rate.

    Attributes:
        table: Number of the table, 1 to 5.
        dataset: "CIFAR-10", "CIFAR-100" or "CIFAR10-DVS".
        architecture: Name of the builder in `art_snn.snn.models`.
        time_steps: T.
        decay: Membrane retention lambda.
        robust_target: Whether the target was trained on FGSM examples.
        setting: "white-box" or "black-box".
        attack: "fgsm" or "pgd".
        eps_255: Largest change of a pixel, in 1/255.
        rule: Name of the rule.
        attack_success_rate: In percent.
        clean_accuracy: Of the target, in percent; None where the table does not say.
    """

    table: int
    dataset: str
    architecture: str
    time_steps: int
    decay: float
    robust_target: bool
    setting: str
    attack: str
    eps_255: float
    rule: str
    attack_success_rate: float
    clean_accuracy: float | None


@lru_cache(maxsize=1)
def hart_iclr2024() -> tuple[Published, ...]:
    """Return all numbers of the five tables.

    Example:
        >>> len([number for number in hart_iclr2024() if number.table == 2])
        100
    """
    text = files("art_snn.paper").joinpath("hart_iclr2024.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            table=int(row["table"]),
            dataset=row["dataset"],
            architecture=row["architecture"],
            time_steps=int(row["time_steps"]),
            decay=float(row["decay"]),
            robust_target=row["robust_target"] == "True",
            setting=row["setting"],
            attack=row["attack"],
            eps_255=float(row["eps_255"]),
            rule=row["rule"],
            attack_success_rate=float(row["attack_success_rate"]),
            clean_accuracy=float(row["clean_accuracy"]) if row["clean_accuracy"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    )
