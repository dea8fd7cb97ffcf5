"""What the figures share: panels, one legend below them, files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from art_snn.files import write_atomic

FORMATS = (".png", ".svg")
_COLUMNS = 4
# Inches.
_PANEL = (3.1, 2.9)
_LETTER, _HANDLE, _LINE = 0.062, 0.6, 0.18


def save(draw: Callable[[list[Any]], None], panels: int, folder: Path, name: str) -> list[Path]:
    """Let ``draw`` fill panels, put one legend of all labels below them, and write the figure.

    Args:
        draw: Called with the axes, one a panel.
        panels: Number of panels, >= 1.
        folder: Folder to write to; made if missing.
        name: Name of the files, without their endings.

    Returns:
        The files, PNG and SVG.
    """
    columns = min(panels, _COLUMNS)
    rows = -(-panels // columns)
    with mpl.rc_context({"svg.hashsalt": "art_snn", "font.size": 9}):
        width, height = _PANEL[0] * columns + 0.8, _PANEL[1] * rows
        figure = Figure(figsize=(width, height), layout="constrained")
        found = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in found:
            axes.spines[["top", "right"]].set_visible(False)
        for axes in found[panels:]:
            axes.set_visible(False)
        draw(found[:panels])
        figure.set_size_inches(width, height + _legend(figure, width))
        files = [folder / f"{name}{suffix}" for suffix in FORMATS]
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else None
            write_atomic(file, partial(figure.savefig, dpi=120, metadata=metadata))
    return files


def _legend(figure: Figure, width: float) -> float:
    """Put the legend below the panels, in as many columns as fit; return its height."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    columns = max(1, int(width / (_LETTER * max(map(len, handles)) + _HANDLE)))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", frameon=False, ncols=columns, fontsize=8
    )
    return _LINE * -(-len(handles) // columns) + 0.2
