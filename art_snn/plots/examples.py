"""Adversarial examples as pictures: what was there, what was added, what came of it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

from art_snn.attacks import Found
from art_snn.checks import check_count
from art_snn.classifier.inputs import Array, to_numpy
from art_snn.labels import Labels, class_indices, to_array
from art_snn.plots.style import GREEN, ORANGE, RED, Picture, picture

# Of events with polarity 0 and 1, and of values taken away and added.
_POLARITIES = (GREEN, ORANGE)
_CHANGES = ("#2166AC", "#B2182B")


def adversarial_examples(
    x: Array,
    x_adv: Array | Found,
    before: Any = None,
    after: Any = None,
    y: Labels | None = None,
    names: Sequence[str] | None = None,
    columns: int = 6,
) -> Picture:
    """Draw the first samples, what an attack added to them, and what came of it, one below the other.

    Titles have the class before and after the attack, bold where it changed, and the true class where that differs from
    the one before. The middle row has a scale of its own, which its label says: red was added, blue taken away. Event
    frames are summed over time, polarity 0 in green and 1 in orange.

    Args:
        x: Images (N, C, H, W) or event frames (N, T, C, H, W), N >= 1.
        x_adv: The same samples after the attack, or what a search `Found`.
        before: Predictions before the attack: logits (N, K) or class indices (N,).
        after: Predictions after the attack, likewise.
        y: True labels, in any form of `art_snn.labels`.
        names: Names of the K classes; None for their indices.
        columns: Most samples that are drawn, >= 1.

    Raises:
        TypeError: Something holds no numbers.
        ValueError: Shapes do not fit one another, or ``names`` lacks a class.
    """
    check_count("columns", columns)
    inputs, found = (to_array(name, values) for name, values in (("x", _values(x)), ("x_adv", _values(x_adv))))
    if inputs.ndim not in (4, 5) or 0 in inputs.shape:
        raise ValueError(f"x has shape {inputs.shape}, expected images (N, C, H, W) or event frames (N, T, C, H, W)")
    if found.shape != inputs.shape:
        raise ValueError(f"x_adv has shape {found.shape}, expected that of x, {inputs.shape}")
    classes = [_classes(name, v, len(inputs)) for name, v in (("before", before), ("after", after), ("y", y))]
    titles = [_title(names, *(None if c is None else int(c[i]) for c in classes)) for i in range(len(inputs))]
    start = classes[2] if classes[0] is None else classes[0]
    flipped = set() if start is None or classes[1] is None else set(np.flatnonzero(start != classes[1]).tolist())
    return draw_examples(inputs[:columns], found[:columns], titles[:columns], flipped)


def draw_examples(x: np.ndarray, x_adv: np.ndarray, titles: Sequence[str], bold: Container[int] = ()) -> Picture:
    """Draw samples (N, C, H, W) or (N, T, C, H, W) and what became of them; the titles of some are bold."""
    rows = _event_rows(x, x_adv) if x.ndim == 5 else _image_rows(x, x_adv)
    figure = picture(1.15 * len(x) + 0.7, 4.1)
    panels = figure.subplots(3, len(x), squeeze=False)
    for axes_row, (label, images, options) in zip(panels, rows, strict=True):
        axes_row[0].set_ylabel(label, fontsize=8)
        for axes, image in zip(axes_row, images, strict=True):
            axes.imshow(image, interpolation="nearest", **options)
            axes.set_xticks([])
            axes.set_yticks([])
    for column, (axes, title) in enumerate(zip(panels[0], titles, strict=True)):
        style = {"fontweight": "bold", "color": RED} if column in bold else {}
        axes.set_title(title, fontsize=8, **style)
    return figure


_Row = tuple[str, np.ndarray, dict[str, Any]]


def _image_rows(x: np.ndarray, x_adv: np.ndarray) -> list[_Row]:
    """Return label, images (N, H, W) or (N, H, W, 3) and options of each row, for images (N, C, H, W)."""
    low, high = min(x.min(), x_adv.min()), max(x.max(), x_adv.max())
    first, last = ((_planes(images) - low) / (high - low or 1) for images in (x, x_adv))
    change = (x_adv - x).mean(1)
    most = float(np.abs(change).max())
    gray: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1}
    of = ", mean of channels" if x.shape[1] > 1 else ""
    label = f"added{of}\n(blue -{most:.2g}, red +{most:.2g})"
    return [
        ("original", first, gray),
        (label, change, {"cmap": "RdBu_r", "vmin": -(most or 1), "vmax": most or 1}),
        ("adversarial", last, gray),
    ]


def _event_rows(x: np.ndarray, x_adv: np.ndarray) -> list[_Row]:
    """Return label, images (N, H, W, 3) and options of each row, for event frames (N, T, C, H, W)."""
    sums = [_two(frames.sum(1)) for frames in (x, x_adv)]
    most = max(float(np.abs(each).max()) for each in sums) or 1.0
    change = x_adv - x
    parts = np.stack([-change.clip(max=0).sum((1, 2)), change.clip(min=0).sum((1, 2))], 1)
    largest = float(parts.max())
    first, last = (_mixed(each / most, _POLARITIES) for each in sums)
    label = f"change, over all steps\n(blue -{largest:.3g}, red +{largest:.3g})"
    return [
        ("original", first, {}),
        (label, _mixed(parts / (largest or 1), _CHANGES), {}),
        ("adversarial", last, {}),
    ]


def _planes(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 2, 3, 1) if images.shape[1] == 3 else images.mean(1)


def _two(sums: np.ndarray) -> np.ndarray:
    """Return two polarities (N, 2, H, W); other numbers of channels count as one."""
    if sums.shape[1] == 2:
        return sums
    total = sums.sum(1, keepdims=True)
    return np.concatenate([np.zeros_like(total), total], 1)


def _mixed(shares: np.ndarray, colours: tuple[str, str]) -> np.ndarray:
    """Return two channels (N, 2, H, W), in [0, 1], as colours on white (N, H, W, 3)."""
    inks = 1 - np.array([to_rgb(colour) for colour in colours])
    return (1 - np.einsum("nchw,cr->nhwr", np.abs(shares), inks)).clip(0, 1)


def _values(x: Any) -> Any:
    return to_numpy(x.x_adv if isinstance(x, Found) else x)


def _classes(name: str, values: Any, samples: int) -> np.ndarray | None:
    if values is None:
        return None
    array = to_array(name, values)
    if array.ndim == 2 and array.shape[1] > 1 and name != "y":
        array = array.argmax(1)  # of logits, which no labels are
    return class_indices(array, samples, name=name)


def _title(names: Sequence[str] | None, before: int | None, after: int | None, y: int | None) -> str:
    """Return a sample's title, such as "3 → 8"."""
    known = [each for each in (before, after, y) if each is not None]
    if names is not None and known and max(known) >= len(names):
        raise ValueError(f"names has {len(names)} entries, and there is a class {max(known)}; give one for each class")

    def named(index: int) -> str:
        return str(index) if names is None else str(names[index])

    start = y if before is None else before
    parts = [named(each) for each in (start, after) if each is not None]
    true = f"\n(true: {named(y)})" if before is not None and y is not None and y != before else ""
    return " → ".join(parts) + true
