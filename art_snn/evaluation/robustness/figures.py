"""Pictures of an evaluation, as SVG: the curve over the budget, and examples."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from art_snn.evaluation.robustness.result import Robustness
from art_snn.plots.examples import draw_examples
from art_snn.plots.style import bare, picture

EXAMPLES = 6


def curve(result: Robustness) -> str:
    """Return the robust accuracy over what a sample may cost, with its interval in the end."""
    figure = picture(6.4, 2.8)
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
    bare(axes)
    return _svg(figure)


def examples(result: Robustness, x: np.ndarray) -> str:
    """Return some inputs, what was added to them, and what it gave; "" where nothing can be shown."""
    rows = np.flatnonzero(result.broken)[:EXAMPLES]
    if not len(rows) or x.ndim not in (4, 5):
        return ""
    return _svg(draw_examples(x[rows], result.x_adv[rows], [f"sample {row}" for row in rows]))


def _svg(figure: Figure) -> str:
    with mpl.rc_context({"svg.hashsalt": "art_snn", "svg.fonttype": "path"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
