"""The paper's Tables 1 to 5 from a grid's rows, beside the published numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from art_snn.published import TABLES, Published, hart_iclr2024
from art_snn.report.rows import LABELS
from art_snn.storage import write_atomic

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
_ARCHITECTURES = {"vgg11": "VGG-11", "resnet17": "ResNet-17", "vgg_dvs": "VGG-DVS", "vgg_small": "small VGG"}
_GROUP = ("dataset", "architecture", "width", "time_steps", "decay", "defence", "setting", "attack", "eps", "seed")


def long_table(number: int, rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows that belong to one of the paper's tables, one line each.

    Columns: what the row is about; ``ours`` with ``low``, ``high`` and ``n``, ``clean_accuracy``, ``gamma`` and how it
    was chosen; ``published`` and ``difference`` where the setting is the published one; ``nearest`` and
    ``nearest_setting`` where the paper has the same attack, rule and lambda on another network or data set. Shares are
    in percent.

    Args:
        number: Number of the table, 1 to 5.
        rows: Rows of a grid.

    Raises:
        ValueError: There is no such table.
    """
    if number not in TABLES:
        raise ValueError(f"table must be one of {', '.join(map(str, TABLES))}, got {number!r}")
    lines = []
    for row in rows:
        if not _belongs(number, row):
            continue
        line = {name: row[name] for name in _GROUP} | {"rule": row["rule"]}
        line |= {
            "clean_accuracy": 100 * row["clean_accuracy"],
            "ours": None if row["attack_success_rate"] is None else 100 * row["attack_success_rate"],
            "low": 100 * row["attack_success_rate_low"],
            "high": 100 * row["attack_success_rate_high"],
            "n": row["attack_success_rate_n"],
            "robust_accuracy": 100 * row["robust_accuracy"],
            "gamma": row["gamma"],
            "gamma_chosen": row["gamma_chosen"],
        }
        exact, nearest = _published(number, row)
        line |= {
            "published": None if exact is None else exact.attack_success_rate,
            "difference": None if exact is None or line["ours"] is None else line["ours"] - exact.attack_success_rate,
            "nearest": None if nearest is None else nearest.attack_success_rate,
            "nearest_setting": None if nearest is None else _setting(nearest),
        }
        lines.append(line)
    return pd.DataFrame(lines)


