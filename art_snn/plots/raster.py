"""The spikes of one sample by neuron and time-step, before and after an attack."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from art_snn.checks import check_count
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array
from art_snn.classifier.layers import find_layer
from art_snn.plots.spikes import layer_spikes, same_noise, short_name
from art_snn.plots.style import BLACK, RED, SKY, Picture, bare, picture


def spike_raster(
    classifier: PyTorchSNNClassifier,
    x: Array,
    x_adv: Array | None = None,
    layer: int | str | None = None,
    neurons: int = 60,
) -> Picture:
    """Draw the spikes of one sample, a mark for each neuron and time-step in which it fires.

    A row of panels for each spiking layer; with ``x_adv``, a second column says which spikes stayed, came and went.
    Of the neurons that fire in any panel of a row, at most ``neurons`` are drawn, evenly spaced in their order.

    Args:
        classifier: The classifier. Networks that `art_snn.adapt` made known work, too.
        x: One sample (1, *input_shape), such as ``x[:1]``.
        x_adv: The sample after the attack.
        layer: Index among the spiking layers, or name; None for all of them.
        neurons: Most neurons that are drawn of a layer, >= 1.

    Raises:
        TypeError: The classifier is none of art_snn.
        ValueError: There is not one sample, no such layer, or ``neurons`` is no number.
    """
    check_count("neurons", neurons)
    for name, sample in (("x", x), ("x_adv", x_adv)):
        if sample is not None and len(sample) != 1:
            raise ValueError(f"{name} has {len(sample)} samples, and one is drawn; give {name}[:1]")
    with same_noise(classifier, x_adv):
        before = _flat(layer_spikes(classifier, x))
        after = None if x_adv is None else _flat(layer_spikes(classifier, x_adv))
    names = list(before)
    if layer is not None:
        full = f"network.{layer}"
        names = [find_layer(names, full if full in names else layer)]
    columns = 1 if after is None else 2
    figure = picture(0.9 + 2.9 * columns, 0.6 + 1.9 * len(names))
    panels = figure.subplots(len(names), columns, sharex=True, sharey="row", squeeze=False)
    for row, name in zip(panels, names, strict=True):
        _draw_layer(row, name, before[name], None if after is None else after[name], neurons)
    panels[0, 0].set_title("before the attack" if columns == 2 else "spikes", fontsize=9)
    if columns == 2:
        panels[0, 1].set_title("after the attack", fontsize=9)
        handles, labels = panels[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8, markerscale=2)
    for axes in panels[-1]:
        axes.set_xlabel("time-step", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    return figure


def _flat(layers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return each layer's spikes of the first sample as truth values (T, neurons)."""
    return {name: spikes[:, 0].reshape(len(spikes), -1) > 0 for name, spikes in layers.items()}


def _draw_layer(panels: Any, name: str, before: np.ndarray, after: np.ndarray | None, most: int) -> None:
    fires = before.any(0) if after is None else before.any(0) | after.any(0)
    firing = np.flatnonzero(fires)
    chosen = firing[np.linspace(0, len(firing) - 1, min(most, len(firing))).round().astype(int)]
    _mark(panels[0], before[:, chosen], BLACK, "fires")
    if after is not None:
        old, new = before[:, chosen], after[:, chosen]
        _mark(panels[1], old & new, BLACK, "fires as before")
        _mark(panels[1], new & ~old, RED, "fires only now")
        _mark(panels[1], old & ~new, SKY, "fires no more")
    of = f"{len(chosen)} of {len(firing):,} that fire,\nof {before.shape[1]:,} neurons"
    panels[0].set_ylabel(f"{short_name(name)}\n{of}", fontsize=7)
    for axes in panels:
        axes.set_xlim(0.5, len(before) + 0.5)
        axes.set_ylim(-1, max(len(chosen), 1))
        axes.set_yticks([])
        bare(axes)


def _mark(axes: Any, spikes: np.ndarray, colour: str, label: str) -> None:
    steps, places = np.nonzero(spikes)
    size = min(4.0, 100 / max(1, spikes.shape[1]))
    axes.plot(steps + 1, places, "s", color=colour, markersize=size, markeredgewidth=0, label=label)
