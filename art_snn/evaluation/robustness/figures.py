"""Pictures of an evaluation, as SVG: the curve over the budget, and examples."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from art_snn.evaluation.robustness.result import Robustness

EXAMPLES = 6


def curve(result: Robustness) -> str:
    """Return the robust accuracy over what a sample may cost, with its interval in the end."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    costs, left = result.after_forwards()
    axes.step(costs, 100 * left, where="post", color="C0")
    final = result.robust_accuracy
    errors = 100 * np.array([[final.value - final.low], [final.high - final.value]])
    axes.errorbar(costs[-1:], [100 * final.value], yerr=errors, color="C0", capsize=4, marker="o", markersize=4)
    axes.axvline(result.full_cost / 2, color="0.7", linestyle=":", linewidth=1)
    axes.annotate(
        f"the last doubling took {100 * result.last_doubling:.1f} points",
        (result.full_cost / 2, 100),
        (4, -2),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color="0.35",
    )
    axes.set_xlabel("cost of a sample (forward passes of all time-steps)")
    axes.set_ylabel("robust accuracy (%)")
    axes.set_ylim(0, 105)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def examples(result: Robustness, x: np.ndarray) -> str:
    """Return some inputs, what was added to them, and what it gave; "" where nothing can be shown."""
    rows = np.flatnonzero(result.broken)[:EXAMPLES]
    if not len(rows) or x.ndim not in (4, 5):
        return ""
    triples = [(_image(x[row]), _image(result.x_adv[row] - x[row]), _image(result.x_adv[row])) for row in rows]
    figure = Figure(figsize=(1.1 * len(rows) + 0.2, 3.5), layout="constrained")
    panels = figure.subplots(3, len(rows), squeeze=False)
    for column, (row, (before, change, after)) in enumerate(zip(rows, triples, strict=True)):
        low, high = min(before.min(), after.min()), max(before.max(), after.max())
        _show(panels[0, column], before, low, high)
        _show(panels[1, column], change, -np.abs(change).max(), np.abs(change).max())
        _show(panels[2, column], after, low, high)
        panels[0, column].set_title(f"sample {row}", fontsize=7)
    for axes, text in zip(panels[:, 0], ("input", "change", "example"), strict=True):
        axes.set_ylabel(text, fontsize=8)
    return _svg(figure)


def _show(axes: mpl.axes.Axes, image: np.ndarray, low: float, high: float) -> None:
    span = high - low if high > low else 1.0
    axes.imshow((image - low) / span, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _image(sample: np.ndarray) -> np.ndarray:
    """Return a sample (C, H, W), or event frames (T, C, H, W), as an image (H, W) or (H, W, 3)."""
    planes = sample.sum(0) if sample.ndim == 4 else sample
    return planes.transpose(1, 2, 0) if len(planes) == 3 else planes.mean(0)


def _svg(figure: Figure) -> str:
    with mpl.rc_context({"svg.hashsalt": "art_snn", "svg.fonttype": "path"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