def wide_table(number: int, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and lines for reading: a line of ours for each setting, and one of the paper's below it.

    Args:
        number: Number of the table, 1 to 5.
        rows: Rows of a grid.

    Raises:
        ValueError: There is no such table.
    """
    table = long_table(number, rows)
    rules = [rule for rule in _RULES[number] if not table.empty and (table["rule"] == rule).any()]
    header = ["data", "network", "T", "lambda", "setting", "attack", "eps", "clean", "", *(LABELS[r] for r in rules)]
    lines: list[list[str]] = []
    if table.empty:
        return header, lines
    for key, group in table.groupby(list(_GROUP), dropna=False, sort=True):
        about = dict(zip(_GROUP, key, strict=True))
        star = "*" if about["defence"] != "none" else ""
        start = [
            str(about["dataset"]),
            _ARCHITECTURES.get(about["architecture"], about["architecture"]) + _width(about["width"]),
            f"{about['time_steps']}",
            f"{about['decay']:g}{star}",
            about["setting"],
            about["attack"].upper(),
            _eps(about["eps"], about["architecture"]),
            f"{group['clean_accuracy'].iloc[0]:.1f}",
        ]
        by_rule = {line["rule"]: line for line in group.to_dict("records")}
        lines.append([*start, "ours", *(_cell(by_rule.get(rule), _ours) for rule in rules)])
        if group["published"].notna().any():
            lines.append([*[""] * 8, "published", *(_cell(by_rule.get(r), _exact) for r in rules)])
        elif group["nearest"].notna().any():
            setting = group["nearest_setting"].dropna().iloc[0]
            lines.append([*[""] * 8, f"paper: {setting}", *(_cell(by_rule.get(r), _near) for r in rules)])
    return header, lines


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
    note = (
        "Attack success rates in percent with 95 % confidence intervals (Wilson). * target trained on FGSM examples. "
        "Numbers of the paper are from Hao et al. (ICLR 2024); a difference is given where the setting is the paper's."
    )
    for row in rows:
        if row["attack"] == "clip-only" and number in (1, 2) and row["attack_success_rate"] is not None:
            share, low, high = (100 * row[f"attack_success_rate{end}"] for end in ("", "_low", "_high"))
            note += (
                f" Control for {row['dataset']}, T={row['time_steps']}, lambda {row['decay']:g}: clipping counts to "
                f"[0, 1] alone flips {share:.1f} [{low:.1f}, {high:.1f}] %; the attacks here do not clip to it."
            )
    body = tabulate(lines, header, "github", disable_numparse=True)
    markdown = f"### Table {number}. {TITLES[number]}\n\n{body}\n\n{note}\n"
    latex = tabulate(lines, header, "latex_booktabs", disable_numparse=True)
    frame = long_table(number, rows)
    files = [folder / f"table{number}{suffix}" for suffix in (".md", ".tex", ".csv")]
    writers: list[Callable[[Path], object]] = [
        lambda path: path.write_text(markdown, encoding="utf-8"),
        lambda path: path.write_text(f"% {TITLES[number]}. {note}\n{latex}\n", encoding="utf-8"),
        lambda path: frame.to_csv(path, index=False, float_format="%.4f"),
    ]
    for file, writer in zip(files, writers, strict=True):
        write_atomic(file, writer)
    return files


def _belongs(number: int, row: Row) -> bool:
    if row["rule"] not in _RULES[number] or row["setting"] not in _SETTINGS.get(number, ("white-box", "black-box")):
        return False
    events = row["architecture"] == "vgg_dvs"
    if number in (4, 5) and (events or row["defence"] != "none"):
        return False
    return number == 5 or events or abs(row["eps"] - 8 / 255) < 1e-6


def _published(number: int, row: Row) -> tuple[Published | None, Published | None]:
    """Return the published number of a row's setting, and the nearest one if there is none."""
    known = [
        one
        for one in hart_iclr2024()
        if (one.table, one.rule, one.setting, one.attack) == (number, row["rule"], row["setting"], row["attack"])
        and abs(one.decay - row["decay"]) < 1e-9
        and abs(one.eps_255 / 255 - row["eps"]) < 1e-6
        and one.robust_target == (row["defence"] != "none")
        and (one.architecture == "vgg_dvs") == (row["architecture"] == "vgg_dvs")
    ]
    exact = [
        one
        for one in known
        if (one.dataset, one.architecture, one.time_steps) == (row["dataset"], row["architecture"], row["time_steps"])
        and row["width"] is None
    ]
    if exact:
        return exact[0], None
    nearest = sorted(
        known, key=lambda one: (abs(one.time_steps - row["time_steps"]), one.dataset, one.architecture != "vgg11")
    )
    return None, nearest[0] if nearest else None


def _setting(one: Published) -> str:
    return f"{one.dataset}, {_ARCHITECTURES[one.architecture]}, T={one.time_steps}"


def _width(width: Any) -> str:
    return "" if pd.isna(width) else f", {width:g} wide"


def _cell(line: Mapping[str, Any] | None, text: Callable[[Mapping[str, Any]], str]) -> str:
    return "" if line is None else text(line)


def _ours(line: Mapping[str, Any]) -> str:
    return "" if pd.isna(line["ours"]) else f"{line['ours']:.1f} [{line['low']:.1f}, {line['high']:.1f}]"


def _exact(line: Mapping[str, Any]) -> str:
    return "" if pd.isna(line["published"]) else f"{line['published']:.2f} ({line['difference']:+.1f})"


def _near(line: Mapping[str, Any]) -> str:
    return "" if pd.isna(line["nearest"]) else f"{line['nearest']:.2f}"


def _eps(eps: float, architecture: str) -> str:
    """Return eps as images have it, in 1/255, or as event frames have it, in events."""
    return f"{eps:.2g} events" if architecture == "vgg_dvs" else f"{255 * eps:.3g}/255"
