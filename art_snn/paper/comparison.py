"""The published number that a row is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from art_snn.paper.published import Published, hart_iclr2024
from art_snn.paper.wording import ARCHITECTURES, is_events, step, steps

Row = Mapping[str, Any]

# The paper's PGD.
_STEP, _STEPS = 2 / 255, 7


def compared(number: int, row: Row) -> tuple[Published | None, Published | None]:
    """Return the published number of a row's setting, and the nearest one if there is none.

    The setting is the paper's where data, network, T, lambda, reset, target, attack, size and, of PGD, the steps are.
    The nearest number has the same rule, attack, size and kind of target; of those it is one of the same architecture,
    the same data set ("CIFAR-10 (JPEG)" is near to "CIFAR-10"), the closest T and the closest lambda, in this order.

    Args:
        number: Number of the paper's table.
        row: Row of a grid.
    """
    known = [
        one
        for one in hart_iclr2024()
        if (one.table, one.rule, one.setting, one.attack) == (number, row["rule"], row["setting"], row["attack"])
        and abs(one.eps_255 / 255 - row["eps"]) < 1e-6
        and one.robust_target == (row["defence"] != "none")
        and (one.architecture == "vgg_dvs") == is_events(row)
    ]
    for one in known:
        if _is_same(one, row):
            return one, None
    return None, min(known, key=lambda one: _distance(one, row), default=None)


def setting_text(one: Published, row: Row) -> str:
    """Return the setting of the number that is nearest to a row: lambda, step and defence only where they differ."""
    words = [one.dataset, ARCHITECTURES[one.architecture], f"T={one.time_steps}"]
    if abs(one.decay - row["decay"]) >= 1e-9:
        words.append(f"lambda {one.decay:g}")
    if not _has_its_steps(row):
        words.append(f"{_STEPS} steps of {255 * _STEP:g}/255")
    if row["reset"] != "hard":
        words.append("hard reset")
    if row["defence"] not in ("none", "fgsm"):
        words.append("target trained on FGSM")
    return ", ".join(words)


def _is_same(one: Published, row: Row) -> bool:
    return (
        _letters(one.dataset) == _letters(row["dataset"])
        and (one.architecture, one.time_steps) == (row["architecture"], row["time_steps"])
        and abs(one.decay - row["decay"]) < 1e-9
        and row["width"] is None
        and row["reset"] == "hard"
        and row["defence"] in ("none", "fgsm")
        and _has_its_steps(row)
    )


def _has_its_steps(row: Row) -> bool:
    """Say whether PGD's steps are the paper's; other attacks have none."""
    found = step(row)
    return found is None or (abs(found - _STEP) < 1e-6 and steps(row) == _STEPS)


def _distance(one: Published, row: Row) -> tuple[Any, ...]:
    return (
        one.architecture != row["architecture"],
        _letters(one.dataset) != _letters(row["dataset"].partition("(")[0]),
        abs(one.time_steps - row["time_steps"]),
        abs(one.decay - row["decay"]),
        one.architecture != "vgg11",
        one.dataset,
        one.decay,
    )


def _letters(name: str) -> str:
    """Return a name's letters and digits, in lower case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())
