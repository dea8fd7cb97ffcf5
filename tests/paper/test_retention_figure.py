"""The figure of temporal retention."""

from __future__ import annotations

from art_snn.paper.retention_figure import retention_figure
from tests.paper.rows import NETWORKS, drawn, record


def test_retention_figure_keeps_networks_apart_and_has_lambda_where_it_differs(tmp_path):
    names = {"time_steps": "trained_time_steps"}
    networks = [{names.get(name, name): value for name, value in network.items()} for network in NETWORKS]
    records = [record(**network, time_steps=16) for network in networks]
    _, svg = retention_figure(records, tmp_path)
    texts = set(drawn(svg))
    assert {
        "CIFAR-10, VGG-11, trained with T=4",
        "CIFAR-10, VGG-11, trained with T=16",
        "CIFAR-10, VGG-11*, trained with T=4",
        "CIFAR-10, ResNet-17, trained with T=4",
        "CIFAR-100, VGG-11, trained with T=4",
    } <= texts
    assert "membrane retention λ" not in texts
    assert "membrane retention λ" in drawn(retention_figure([*records, record(decay=1.0)], tmp_path)[1])


def test_retention_that_is_not_known_or_zero_is_not_drawn(tmp_path):
    records = [record(position=i, chi=chi) for i, chi in enumerate((float("nan"), 0.0), start=1)]
    assert all(file.is_file() for file in retention_figure(records, tmp_path))
