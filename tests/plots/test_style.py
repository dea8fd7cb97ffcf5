"""Figures show themselves, and labels say what differs."""

from __future__ import annotations

import subprocess
import sys

from matplotlib.figure import Figure

from art_snn.plots.style import COLOURS, band, distinct_labels, line_style, picture


def test_a_picture_is_a_figure_that_shows_itself_without_pyplot():
    code = "import sys; from art_snn import plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    figure = picture(3.0, 2.0)
    figure.subplots().plot([0, 1], [0, 1])
    assert isinstance(figure, Figure)
    data, size = figure._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert size == {"width": 300, "height": 200}
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (600, 400)


def test_many_curves_look_different():
    styles = {tuple(line_style(number).values()) for number in range(28)}
    assert len(styles) == 28
    assert len(set(COLOURS)) == 7


def test_a_band_reaches_from_low_to_high():
    axes = picture(3.0, 2.0).subplots()
    band(axes, [0.1, 0.2], [(0.5, 0.4, 0.6), (0.2, 0.1, 0.4)], label="HART")
    assert axes.lines[0].get_ydata().tolist() == [50.0, 20.0]
    corners = {tuple(round(value, 6) for value in corner) for corner in axes.collections[0].get_paths()[0].vertices}
    assert corners >= {(0.1, 40.0), (0.1, 60.0), (0.2, 10.0), (0.2, 40.0)}


def test_labels_are_as_short_as_they_can_be():
    names = [("a", "a1"), ("a", "a2"), ("b", "b1")]
    assert distinct_labels(names) == {"a1": "a1", "a2": "a2", "b1": "b"}
