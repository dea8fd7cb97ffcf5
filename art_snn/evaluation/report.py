"""Rows as tables, files and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from tabulate import tabulate

from art_snn.attacks import Attack
from art_snn.evaluation.rows import Row
from art_snn.files import write_atomic, write_text
from art_snn.plots.style import band, bare, distinct_labels, legend_beside, line_style, picture

# What bounds attacks on events, in their own words.
EVENT_SIZES = ("max_flips", "max_shift", "max_delay", "max_moved")


def text_table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table, with 95 % confidence intervals in brackets."""
    attacks = distinct_labels((row.attack_title, f"{row.attack_title}, ε={row.eps:g}", row.attack_repr) for row in rows)
    lines = [
        {
            "rule": row.rule_title,
            "gamma": "" if row.gamma is None else f"{row.gamma:g}",
            "attack": attacks[row.attack_repr],
            "clean accuracy": row.clean_accuracy,
            "ASR [95 % CI]": row.attack_success_rate,
            "robust accuracy": row.robust_accuracy,
            "zero gradients": "" if row.zero_gradients is None else f"{row.zero_gradients:.1%}",
            "zero entries": "" if row.zero_entries is None else f"{row.zero_entries:.1%}",
            "seconds": f"{row.seconds:.1f}",
        }
        for row in rows
    ]
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def steps_text(attacks: Iterable[Attack]) -> str:
    """Say how many steps attacks take, and of which size if they do not choose it, such as "7 steps of 0.01, 0.02"."""
    sized: dict[str, dict[str, None]] = {}
    for attack in attacks:
        if hasattr(attack, "steps"):
            sizes = sized.setdefault(f"{attack.steps} steps", {})
            if hasattr(attack, "eps_step"):
                sizes[f"{attack.eps_step:g}"] = None
    return "; ".join(f"{steps} of {', '.join(sizes)}" if sizes else steps for steps, sizes in sized.items())


def sizes_text(attacks: Iterable[Attack]) -> str:
    """Say how much attacks may change, such as "eps=0.1, 0.2" or "max_shift=1"; "" where nothing bounds them.

    Example:
        >>> from art_snn.attacks import FGSM, PGD, RetimingSpec
        >>> sizes_text([FGSM(eps=0.1), PGD(eps=0.1), RetimingSpec(max_shift=2)])
        'eps=0.1, max_shift=2'
    """
    sizes: dict[str, dict[str, None]] = {}
    for attack in attacks:
        for name in ("eps", *EVENT_SIZES):
            if value := getattr(attack, name, None):
                sizes.setdefault(name, {})[f"{value:g}"] = None
    return ", ".join(f"{name}={', '.join(values)}" for name, values in sizes.items())


def write_json(rows: Sequence[Row], settings: Mapping[str, Any], path: Path) -> None:
    """Write settings and rows as JSON."""
    write_text(path, json.dumps({"settings": {**settings}, "rows": [row.to_json() for row in rows]}, indent=2) + "\n")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows as CSV, one line each."""
    write_text(path, pd.DataFrame([row.to_json() for row in rows]).to_csv(index=False))


def plot(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draw attack success rates with their intervals: as bars, or for three eps and more as curves over eps.

    The file's ending says the format (.png, .svg, .pdf).
    """
    if len({row.eps for row in rows if row.eps}) >= 3:
        _plot_over_eps(rows, title, path)
        return
    rules = distinct_labels((row.rule_title, row.rule_repr) for row in rows)
    attacks = distinct_labels((row.attack_title, f"{row.attack_title}, ε={row.eps:g}", row.attack_repr) for row in rows)
    width = 0.8 / len(attacks)
    with mpl.rc_context({"svg.hashsalt": "art_snn", "font.size": 10}):
        figure = picture(7.0, 3.2)
        axes = figure.subplots()
        for i, (attack, label) in enumerate(attacks.items()):
            drawn = [row for row in rows if row.attack_repr == attack]
            places = [list(rules).index(row.rule_repr) + (i - (len(attacks) - 1) / 2) * width for row in drawn]
            values, low, high = np.array([row.attack_success_rate[:3] for row in drawn]).T
            errors = np.array([values - low, high - values]).clip(min=0)
            axes.bar(places, 100 * values, width * 0.92, yerr=100 * errors, capsize=3, label=label)
        axes.set_xticks(range(len(rules)), list(rules.values()))
        axes.set_ylabel("attack success rate (%)")
        axes.set_ylim(0, 105)
        axes.set_title(title, fontsize=10)
        axes.legend(frameon=False, ncols=len(attacks), loc="upper right")
        bare(axes)
        write_atomic(path, lambda file: figure.savefig(file, dpi=150))


def _plot_over_eps(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draw attack success rates over eps, a panel for each attack and a curve with its band for each rule."""
    rules = distinct_labels((row.rule_title, row.rule_repr) for row in rows)
    attacks = {row.attack: row.attack_title for row in rows if row.eps}
    with mpl.rc_context({"svg.hashsalt": "art_snn", "font.size": 10}):
        figure = picture(1.5 + 3.3 * len(attacks), 3.4)
        panels = figure.subplots(1, len(attacks), sharey=True, squeeze=False)[0]
        for axes, (attack, label) in zip(panels, attacks.items(), strict=True):
            for number, (rule, name) in enumerate(rules.items()):
                drawn = sorted((r for r in rows if (r.attack, r.rule_repr) == (attack, rule)), key=lambda row: row.eps)
                shares = [row.attack_success_rate for row in drawn]
                band(axes, [row.eps for row in drawn], shares, label=name, **line_style(number))
            axes.set_xlabel("ε")
            axes.set_title(label, fontsize=10)
            axes.set_ylim(0, 105)
            bare(axes)
        panels[0].set_ylabel("attack success rate (%)")
        legend_beside(panels[-1])
        figure.suptitle(title, fontsize=10)
        write_atomic(path, lambda file: figure.savefig(file, dpi=150))
