"""Rows as tables, files and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tabulate import tabulate

from art_snn.evaluation.rows import Row
from art_snn.files import write_atomic, write_text

_HEADER = ("rule", "gamma", "attack", "clean accuracy", "ASR [95 % CI]", "robust accuracy", "zero gradients", "seconds")


def text_table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table, with 95 % confidence intervals in brackets."""
    lines = [
        [
            row.rule_title,
            "" if row.gamma is None else f"{row.gamma:g}",
            row.attack_title,
            str(row.clean_accuracy),
            str(row.attack_success_rate),
            str(row.robust_accuracy),
            "" if row.zero_gradients is None else f"{row.zero_gradients:.1%}",
            f"{row.seconds:.1f}",
        ]
        for row in rows
    ]
    return tabulate(lines, headers=_HEADER, tablefmt="github", disable_numparse=True)


def write_json(rows: Sequence[Row], settings: Mapping[str, Any], path: Path) -> None:
    """Write settings and rows as JSON."""
    document = {"settings": dict(settings), "rows": [row.to_json() for row in rows]}
    write_text(path, json.dumps(document, indent=2) + "\n")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows as CSV, one line each."""
    frame = pd.DataFrame([row.to_json() for row in rows])
    write_text(path, frame.to_csv(index=False))


def plot(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draw the attack success rate of each rule and attack as bars with 95 % confidence intervals.

    Args:
        rows: Rows of one evaluation.
        title: Title of the picture.
        path: File to write; its ending says the format (.png, .svg, .pdf).
    """
    rules = _labels((row.rule_title, row.rule_repr) for row in rows)
    attacks = _labels((row.attack_title, f"{row.attack_title}, ε={row.eps:g}") for row in rows)
    width = 0.8 / len(attacks)
    with mpl.rc_context({"svg.hashsalt": "art_snn", "font.size": 10}):
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        axes = figure.subplots()
        for i, (attack, label) in enumerate(attacks.items()):
            mine = [row for row in rows if f"{row.attack_title}, ε={row.eps:g}" == attack]
            shares = {row.rule_repr: row.attack_success_rate for row in mine}
            places = [list(rules).index(rule) + (i - (len(attacks) - 1) / 2) * width for rule in shares]
            values = np.array([share.value for share in shares.values()])
            errors = np.array([[s.value - s.low, s.high - s.value] for s in shares.values()]).T.clip(min=0)
            axes.bar(places, 100 * values, width * 0.92, yerr=100 * errors, capsize=3, label=label)
        axes.set_xticks(range(len(rules)), list(rules.values()))
        axes.set_ylabel("attack success rate (%)")
        axes.set_ylim(0, 105)
        axes.set_title(title, fontsize=10)
        axes.legend(frameon=False, ncols=len(attacks), loc="upper right")
        axes.spines[["top", "right"]].set_visible(False)
        write_atomic(path, lambda file: figure.savefig(file, dpi=150))


def _labels(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return from each long name the short one, or itself where several long names share the short one."""
    short = {name: title for title, name in names}
    titles = list(short.values())
    return {name: title if titles.count(title) == 1 else name for name, title in short.items()}
