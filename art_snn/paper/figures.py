"""Figures from a grid's rows: success over gamma and over eps; temporal retention over lambda and T."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_snn.errors import NothingToDrawError
from art_snn.evaluation.metrics import wilson_interval
from art_snn.paper.drawing import save
from art_snn.paper.retention_figure import retention_figure
from art_snn.paper.wording import LABELS, architecture, gamma_policy, is_events, size, star, variants

__all__ = ["NothingToDrawError", "epsilon_figure", "gamma_figure", "retention_figure"]

Row = Mapping[str, Any]

_DASHES = ("-", "--", ":", "-.")
_MARKERS = "osv^D*"


def gamma_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw the attack success rate of HART over gamma, as the paper's Figure 3 does.

    A panel for each architecture, T, kind of target, setting and attack, a line for each lambda (its colour) and eps
    (its dashes), with markers for how gamma was chosen; bands are 95 % confidence intervals, circles the gamma chosen.

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
    panels = _panels(curves, with_decay=False)
    decays = sorted({row["decay"] for row in curves})
    sizes = {events: sorted({row["eps"] for row in curves if is_events(row) == events}) for events in (False, True)}
    policies = sorted({gamma_policy(row) for row in curves})

    def draw(found: list[Any]) -> None:
        for axes, (title, mine) in zip(found, panels.items(), strict=True):
            for row in sorted(mine, key=lambda row: (row["decay"], row["eps"], gamma_policy(row))):
                label = f"λ={row['decay']:g}{star(row)}, ε={size(row)}"
                if len(policies) > 1:
                    label += f", {gamma_policy(row)}"
                dashes = sizes[is_events(row)].index(row["eps"])
                style = {
                    "color": f"C{decays.index(row['decay'])}",
                    "linestyle": _DASHES[dashes % len(_DASHES)],
                    "marker": _MARKERS[policies.index(gamma_policy(row)) % len(_MARKERS)],
                }
                _curve(axes, row, label, style)
            axes.set_title(title, fontsize=8)
            axes.set_xlabel("gamma of HART")
            axes.set_ylabel("attack success rate (%)")

    return save(draw, len(panels), folder, "gamma")


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
    panels = _panels(kept, with_decay=True)
    policies = sorted({gamma_policy(row) for row in kept} - {""})

    def draw(found: list[Any]) -> None:
        for axes, (title, mine) in zip(found, panels.items(), strict=True):
            for rule, policy in [(rule, policy) for rule in LABELS for policy in ("", *policies)]:
                line = [row for row in mine if (row["rule"], gamma_policy(row)) == (rule, policy)]
                if not line:
                    continue
                line.sort(key=lambda row: row["eps"])
                values = np.array([row["attack_success_rate"] for row in line])
                ends = np.array([[row["attack_success_rate_low"], row["attack_success_rate_high"]] for row in line]).T
                eps = [row["eps"] * (1 if is_events(row) else 255) for row in line]
                axes.errorbar(
                    eps,
                    100 * values,
                    yerr=100 * np.abs(ends - values),
                    marker=".",
                    capsize=2,
                    color=f"C{list(LABELS).index(rule)}",
                    linestyle=_DASHES[policies.index(policy) % len(_DASHES)] if policy else "-",
                    label=f"{LABELS[rule]}, {policy}" if policy and len(policies) > 1 else LABELS[rule],
                )
            axes.set_title(title, fontsize=8)
            axes.set_xlabel("ε (events)" if is_events(mine[0]) else "ε (1/255)")
            axes.set_ylabel("attack success rate (%)")
            axes.set_ylim(0, 103)

    return save(draw, len(panels), folder, "epsilon")


def _panels(rows: Sequence[Row], *, with_decay: bool) -> dict[str, list[Row]]:
    """Return titles of panels and their rows, in order; rows that cannot be compared are in panels of their own."""
    found: dict[tuple[Any, ...], tuple[str, list[Row]]] = {}
    for row, variant in zip(rows, variants(rows), strict=True):
        decay = f"λ={row['decay']:g}{star(row)}, " if with_decay else ""
        mark = "" if with_decay else star(row)
        network = f"{row['dataset']}, {architecture(row)}{mark}, {decay}T={row['time_steps']}"
        title = "\n".join(text for text in (network, variant, f"{row['attack'].upper()}, {row['setting']}") if text)
        place = (
            *(row["dataset"], row["architecture"], architecture(row), row["time_steps"], star(row)),
            *(row["decay"] if with_decay else 0.0, variant, row["setting"] != "white-box", row["attack"]),
        )
        found.setdefault(place, (title, []))[1].append(row)
    return dict(found[place] for place in sorted(found))


def _curve(axes: Any, row: Row, label: str, style: Mapping[str, Any]) -> None:
    """Draw a curve of gamma with its band, and a circle around the gamma that was chosen."""
    gammas, hits, totals = (np.array(column) for column in zip(*row["gamma_curve"], strict=True))
    shares = [wilson_interval(int(h), int(t)) for h, t in zip(hits, totals, strict=True)]
    low, values, high = (100 * np.array([getattr(share, end) for share in shares]) for end in ("low", "value", "high"))
    axes.plot(gammas, values, label=label, markersize=4, **style)
    axes.fill_between(gammas, low, high, color=style["color"], alpha=0.06, linewidth=0)
    best = list(gammas).index(row["gamma"])
    axes.plot(gammas[best], values[best], "o", color=style["color"], fillstyle="none", markersize=9)
