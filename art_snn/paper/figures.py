"""Figures: their panels, legends and files; attack success over gamma, and over eps, from a grid's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from art_snn.errors import NothingToDrawError
from art_snn.evaluation.metrics import wilson_interval
from art_snn.evaluation.rows import GridRow
from art_snn.files import write_atomic
from art_snn.paper.wording import check_comparable, eps_text, network, star
from art_snn.rules import rule_names

DASHES = ("-", "--", ":", "-.")
_COLUMNS = 4
# In inches: a panel; a letter, a handle and a line of the legend.
_PANEL = (3.1, 2.9)
_LETTER, _HANDLE, _LINE = 0.062, 0.6, 0.18


def gamma_figure(rows: Sequence[GridRow], folder: Path) -> list[Path]:
    """Draw the attack success rate over gamma, as the paper's Figure 3 does; return ``gamma.png`` and ``gamma.svg``.

    A panel for each architecture, T, kind of target, setting, attack and rule, a line for each lambda (its colour) and
    eps (its dashes); bands are 95 % confidence intervals, circles the gamma chosen.

    Args:
        rows: Rows of a grid.
        folder: Folder to write to; made if missing.

    Raises:
        NothingToDrawError: No row has anything to draw.
        ResultsError: Rows are of several experiments.
    """
    curves = [row for row in rows if row.gamma_curve and row.parameter == "gamma"]
    if not curves:
        raise NothingToDrawError("no row has a curve of gamma; run the grid with gamma tuned")
    check_comparable(curves)
    decays = sorted({row.decay for row in curves})
    sizes = {events: sorted({row.eps for row in curves if row.events == events}) for events in (False, True)}
    groups = _panels(curves, with_decay=False)
    with panels(len(groups), folder, "gamma") as every:
        for axes, (title, group) in zip(every, groups, strict=True):
            for row in sorted(group, key=lambda row: (row.decay, row.eps)):
                dashes = DASHES[sizes[row.events].index(row.eps) % len(DASHES)]
                _curve(axes, row, f"C{decays.index(row.decay)}", dashes)
            _dress(axes, title, f"gamma of {group[0].rule_title}")
    return figure_files(folder, "gamma")


def epsilon_figure(rows: Sequence[GridRow], folder: Path) -> list[Path]:
    """Draw the attack success rate of each rule over eps; return ``epsilon.png`` and ``epsilon.svg``.

    A panel for each network, setting and attack; bars are 95 % confidence intervals. Arguments and errors are those of
    `gamma_figure`.
    """
    attacks = [row for row in rows if row.rule and row.attack_success_rate.total]
    if not attacks:
        raise NothingToDrawError("there are no rows of attacks")
    check_comparable(attacks)
    rules = list(dict.fromkeys([*rule_names(), *sorted({row.rule for row in attacks})]))
    groups = _panels(attacks, with_decay=True)
    with panels(len(groups), folder, "epsilon") as every:
        for axes, (title, group) in zip(every, groups, strict=True):
            for i, rule in enumerate(rules):
                line = sorted((row for row in group if row.rule == rule), key=lambda row: row.eps)
                if not line:
                    continue
                values = 100 * np.array([row.attack_success_rate.value for row in line])
                ends = 100 * np.array([row.attack_success_rate[1:3] for row in line]).T
                eps = [row.eps * (1 if row.events else 255) for row in line]
                style: Any = {"marker": ".", "capsize": 2, "color": f"C{i}", "label": line[0].rule_title}
                axes.errorbar(eps, values, yerr=np.abs(ends - values), **style)
            _dress(axes, title, "ε (events)" if group[0].events else "ε (1/255)")
            axes.set_ylim(0, 103)
    return figure_files(folder, "epsilon")


def _panels(rows: Sequence[GridRow], *, with_decay: bool) -> list[tuple[str, list[GridRow]]]:
    """Return titles of panels with their rows, in order; lambda, or else the rule, parts the panels."""
    groups: dict[tuple[Any, ...], tuple[str, list[GridRow]]] = {}
    for row in rows:
        about = f"{network(row)}, λ={row.decay:g}" if with_decay else network(row)
        title = f"{row.dataset}, {about}{star(row)}, T={row.time_steps}\n{row.attack_title}, {row.setting}"
        place = (
            *(row.dataset, row.architecture, network(row), row.time_steps, star(row)),
            *(row.decay if with_decay else row.rule, row.setting != "white-box", row.attack),
        )
        groups.setdefault(place, (title, []))[1].append(row)
    return [groups[place] for place in sorted(groups)]


def _curve(axes: Any, row: GridRow, color: str, dashes: str) -> None:
    """Draw a curve of gamma with its band, and a circle around the gamma that was chosen."""
    gammas, hits, totals = (np.array(column) for column in zip(*row.gamma_curve or (), strict=True))
    shares = [wilson_interval(int(h), int(t)) for h, t in zip(hits, totals, strict=True)]
    low, values, high = (100 * np.array([getattr(share, end) for share in shares]) for end in ("low", "value", "high"))
    label = f"λ={row.decay:g}{star(row)}, ε={eps_text(row)}"
    axes.plot(gammas, values, label=label, color=color, linestyle=dashes, marker="o", markersize=4)
    axes.fill_between(gammas, low, high, color=color, alpha=0.06, linewidth=0)
    best = list(gammas).index(row.gamma)
    axes.plot(gammas[best], values[best], "o", color=color, fillstyle="none", markersize=9)


def _dress(axes: Any, title: str, about: str) -> None:
    axes.set_title(title, fontsize=8)
    axes.set(xlabel=about, ylabel="attack success rate (%)")


@contextmanager
def panels(count: int, folder: Path, name: str) -> Iterator[list[Any]]:
    """Give axes to draw on; after the block, put one legend of all labels below them and write `figure_files`."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    with mpl.rc_context({"svg.hashsalt": "art_snn", "font.size": 9}):
        width, height = _PANEL[0] * columns + 0.8, _PANEL[1] * rows
        figure = Figure(figsize=(width, height), layout="constrained")
        every = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in every:
            axes.spines[["top", "right"]].set_visible(False)
        for axes in every[count:]:
            axes.set_visible(False)
        yield every[:count]
        figure.set_size_inches(width, height + _legend(figure, width))
        for file in figure_files(folder, name):
            metadata = {"Date": None} if file.suffix == ".svg" else None
            write_atomic(file, partial(figure.savefig, dpi=120, metadata=metadata))


def figure_files(folder: Path, name: str) -> list[Path]:
    """Return the files of a figure, PNG and SVG."""
    return [folder / f"{name}{suffix}" for suffix in (".png", ".svg")]


def _legend(figure: Figure, width: float) -> float:
    """Put the legend below the panels, in as many columns as fit; return its height."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    columns = max(1, int(width / (_LETTER * max(map(len, handles)) + _HANDLE)))
    place: Any = {"loc": "outside lower center", "frameon": False, "ncols": columns, "fontsize": 8}
    figure.legend(handles.values(), handles.keys(), **place)
    return _LINE * -(-len(handles) // columns) + 0.2
