"""The paper's Tables 1 to 5 from a grid's rows, beside the published numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from art_snn.files import write_atomic
from art_snn.paper.comparison import compared, setting_text
from art_snn.paper.published import TABLES
from art_snn.paper.wording import LABELS, architecture, gamma_policy, is_events, size, star, step, steps, variants

Row = Mapping[str, Any]

TITLES = {
    1: "CBA and the rate gradient, white box",
    2: "White box, eps 8/255",
    3: "Black box, eps 8/255",
    4: "Time-steps, eps 8/255",
    5: "Sizes of the perturbation",
}
_RULES = {
    1: ("cba", "rate"),
    2: ("cba", "bptr", "stbp", "rga", "rate", "hart"),
    3: ("cba", "bptr", "stbp", "rga", "rate", "hart"),
    4: ("stbp", "rga", "hart"),
    5: ("stbp", "rga", "hart"),
}
_SETTINGS = {1: ("white-box",), 2: ("white-box",), 3: ("black-box",)}
_ABOUT = ("dataset", "architecture", "width", "time_steps", "decay", "defence", "setting", "attack", "eps", "seed")
_IDENTITY = ("reset", "samples_sha256", "target_sha256", "source_sha256")
_HEADER = ("data", "network", "T", "lambda", "setting", "attack", "eps", "clean")
_LATEX = str.maketrans({sign: f"\\{sign}" for sign in "%&#_$"})


def long_table(number: int, rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows that belong to one of the paper's tables, one line each.

    Columns: what the row is about; ``ours`` with ``low``, ``high`` and ``n``, ``clean_accuracy``, ``gamma`` and how it
    was chosen; ``published`` and ``difference`` where the setting is the published one; ``nearest`` and
    ``nearest_setting`` otherwise (`art_snn.paper.comparison`); ``published_clean_accuracy`` of either, where the paper
    says it; what tells experiments apart. Shares are in percent.

    Args:
        number: Number of the table, 1 to 5.
        rows: Rows of a grid.

    Raises:
        ValueError: There is no such table.
    """
    return pd.DataFrame([_line(number, row) for row in _belonging(number, rows)])


