"""The figure of temporal retention: leak, time-steps and input type, as the poster argues with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from art_snn.errors import NothingToDrawError
from art_snn.paper.drawing import save
from art_snn.paper.wording import architecture, star

Record = Mapping[str, Any]

_DASHES = ("-", "--", ":", "-.")
_MARKERS = "os^Dv*P"
_Y = "temporal retention χ"


def retention_figure(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw temporal retention chi over the time-steps and over the layers, and over lambda where there are several.

    A line for each network. Networks of one data set, architecture, kind of target and T of the training have the same
    marker and dashes; those of one lambda have the same colour.

    Args:
        records: Entries with ``run``, ``dataset``, ``architecture``, ``decay``, ``defence``, ``trained_time_steps``,
            ``time_steps``, ``position`` and ``chi``.
        folder: Folder to write to; made if missing.

    Returns:
        The files: ``retention.png`` and ``retention.svg``.

    Raises:
        NothingToDrawError: There are no records.
    """
    if not records:
        raise NothingToDrawError("there are no values of chi")
    ordered = sorted(records, key=_network)
    networks = [list(group) for _, group in groupby(ordered, key=_network)]
    families = list(dict.fromkeys(_family(one) for one in ordered))
    decays = sorted({one["decay"] for one in ordered})
    over_decay = {
        family: sorted((mine[0]["decay"], _mean(_own(mine))) for mine in networks if _family(mine[0]) == family)
        for family in families
    }
    over_decay = {family: points for family, points in over_decay.items() if len({decay for decay, _ in points}) > 1}

    def style(family: str, color: str) -> dict[str, Any]:
        i = families.index(family)
        return {"color": color, "linestyle": _DASHES[i % len(_DASHES)], "marker": _MARKERS[i % len(_MARKERS)]}

    def draw(found: list[Any]) -> None:
        for i, decay in enumerate(decays):
            found[0].plot([], [], color=f"C{i}", label=f"λ={decay:g}")
        for family in families:
            found[0].plot([], [], label=family, **style(family, "0.2"))
        for mine in networks:
            line = style(_family(mine[0]), f"C{decays.index(mine[0]['decay'])}")
            steps = sorted({one["time_steps"] for one in mine})
            means = [_mean([one for one in mine if one["time_steps"] == step]) for step in steps]
            found[0].plot(steps, means, **line)
            own = sorted(_own(mine), key=lambda one: one["position"])
            found[1].plot([one["position"] for one in own], [_mean([one]) for one in own], **line)
        found[0].set_xscale("log", base=2)
        _dress(found[0], "mean over the layers", "time-steps T", sorted({one["time_steps"] for one in records}))
        _dress(found[1], "each layer, T of the training", "spiking layer", sorted({o["position"] for o in records}))
        if over_decay:
            for family, points in over_decay.items():
                found[2].plot(*zip(*points, strict=True), **style(family, "0.2"))
            _dress(found[2], "mean over the layers, T of the training", "membrane retention λ", decays)

    return save(draw, 3 if over_decay else 2, folder, "retention")


def _network(record: Record) -> tuple[Any, ...]:
    first = (record["dataset"], architecture(record), star(record), record["trained_time_steps"])
    return (*first, record["decay"], record["run"])


def _family(record: Record) -> str:
    network = f"{record['dataset']}, {architecture(record)}{star(record)}"
    return f"{network}, trained with T={record['trained_time_steps']}"


def _own(records: Sequence[Record]) -> list[Record]:
    return [one for one in records if one["time_steps"] == one["trained_time_steps"]]


def _mean(records: Sequence[Record]) -> float:
    """Return the mean of chi; NaN, which is not drawn, where none is above 0."""
    values = [one["chi"] for one in records if one["chi"] > 0]
    return float(np.mean(values)) if values else float("nan")


def _dress(axes: Any, title: str, about: str, ticks: Sequence[float]) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(about)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylabel(_Y)
    if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set_yscale("log")
