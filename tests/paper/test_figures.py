"""The paper's figures of attacks; all figures as files."""

from __future__ import annotations

import pytest

from art_snn.errors import NothingToDrawError
from art_snn.paper import epsilon_figure, gamma_figure, retention_figure
from tests.paper.rows import NETWORKS, drawn, record, row


def test_figures_are_png_and_svg_and_show_every_panel(tmp_path):
    rows = [
        row(rule=rule, setting=setting, attack=attack, eps=eps / 255)
        for rule in ("hart", "rga")
        for setting in ("white-box", "black-box")
        for attack in ("fgsm", "pgd")
        for eps in (2, 8)
    ]
    records = [
        record(decay=decay, time_steps=steps, position=position, chi=0.1 / steps)
        for decay in (0.5, 1.0)
        for steps in (2, 4)
        for position in (1, 2)
    ]
    for name, draw, data, panels, texts in (
        ("gamma", gamma_figure, rows, 4, ["FGSM, white-box", "PGD, black-box", "gamma of HART", "λ=0.9, ε=8/255"]),
        ("epsilon", epsilon_figure, rows, 4, ["PGD, black-box", "RGA", "HART", "CIFAR-10, VGG-11, λ=0.9, T=8"]),
        ("retention", retention_figure, records, 3, ["mean over the layers", "λ=0.5", "membrane retention λ"]),
    ):
        png, svg = draw(data, tmp_path)
        assert (png.name, svg.name) == (f"{name}.png", f"{name}.svg")
        assert png.read_bytes().startswith(b"\x89PNG")
        assert svg.read_text().count('<g id="axes_') == panels
        assert set(texts) <= set(drawn(svg))
        first = svg.read_bytes()
        assert draw(data, tmp_path)[1].read_bytes() == first
    with pytest.raises(NothingToDrawError, match="no row has a curve"):
        gamma_figure([row(gamma_curve=None)], tmp_path)
    with pytest.raises(NothingToDrawError, match="no rows of attacks"):
        epsilon_figure([], tmp_path)
    with pytest.raises(NothingToDrawError, match="no values of chi"):
        retention_figure([], tmp_path)


def test_figures_keep_networks_apart(tmp_path):
    rows = [row(**network, eps=eps / 255) for network in NETWORKS for eps in (2, 8)]
    for draw, star in ((gamma_figure, "VGG-11*, T=8"), (epsilon_figure, "VGG-11, λ=0.9*, T=8")):
        _, svg = draw(rows, tmp_path)
        assert svg.read_text().count('<g id="axes_') == len(NETWORKS)
        assert f"CIFAR-10, {star}" in drawn(svg)


def test_rules_from_outside_the_package_are_drawn(tmp_path):
    for rules in (("toy",), ("toy", "hart", "another")):
        _, svg = epsilon_figure([row(rule=rule, eps=eps / 255) for rule in rules for eps in (2, 8)], tmp_path)
        legend = [text for text in drawn(svg) if text in ("HART", "Another", "Toy")]
        assert legend == [title for title in ("HART", "Another", "Toy") if title.lower() in rules]


def test_gamma_of_each_rule_has_panels_of_its_own(tmp_path):
    tuned = {"parameter": "gamma", "gamma": 0.5, "gamma_curve": row().gamma_curve}
    other = {"parameter": "width", "gamma_curve": row().gamma_curve}
    _, svg = gamma_figure([row(), row(rule="toy", **tuned), row(rule="another", **other)], tmp_path)
    assert svg.read_text().count('<g id="axes_') == 2
    assert {"gamma of HART", "gamma of Toy"} <= set(drawn(svg))


def test_figure_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="is not in list"):
        gamma_figure([row(gamma=0.7)], tmp_path)
    assert not list(tmp_path.iterdir())
