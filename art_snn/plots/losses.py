"""How an attack's loss rises, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from art_snn.attacks.search import Search
from art_snn.classifier.inputs import Array
from art_snn.labels import Labels, to_array
from art_snn.plots.style import BAND, Picture, bare, legend_where_it_fits, line_style, picture


def attack_losses(attack: Search, x: Array, y: Labels, **options: Any) -> np.ndarray:
    """Run an attack that keeps its iterates, and return each sample's loss at each of them.

    The loss is the attack's own, of the network's logits, whatever the rule differentiates. The search of a sample ends
    when it is misclassified; the loss that it has then stands in its later entries.

    Args:
        attack: `art_snn.attacks.SAPGD` or `art_snn.attacks.APGD` on a classifier.
        x: Inputs (N, *input_shape).
        y: Labels, in any form of `art_snn.labels`.
        **options: Further arguments of the attack's ``search``.

    Returns:
        A row for each sample and a column for each number of steps made, 0 to ``steps - 1``, float64. Rows of inputs
        that are misclassified from the beginning are NaN.

    Raises:
        TypeError: The attack is no such attack.
    """
    if not isinstance(attack, Search):
        raise TypeError(
            f"attack must be SAPGD(classifier, ...) or APGD(classifier, ...), got {type(attack).__name__}; give "
            "loss_curves arrays of losses (N, steps) for other attacks"
        )
    losses = np.full((len(x), attack.steps), np.nan)

    def watch(samples: np.ndarray, steps: np.ndarray, values: np.ndarray) -> None:
        losses[samples, steps] = values

    attack.search(x, y, watch=watch, **options)
    for step in range(1, attack.steps):
        left = np.isnan(losses[:, step])
        losses[left, step] = losses[left, step - 1]
    return losses


def loss_curves(losses: Mapping[str, Any], *, ylabel: str = "loss of a sample (cross-entropy, nats)") -> Picture:
    """Draw losses over the steps of attacks: the mean over the samples, and a band from quartile to quartile.

    Args:
        losses: What the legend calls each attack or rule, to its losses (N, steps), as `attack_losses` returns them.
            Rows that are all NaN are left out.
        ylabel: What the losses are.

    Raises:
        TypeError: ``losses`` is no mapping, or holds something else than numbers.
        ValueError: There are none, or they are not of this shape.
    """
    if not isinstance(losses, Mapping):
        raise TypeError(f"losses must map labels to arrays (N, steps), got {type(losses).__name__}")
    if not losses:
        raise ValueError("losses is empty: there is nothing to draw")
    tables = {label: _table(label, values) for label, values in losses.items()}
    figure = picture(6.4, 3.2)
    axes = figure.subplots()
    for number, (label, table) in enumerate(tables.items()):
        steps = np.arange(table.shape[1])
        style = line_style(number)
        axes.plot(steps, table.mean(0), label=label, markevery=max(1, len(steps) // 10), **style)
        low, high = np.quantile(table, (0.25, 0.75), axis=0)
        axes.fill_between(steps, low, high, color=style["color"], alpha=BAND, linewidth=0)
    axes.set_xlabel("steps of the attack")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("mean (line) and quartiles (band) over samples", fontsize=8)
    bare(axes)
    legend_where_it_fits(figure, axes)
    return figure


def _table(label: str, values: Array | Tensor) -> np.ndarray:
    name = f"losses[{label!r}]"
    table = to_array(name, values)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"{name} has shape {table.shape}, expected (N, steps)")
    kept = table[~np.isnan(table).all(1)]
    if not len(kept):
        raise ValueError(f"{name} has no sample that was attacked: all rows are NaN")
    if np.isnan(kept).any():
        raise ValueError(f"{name} holds NaN beside numbers; fill in what a sample's loss is after its last step")
    return kept