def wide_table(number: int, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and lines for reading: a line of ours for each setting, and one of the paper's below it.

    Rows that cannot be compared (other samples, weights, seed, reset, PGD steps, or choice of gamma) are never in one
    line; where there are such rows, columns say what differs.

    Args:
        number: Number of the table, 1 to 5.
        rows: Rows of a grid.

    Raises:
        ValueError: There is no such table.
    """
    found = _belonging(number, rows)
    rules = [rule for rule in _RULES[number] if any(row["rule"] == rule for row in found)]
    about = variants(found)
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row, variant in zip(found, about, strict=True):
        groups[_place(row, variant)].append(row)
    several = len(_policies(found)) > 1
    header = [*_HEADER, *(["variant"] if any(about) else []), *(["gamma of HART"] if several else [])]
    lines: list[list[str]] = []
    for key, group in sorted(groups.items()):
        for policy in _policies(group) or [""]:
            row = group[0]
            start = [
                str(row["dataset"]),
                architecture(row),
                f"{row['time_steps']}",
                f"{row['decay']:g}{star(row)}",
                row["setting"],
                row["attack"].upper(),
                size(row),
                f"{100 * row['clean_accuracy']:.1f}",
            ]
            start += ([key[-1]] if any(about) else []) + ([policy] if several else [])
            mine = [_line(number, row) for row in group if gamma_policy(row) in ("", policy)]
            lines += _pair(start, {line["rule"]: line for line in mine}, rules)
    return [*header, "", *(LABELS[rule] for rule in rules)], lines


def write_table(number: int, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write a table as Markdown, LaTeX and CSV.

    Args:
        number: Number of the table, 1 to 5.
        rows: Rows of a grid.
        folder: Folder to write to; made if missing.

    Returns:
        The files: ``tableN.md``, ``tableN.tex``, ``tableN.csv``.
    """
    header, lines = wide_table(number, rows)
    note = _note(number, rows)
    body = tabulate(lines, header, "github", disable_numparse=True)
    markdown = f"### Table {number}. {TITLES[number]}\n\n{body}\n\n{note}\n"
    latex = tabulate(lines, header, "latex_booktabs", disable_numparse=True)
    small = f"\\par\\smallskip{{\\footnotesize {note.translate(_LATEX)}\\par}}"
    frame = long_table(number, rows)
    files = [folder / f"table{number}{suffix}" for suffix in (".md", ".tex", ".csv")]
    writers: list[Callable[[Path], object]] = [
        lambda path: path.write_text(markdown, encoding="utf-8"),
        lambda path: path.write_text(f"% {TITLES[number]}\n{latex}\n{small}\n", encoding="utf-8"),
        lambda path: frame.to_csv(path, index=False, float_format="%.4f"),
    ]
    for file, writer in zip(files, writers, strict=True):
        write_atomic(file, writer)
    return files


def write_rows(rows: Sequence[Row], folder: Path) -> Path:
    """Write all rows with all that they hold but the curves of gamma as CSV, so that every number can be checked.

    Args:
        rows: Rows of a grid.
        folder: Folder to write to; made if missing.

    Returns:
        The file, ``rows.csv``.
    """
    records = []
    for row in rows:
        first = {name: row[name] for name in (*_ABOUT, "rule")}
        rest = {name: value for name, value in row.items() if name not in (*first, "gamma_curve", "versions")}
        versions = {f"version_{name}": value for name, value in row.get("versions", {}).items()}
        records.append({**first, **rest, "gamma_values": len(row["gamma_curve"] or ()), **versions})
    frame = pd.DataFrame(records)
    file = folder / "rows.csv"
    write_atomic(file, lambda path: frame.to_csv(path, index=False))
    return file


def _belonging(number: int, rows: Sequence[Row]) -> list[Row]:
    if number not in TABLES:
        raise ValueError(f"table must be one of {', '.join(map(str, TABLES))}, got {number!r}")
    return [row for row in rows if _belongs(number, row)]


def _belongs(number: int, row: Row) -> bool:
    if row["rule"] not in _RULES[number] or row["setting"] not in _SETTINGS.get(number, ("white-box", "black-box")):
        return False
    if number in (4, 5) and (is_events(row) or row["defence"] != "none"):
        return False
    return number == 5 or is_events(row) or abs(row["eps"] - 8 / 255) < 1e-6


def _line(number: int, row: Row) -> dict[str, Any]:
    exact, nearest = compared(number, row)
    known = exact or nearest
    ours = None if row["attack_success_rate"] is None else 100 * row["attack_success_rate"]
    return {
        **{name: row[name] for name in _ABOUT},
        "rule": row["rule"],
        "clean_accuracy": 100 * row["clean_accuracy"],
        "ours": ours,
        "low": 100 * row["attack_success_rate_low"],
        "high": 100 * row["attack_success_rate_high"],
        "n": row["attack_success_rate_n"],
        "robust_accuracy": 100 * row["robust_accuracy"],
        "gamma": row["gamma"],
        "gamma_chosen": row["gamma_chosen"],
        "published_clean_accuracy": None if known is None else known.clean_accuracy,
        "published": None if exact is None else exact.attack_success_rate,
        "difference": None if exact is None or ours is None else ours - exact.attack_success_rate,
        "nearest": None if nearest is None else nearest.attack_success_rate,
        "nearest_setting": None if nearest is None else setting_text(nearest, row),
        "eps_step": step(row),
        "max_iter": steps(row),
        **{name: row[name] for name in _IDENTITY},
    }


def _place(row: Row, variant: str) -> tuple[Any, ...]:
    """Return where a row's line is in a table; rows of one line have the same place."""
    width = -1 if row["width"] is None else row["width"]
    names = ("time_steps", "decay", "defence", "setting", "attack", "eps")
    return (row["dataset"], row["architecture"], width, *(row[name] for name in names), variant)


def _policies(rows: Sequence[Row]) -> list[str]:
    return sorted({gamma_policy(row) for row in rows} - {""})


def _pair(start: list[str], by_rule: Mapping[str, Mapping[str, Any]], rules: Sequence[str]) -> list[list[str]]:
    """Return the line of ours and, where the paper has a number, that of the paper."""
    cells = [by_rule.get(rule) for rule in rules]
    pair = [[*start, "ours", *("" if cell is None else _ours(cell) for cell in cells)]]
    known = [cell for cell in cells if cell is not None]
    settings = [cell["nearest_setting"] for cell in known if cell["nearest_setting"] is not None]
    blank = [""] * len(start)
    clean = {cell["published_clean_accuracy"] for cell in known} - {None}
    if len(clean) == 1:
        blank[_HEADER.index("clean")] = f"{clean.pop():.2f}"
    if any(cell["published"] is not None for cell in known):
        pair.append([*blank, "published", *("" if cell is None else _exact(cell) for cell in cells)])
    elif settings:
        pair.append([*blank, f"paper: {settings[0]}", *("" if cell is None else _near(cell) for cell in cells)])
    return pair


def _note(number: int, rows: Sequence[Row]) -> str:
    note = (
        "Attack success rates in percent with 95 % confidence intervals (Wilson). * target trained on adversarial "
        "examples. Numbers of the paper are from Hao et al. (ICLR 2024); a difference is given where the setting is "
        "the paper's."
    )
    policies = _policies(_belonging(number, rows))
    if len(policies) == 1:
        note += f" Gamma of HART: {policies[0]}."
    for row in rows:
        if row["attack"] == "clip-only" and number in (1, 2) and row["attack_success_rate"] is not None:
            share, low, high = (100 * row[f"attack_success_rate{end}"] for end in ("", "_low", "_high"))
            note += (
                f" Control for {row['dataset']}, T={row['time_steps']}, lambda {row['decay']:g}: clipping counts to "
                f"[0, 1] alone flips {share:.1f} [{low:.1f}, {high:.1f}] %; the attacks here do not clip to it."
            )
    return note


def _ours(line: Mapping[str, Any]) -> str:
    return "" if line["ours"] is None else f"{line['ours']:.1f} [{line['low']:.1f}, {line['high']:.1f}]"


def _exact(line: Mapping[str, Any]) -> str:
    if line["published"] is None:
        return ""
    difference = "" if line["difference"] is None else f" ({line['difference']:+.1f})"
    return f"{line['published']:.2f}{difference}"


def _near(line: Mapping[str, Any]) -> str:
    return "" if line["nearest"] is None else f"{line['nearest']:.2f}"
