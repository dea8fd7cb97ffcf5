"""Figures from a grid's rows: success over gamma and over eps; temporal retention over lambda and T."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from art_snn.metrics import wilson_interval
from art_snn.report.rows import LABELS
from art_snn.storage import write_atomic

Row = Mapping[str, Any]
FORMATS = (".png", ".svg")


class NothingToDrawError(ValueError):
    """The rows hold nothing that a figure shows; the message is one line."""


def gamma_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw the attack success rate of HART over gamma, as the paper's Figure 3 does.

    A panel for each setting and attack, a line for each network and eps; bands are 95 % confidence intervals, circles
    the gamma that was chosen.

    Args:
        rows: Rows of a grid.
        folder: Folder to write to; made if missing.

    Returns:
        The files: ``gamma.png`` and ``gamma.svg``.

    Raises:
        NothingToDrawError: No row has a curve.
    """
    curves = [row for row in rows if row["gamma_curve"]]
    if not curves:
        raise NothingToDrawError("no row has a curve of gamma; run the grid with gamma tuned")
    panels = sorted(
        {(row["setting"], row["attack"]) for row in curves}, key=lambda one: (one[0] != "white-box", one[1])
    )

    def draw(figure: Figure) -> None:
        for axes, (setting, attack) in zip(_axes(figure, len(panels)), panels, strict=True):
            for row in (row for row in curves if (row["setting"], row["attack"]) == (setting, attack)):
                gammas, hits, totals = (np.array(column) for column in zip(*row["gamma_curve"], strict=True))
                shares = [wilson_interval(int(h), int(t)) for h, t in zip(hits, totals, strict=True)]
                values = 100 * np.array([share.value for share in shares])
                label = f"{_network(row)}, ε={_eps(row)}"
                (line,) = axes.plot(gammas, values, marker=".", label=label)
                low, high = (100 * np.array([getattr(s, end) for s in shares]) for end in ("low", "high"))
                axes.fill_between(gammas, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
                best = list(gammas).index(row["gamma"])
                axes.plot(gammas[best], values[best], "o", color=line.get_color(), fillstyle="none", markersize=9)
            axes.set_title(f"{attack.upper()}, {setting}", fontsize=10)
            axes.set_xlabel("gamma of HART")
            axes.set_ylabel("attack success rate (%)")
        _legend(figure)

    return _save(draw, len(panels), folder, "gamma")


def epsilon_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw the attack success rate of each rule over eps.

    A panel for each network, setting and attack; bars are 95 % confidence intervals.

    Args:
        rows: Rows of a grid.
        folder: Folder to write to; made if missing.

    Returns:
        The files: ``epsilon.png`` and ``epsilon.svg``.

    Raises:
        NothingToDrawError: There are no rows of attacks.
    """
    kept = [row for row in rows if row["rule"] and row["attack_success_rate"] is not None]
    if not kept:
        raise NothingToDrawError("there are no rows of attacks")
    found = {(_network(row), row["setting"], row["attack"]) for row in kept}
    panels = sorted(found, key=lambda one: (one[0], one[1] != "white-box", one[2]))

    def draw(figure: Figure) -> None:
        for axes, panel in zip(_axes(figure, len(panels)), panels, strict=True):
            mine = [row for row in kept if (_network(row), row["setting"], row["attack"]) == panel]
            for rule in LABELS:
                line = sorted((row for row in mine if row["rule"] == rule), key=lambda row: row["eps"])
                if not line:
                    continue
                values = np.array([row["attack_success_rate"] for row in line])
                ends = np.array([[row["attack_success_rate_low"], row["attack_success_rate_high"]] for row in line]).T
                errors = np.abs(ends - values)
                events = line[0]["architecture"] == "vgg_dvs"
                eps = [row["eps"] * (1 if events else 255) for row in line]
                axes.errorbar(eps, 100 * values, yerr=100 * errors, marker=".", capsize=2, label=LABELS[rule])
            axes.set_title(f"{panel[0]}\n{panel[2].upper()}, {panel[1]}", fontsize=9)
            axes.set_xlabel("ε (events)" if mine[0]["architecture"] == "vgg_dvs" else "ε (1/255)")
            axes.set_ylabel("attack success rate (%)")
            axes.set_ylim(0, 103)
        _legend(figure)

    return _save(draw, len(panels), folder, "epsilon")


def retention_figure(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw temporal retention chi over the time-steps and over the layers.

    Args:
        records: Entries with ``network``, ``decay``, ``time_steps``, ``layer``, ``position`` and ``chi``.
        folder: Folder to write to; made if missing.

    Returns:
        The files: ``retention.png`` and ``retention.svg``.

    Raises:
        NothingToDrawError: There are no records.
    """
    if not records:
        raise NothingToDrawError("there are no values of chi")
    networks = list(dict.fromkeys(record["network"] for record in records))

    def draw(figure: Figure) -> None:
        left, right = _axes(figure, 2)
        for network in networks:
            mine = [record for record in records if record["network"] == network]
            steps = sorted({record["time_steps"] for record in mine})
            means = [np.nanmean([r["chi"] for r in mine if r["time_steps"] == step]) for step in steps]
            (line,) = left.plot(steps, means, marker="o", label=network)
            own = [record for record in mine if record["time_steps"] == record["trained_time_steps"]]
            right.plot([r["position"] for r in own], [r["chi"] for r in own], marker="o", color=line.get_color())
        left.set_title("mean over the layers", fontsize=10)
        left.set_xlabel("time-steps T")
        left.set_yscale("log")
        left.set_xscale("log", base=2)
        left.set_ylabel("temporal retention χ")
        right.set_title("each layer, T of the training", fontsize=10)
        right.set_xlabel("spiking layer")
        right.set_ylabel("temporal retention χ")
        right.set_yscale("log")
        _legend(figure)

    return _save(draw, 2, folder, "retention")


def _network(row: Row) -> str:
    star = "*" if row["defence"] != "none" else ""
    return f"{row['dataset']}, λ={row['decay']:g}{star}, T={row['time_steps']}"


def _eps(row: Row) -> str:
    return f"{row['eps']:.2g}" if row["architecture"] == "vgg_dvs" else f"{255 * row['eps']:.3g}/255"


def _axes(figure: Figure, count: int) -> list[Any]:
    columns = min(count, 4)
    grid = figure.subplots(-(-count // columns), columns, squeeze=False)
    found = list(grid.flat)
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
    for axes in found[count:]:
        axes.set_visible(False)
    return found[:count]


def _legend(figure: Figure) -> None:
    """Put one legend, of all labels, below the panels."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", frameon=False, ncols=3, fontsize=8)


def _save(draw: Any, panels: int, folder: Path, name: str) -> list[Path]:
    rows = -(-panels // 4)
    with mpl.rc_context({"svg.hashsalt": "art_snn", "font.size": 9}):
        figure = Figure(figsize=(3.1 * min(panels, 4) + 0.8, 2.9 * rows + 0.9), layout="constrained")
        draw(figure)
        files = [folder / f"{name}{suffix}" for suffix in FORMATS]
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else None
            write_atomic(file, partial(figure.savefig, dpi=120, metadata=metadata))
    return files
