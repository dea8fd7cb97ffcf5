"""The paper's Tables 1 to 5 from a grid's rows, beside the published numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from art_snn.checks import check_choice
from art_snn.evaluation.rows import GridRow
from art_snn.files import write_text
from art_snn.paper.published import TABLES, Published, published_number
from art_snn.paper.wording import check_comparable, eps_text, gamma_policy, network, star

TITLES = {
    1: "CBA and the rate gradient, white box",
    2: "White box, eps 8/255",
    3: "Black box, eps 8/255",
    4: "Time-steps, eps 8/255",
    5: "Sizes of the perturbation",
}
RULES = ("cba", "bptr", "stbp", "rga", "rate", "hart")
_RULES = {1: ("cba", "rate"), 2: RULES, 3: RULES, 4: ("stbp", "rga", "hart"), 5: ("stbp", "rga", "hart")}
_WITH_OTHER_RULES = (2, 3, 5)
_BOXES = {1: "white-box", 2: "white-box", 3: "black-box"}
_SETTING = ("dataset", "architecture", "width", "time_steps", "decay", "defence", "setting", "attack", "eps")
_ABOUT = (*_SETTING, "seed", "rule")
_IDENTITY = ("eps_step", "max_iter", "reset", "samples_sha256", "target_sha256", "source_sha256")
_HEADER = ("data", "network", "T", "lambda", "setting", "attack", "eps", "clean", "")
_LATEX = str.maketrans({sign: f"\\{sign}" for sign in "%&#_$"})


def long_table(number: int, rows: Sequence[GridRow]) -> pd.DataFrame:
    """Return the rows that belong to one of the paper's tables, one line each.

    Columns: what the row is about; ``ours`` with ``low``, ``high`` and ``n``, ``clean_accuracy``, ``gamma`` and how it
    was chosen; ``published``, its ``difference`` from ours and ``published_clean_accuracy`` where the setting is the
    paper's; what tells experiments apart. Shares are in percent.

    Args:
        number: Number of the table, 1 to 5.
        rows: Rows of a grid.

    Raises:
        ValueError: There is no such table.
        ResultsError: Rows are of several experiments.
    """
    return pd.DataFrame([_line(row, published_number(number, row)) for row in _belonging(number, rows)])


def wide_table(number: int, rows: Sequence[GridRow]) -> tuple[list[str], list[list[str]]]:
    """Return header and lines for reading: a line of ours for each setting, and the published one below it.

    Rules that the paper does not have come after its own. Arguments and errors are those of `long_table`.
    """
    belonging = _belonging(number, rows)
    titles = {row.rule: row.rule_title for row in belonging}
    rules = [rule for rule in dict.fromkeys([*RULES, *sorted(titles)]) if rule in titles]
    groups: dict[tuple[Any, ...], dict[str, GridRow]] = defaultdict(dict)
    for row in belonging:
        groups[_place(row)][row.rule] = row
    lines: list[list[str]] = []
    for _, by_rule in sorted(groups.items()):
        row = next(iter(by_rule.values()))
        start = [row.dataset, network(row), f"{row.time_steps}", f"{row.decay:g}{star(row)}", row.setting]
        start += [row.attack_title, eps_text(row), f"{100 * row.clean_accuracy.value:.1f}", "ours"]
        lines.append(start + [_ours(by_rule[rule]) if rule in by_rule else "" for rule in rules])
        published = {rule: entry for rule, row in by_rule.items() if (entry := published_number(number, row))}
        if published:
            clean = next(iter(published.values())).clean_accuracy
            start = [""] * 7 + ["" if clean is None else f"{clean:.2f}", "published"]
            cells = [_theirs(published[rule], by_rule[rule]) if rule in published else "" for rule in rules]
            lines.append(start + cells)
    return [*_HEADER, *(titles[rule] for rule in rules)], lines


def write_table(number: int, rows: Sequence[GridRow], folder: Path) -> list[Path]:
    """Write a table as Markdown, LaTeX and CSV; return ``tableN.md``, ``tableN.tex`` and ``tableN.csv``.

    Arguments and errors are those of `long_table`; the folder is made if it is missing.
    """
    header, lines = wide_table(number, rows)
    note = _note(number, rows)
    body = tabulate(lines, header, "github", disable_numparse=True)
    latex = tabulate(lines, header, "latex_booktabs", disable_numparse=True)
    small = f"\\par\\smallskip{{\\footnotesize {note.translate(_LATEX)}\\par}}"
    texts = {
        ".md": f"### Table {number}. {TITLES[number]}\n\n{body}\n\n{note}\n",
        ".tex": f"% {TITLES[number]}\n{latex}\n{small}\n",
        ".csv": long_table(number, rows).to_csv(index=False, float_format="%.4f"),
    }
    for ending, text in texts.items():
        write_text(folder / f"table{number}{ending}", text)
    return [folder / f"table{number}{ending}" for ending in texts]


def write_rows(rows: Sequence[GridRow], folder: Path) -> Path:
    """Write all rows with all that they hold but the curves of gamma as CSV; return the file, ``rows.csv``."""
    records = []
    for row in rows:
        record = row.to_json()
        curve, versions = record.pop("gamma_curve"), record.pop("versions")
        record |= {"gamma_values": len(curve or ()), **{f"version_{name}": text for name, text in versions.items()}}
        records.append({**{name: record[name] for name in _ABOUT}, **record})
    write_text(folder / "rows.csv", pd.DataFrame(records).to_csv(index=False))
    return folder / "rows.csv"


def _belonging(number: int, rows: Sequence[GridRow]) -> list[GridRow]:
    check_choice("table", number, TABLES)
    belonging = [row for row in rows if _belongs(number, row)]
    check_comparable(belonging)
    return belonging


def _belongs(number: int, row: GridRow) -> bool:
    has_rule = row.rule in _RULES[number] or (number in _WITH_OTHER_RULES and row.rule not in ("", *RULES))
    has_setting = row.setting == _BOXES.get(number, row.setting)
    has_target = number < 4 or (row.defence == "none" and not row.events)
    return has_rule and has_setting and has_target and (number == 5 or row.events or abs(row.eps - 8 / 255) < 1e-6)


def _line(row: GridRow, published: Published | None) -> dict[str, Any]:
    ours, low, high = (100 * end for end in row.attack_success_rate[:3])
    clean = theirs = difference = None
    if published is not None:
        clean, theirs = published.clean_accuracy, published.attack_success_rate
        difference = ours - theirs
    return {
        **{name: getattr(row, name) for name in _ABOUT},
        **{"clean_accuracy": 100 * row.clean_accuracy.value, "ours": ours, "low": low, "high": high},
        **{
            "n": row.attack_success_rate.total,
            "robust_accuracy": 100 * row.robust_accuracy.value,
            "gamma": row.gamma,
            "gamma_chosen": row.gamma_chosen,
        },
        **{"published_clean_accuracy": clean, "published": theirs, "difference": difference},
        **{name: getattr(row, name) for name in _IDENTITY},
    }


def _place(row: GridRow) -> tuple[Any, ...]:
    """Return where a row's line is in a table; rows of one line have the same place."""
    return tuple(-1 if getattr(row, name) is None else getattr(row, name) for name in _SETTING)


