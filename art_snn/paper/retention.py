"""Temporal retention of trained networks: records, their file and their figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from art_snn.errors import NothingToDrawError, ResultsError
from art_snn.evaluation.retention import LayerRetention, temporal_retention
from art_snn.evaluation.rows import Target, described
from art_snn.files import write_text
from art_snn.paper.figures import DASHES, figure_files, panels
from art_snn.paper.wording import network, star
from art_snn.snn.encoders import DirectEncoder, takes_frames
from art_snn.snn.network import SpikingNetwork
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.run import load_trained

FILE = "retention.json"
_MARKERS = "os^Dv*P"


@dataclass(frozen=True, kw_only=True)
class RetentionRecord(Target, LayerRetention):
    """Temporal retention of one layer of a trained network, run for ``time_steps``."""

    run: str  #: Name of the network's folder.
    trained_time_steps: int  #: T of the training.
    position: int  #: Place of the layer, from 1.


def retention_records(
    run: Path, x: np.ndarray, *, device_type: str = "cpu", time_steps: Sequence[int] = (2, 4, 8, 16)
) -> list[RetentionRecord]:
    """Return temporal retention of a run's network on inputs (N, *input_shape), for images also with other T."""
    recipe, classifier = load_trained(read_checkpoint(run), device_type=device_type)
    spiking = cast("SpikingNetwork", classifier.model.network)
    inputs = torch.as_tensor(x, device=classifier.device)
    encoders = {recipe.time_steps: spiking.encoder}
    if not takes_frames(spiking):
        encoders = {
            steps: DirectEncoder(time_steps=steps) for steps in sorted({*time_steps, recipe.framing.time_steps})
        }
    about = {**described(recipe), "run": run.name, "trained_time_steps": recipe.time_steps}
    return [
        RetentionRecord(**{**vars(layer), **about, "time_steps": steps, "position": position})
        for steps, encoder in encoders.items()
        for position, layer in enumerate(temporal_retention(SpikingNetwork(encoder, spiking.body).eval(), inputs), 1)
    ]


def write_retention(records: Sequence[RetentionRecord], folder: Path) -> Path:
    """Write records as JSON; return the file, ``retention.json``."""
    write_text(folder / FILE, json.dumps([asdict(record) for record in records], indent=1) + "\n")
    return folder / FILE


def read_retention(folder: Path) -> list[RetentionRecord]:
    """Return the records that `write_retention` wrote; raise ResultsError if they are missing or damaged."""
    file = folder / FILE
    if not file.is_file():
        raise ResultsError(f"no {str(file)!r}; art-snn paper writes it")
    try:
        return [RetentionRecord(**record) for record in json.loads(file.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        reason = f"{file} is damaged, or of another version ({error})"
        raise ResultsError(f"{reason}; run art-snn paper again, which writes it anew") from None


def retention_figure(records: Sequence[RetentionRecord], folder: Path) -> list[Path]:
    """Draw temporal retention chi over the time-steps and over the layers, and over lambda where there are several.

    Returns ``retention.png`` and ``retention.svg``. A line for each network. Networks of the same data set,
    architecture, kind of target and T of the training have the same marker and dashes; those of the same lambda have
    the same colour.

    Raises:
        NothingToDrawError: There are no records.
    """
    if not records:
        raise NothingToDrawError("there are no values of chi")
    ordered = sorted(records, key=_place)
    networks = [list(group) for _, group in groupby(ordered, key=_place)]
    families = list(dict.fromkeys(map(_family, ordered)))
    decays = sorted({record.decay for record in ordered})
    points: dict[str, list[tuple[float, float]]] = {family: [] for family in families}
    for layers in networks:
        points[_family(layers[0])].append((layers[0].decay, _mean(_as_trained(layers))))
    over_decay = {family: sorted(line) for family, line in points.items() if len(dict(line)) > 1}

    def style(family: str, color: str) -> dict[str, Any]:
        i = families.index(family)
        return {"color": color, "linestyle": DASHES[i % len(DASHES)], "marker": _MARKERS[i % len(_MARKERS)]}

    with panels(3 if over_decay else 2, folder, "retention") as (over_steps, over_layers, *rest):
        for i, decay in enumerate(decays):
            over_steps.plot([], [], color=f"C{i}", label=f"λ={decay:g}")
        for family in families:
            over_steps.plot([], [], label=family, **style(family, "0.2"))
        for layers in networks:
            line = style(_family(layers[0]), f"C{decays.index(layers[0].decay)}")
            steps = sorted({layer.time_steps for layer in layers})
            over_steps.plot(steps, [_mean([r for r in layers if r.time_steps == step]) for step in steps], **line)
            trained = sorted(_as_trained(layers), key=lambda record: record.position)
            over_layers.plot([record.position for record in trained], [_mean([r]) for r in trained], **line)
        over_steps.set_xscale("log", base=2)
        _dress(over_steps, "mean over the layers", "time-steps T", {record.time_steps for record in records})
        _dress(over_layers, "each layer, T of the training", "spiking layer", {r.position for r in records})
        for axes in rest:
            for family, means in over_decay.items():
                axes.plot(*zip(*means, strict=True), **style(family, "0.2"))
            _dress(axes, "mean over the layers, T of the training", "membrane retention λ", decays)
    return figure_files(folder, "retention")


def _place(record: RetentionRecord) -> tuple[Any, ...]:
    family = (record.dataset, network(record), star(record), record.trained_time_steps)
    return (*family, record.decay, record.run)


def _family(record: RetentionRecord) -> str:
    return f"{record.dataset}, {network(record)}{star(record)}, trained with T={record.trained_time_steps}"


def _as_trained(records: Sequence[RetentionRecord]) -> list[RetentionRecord]:
    return [record for record in records if record.time_steps == record.trained_time_steps]


def _mean(records: Sequence[RetentionRecord]) -> float:
    """Return the mean of chi; NaN, which is not drawn, where none is above 0."""
    values = [record.chi for record in records if record.chi > 0]
    return float(np.mean(values)) if values else float("nan")


def _dress(axes: Any, title: str, about: str, ticks: Iterable[float]) -> None:
    ticks = sorted(ticks)
    axes.set_title(title, fontsize=9)
    axes.set(xlabel=about, ylabel="temporal retention χ")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set_yscale("log")
