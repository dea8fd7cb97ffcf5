"""An evaluation on one page, and as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from art_snn.evaluation.robustness.figures import curve, examples
from art_snn.evaluation.robustness.flags import Flag, Verdict, shown
from art_snn.evaluation.robustness.judging import MANY
from art_snn.evaluation.robustness.result import Robustness
from art_snn.evaluation.robustness.threats import Linf, Threat
from art_snn.evaluation.rows import package_versions
from art_snn.files import write_atomic, write_text

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 1.8rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.87rem; }
th, td { text-align: left; padding: 0.25rem 0.6rem 0.25rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
.number { font-size: 2.2rem; font-weight: 600; } .fired { font-weight: 600; }
.reliable { color: #1a6b2c; } .bound { color: #8a5a00; } .invalid { color: #a01818; }
svg { max-width: 100%; height: auto; } small { color: #555; }
"""
_CLASSES = {Verdict.RELIABLE: "reliable", Verdict.UPPER_BOUND: "bound", Verdict.INVALID: "invalid"}
_WORDS = {
    Verdict.RELIABLE: "No check found a sign that the attacks failed. The number is still an upper bound, as every "
    "number from attacks is.",
    Verdict.UPPER_BOUND: "A check found a sign that stronger attacks leave less. Report it as an upper bound.",
    Verdict.INVALID: "A check found that the attacks, or the network, did not do what they had to. The number says "
    "nothing; mend what fired first.",
}


def write_report(result: Robustness, x: np.ndarray, folder: Path, title: str) -> list[Path]:
    """Write ``report.html``, ``robustness.json`` and ``examples.npz`` into a folder, each whole or not at all.

    Args:
        result: What `art_snn.robustness` returned.
        x: The inputs that it was for (N, *S).
        folder: Where; made if missing.
        title: What the page calls the network.

    Returns:
        The files.
    """
    page, numbers, arrays = (folder / name for name in ("report.html", "robustness.json", "examples.npz"))
    content = {"x_adv": result.x_adv, "broken": result.broken}
    write_atomic(arrays, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **content))
    write_text(numbers, json.dumps({"title": title, **result.to_json()}, indent=1, allow_nan=False) + "\n")
    write_text(page, html_page(result, x, title))
    return [page, numbers, arrays]


def html_page(result: Robustness, x: np.ndarray, title: str) -> str:
    """Return an evaluation as one HTML page, which needs no other file; ``x`` holds its inputs (N, *S)."""
    pictures = examples(result, x)
    parts = [
        f"<h1>Robustness of {escape(title)}</h1>",
        _summary(result),
        "<h2>Robust accuracy over the budget</h2>",
        curve(result),
        "<h2>Stages</h2>",
        _stages(result),
        "<h2>Checks</h2>",
        _flags(result.flags),
        f"<h2>Examples</h2>{pictures}" if pictures else "",
        "<h2>Model card</h2>",
        _table(("", ""), [[name, str(value)] for name, value in _card(result).items()]),
    ]
    head = f'<meta charset="utf-8"><title>Robustness of {escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def text_summary(result: Robustness) -> str:
    """Return what a terminal shows: the number, the stages, and what fired."""
    rows = result.stages
    lines = [str(result), ""]
    lines += [f"  {row.name}: {row.broken} of {row.attacked} broken, {row.robust_accuracy} left" for row in rows]
    for each in result.flags:
        if each.fired:
            level = "note" if each.verdict is None else each.verdict
            lines.append(f"  {level}: {each}; {each.meaning}")
    return "\n".join(lines)


def _summary(result: Robustness) -> str:
    verdict, final = result.verdict, result.robust_accuracy
    lines = [
        f'<p><span class="number">{final.value:.1%}</span> [{final.low:.1%}, {final.high:.1%}] of {final.total} '
        f"samples withstand every change that was tried: {result.threat}{_norm(result.threat)}.</p>",
        f'<p><span class="{_CLASSES[verdict]}"><b>Verdict: {verdict}.</b></span> {_WORDS[verdict]}</p>',
        f"<p>Clean accuracy {result.clean}. Budget {escape(result.budget.name)}: {result.forwards.mean():.0f} forward "
        f"passes a sample, {result.full_cost:.0f} for one that withstands. "
        f"The last doubling took {100 * result.last_doubling:.1f} points.</p>",
    ]
    if result.draws > 1:
        judged = f"inputs are judged by the majority of {result.draws} draws, and examples by {MANY * result.draws}"
        lines.append(f"<p>The encoder is random: {judged} fresh ones.</p>")
    if result.clip_only is not None:
        lines.append(f"<p>Event frames. Control, clipped to [0, 1] and nothing else: {result.clip_only}.</p>")
    return "\n".join(lines)


def _norm(threat: Threat) -> str:
    return " (L-infinity)" if isinstance(threat, Linf) else ""


def _stages(result: Robustness) -> str:
    rows = [
        [
            escape(row.name),
            f"<small>{escape(row.attack)}<br>{escape(row.rule)}</small>",
            f"{row.broken} of {row.attacked}",
            "" if np.isnan(row.forwards) else f"{row.forwards:.0f}",
            str(row.robust_accuracy),
        ]
        for row in result.stages
    ]
    return _table(("stage", "attack and rule", "broken", "forwards", "left"), rows, escaped=True)


def _flags(flags: Iterable[Flag]) -> str:
    rows = []
    for each in flags:
        value = "not run" if each.value is None else shown(each.value)
        level = "note" if each.verdict is None else str(each.verdict)
        state = f'<span class="fired">{level}</span>' if each.fired else "" if each.value is None else "fine"
        said = escape(each.meaning if each.fired else "") + (f" <small>{escape(each.detail)}</small>")
        rows.append([escape(each.name), value, shown(each.threshold), state, said])
    return _table(("check", "value", "at most", "", ""), rows, escaped=True)


def _card(result: Robustness) -> dict[str, Any]:
    return {**result.card, **package_versions()}


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: bool = False) -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    cells = ["".join(f"<td>{cell if escaped else escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