def _ours(row: GridRow) -> str:
    value, low, high = (100 * share for share in row.attack_success_rate[:3])
    return f"{value:.1f} [{low:.1f}, {high:.1f}]" if row.attack_success_rate.total else ""


def _theirs(published: Published, row: GridRow) -> str:
    difference = 100 * row.attack_success_rate.value - published.attack_success_rate
    return f"{published.attack_success_rate:.2f}" + (f" ({difference:+.1f})" if row.attack_success_rate.total else "")


def _note(number: int, rows: Sequence[GridRow]) -> str:
    belonging = _belonging(number, rows)
    note = "Attack success rates in percent with 95 % confidence intervals (Wilson). "
    note += "* target trained on adversarial examples."
    if any(published_number(number, row) for row in belonging):
        note += " Published: Hao et al. (ICLR 2024), where the setting is the paper's, with the difference of ours."
    policies = ((row, gamma_policy(row)) for row in belonging)
    tuned = {(row.parameter or "gamma", row.rule_title, row.dataset, policy) for row, policy in policies if policy}
    is_one = len({(name, rule, policy) for name, rule, _, policy in tuned}) == 1
    for name, rule, dataset, policy in sorted(tuned)[: 1 if is_one else None]:
        note += f" {name.capitalize()} of {rule}{'' if is_one else f' on {dataset}'}: {policy}."
    for row in rows:
        if row.attack == "clip-only" and number in (1, 2) and row.attack_success_rate.total:
            note += f" Control for {row.dataset}, T={row.time_steps}, lambda {row.decay:g}: clipping counts to [0, 1]"
            note += f" alone flips {_ours(row)} %; the attacks here do not clip to it."
    return note
