"""What the figures share: panels, one legend below them, files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from art_snn.files import write_atomic

FORMATS = (".png", ".svg")
DASHES = ("-", "--", ":", "-.")
_COLUMNS = 4
# In inches: a panel; a letter, a handle and a line of the legend.
_PANEL = (3.1, 2.9)
_LETTER, _HANDLE, _LINE = 0.062, 0.6, 0.18


@contextmanager
def panels(count: int, folder: Path, name: str) -> Iterator[list[Any]]:
    """Give axes to draw on; after the block, put one legend of all labels below them and write the figure.

    Args:
        count: Number of panels, >= 1.
        folder: Folder to write to; made if missing.
        name: Name of the files (`figure_files`), without their endings.
    """
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
    return [folder / f"{name}{suffix}" for suffix in FORMATS]


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
