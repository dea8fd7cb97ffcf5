"""Records of temporal retention, their file and their figure."""

from __future__ import annotations

import json

import pytest

from art_snn.data import load_digits
from art_snn.errors import ResultsError
from art_snn.paper.retention import read_retention, retention_figure, retention_records, write_retention
from art_snn.training import Recipe, train
from tests.paper.rows import NETWORKS, drawn, record


def test_records_are_read_as_they_were_written(tmp_path):
    records = [record(), record(position=2, width=4, decay=1.0)]
    assert write_retention(records, tmp_path / "out") == tmp_path / "out" / "retention.json"
    assert read_retention(tmp_path / "out") == records


@pytest.mark.parametrize(
    "content", ["{", "3", "[1]", "[{}]", '{"run": 1}', json.dumps([{**vars(record()), "more": 1}])]
)
def test_damaged_or_older_file_is_refused_in_a_line(tmp_path, content):
    (tmp_path / "retention.json").write_text(content)
    with pytest.raises(ResultsError, match=r"is damaged, or of another version .*run art-snn paper again") as caught:
        read_retention(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"retention.json'; art-snn paper writes it"):
        read_retention(tmp_path)


def test_trained_network_is_run_at_its_own_and_other_time_steps(tmp_path):
    data = load_digits()
    part = data._replace(x_train=data.x_train[:64], y_train=data.y_train[:64])
    train(Recipe(defence="none", epochs=1, time_steps=3), part, tmp_path / "net", device_type="cpu")
    records = retention_records(tmp_path / "net", data.x_test[:20], time_steps=(2, 4))
    assert sorted({entry.time_steps for entry in records}) == [2, 3, 4]
    layers = [entry for entry in records if entry.time_steps == 3]
    assert [entry.position for entry in layers] == list(range(1, len(layers) + 1))
    assert {(entry.run, entry.dataset, entry.architecture_title) for entry in records} == {
        ("net", "digits", "digits network")
    }
    assert {(entry.trained_time_steps, entry.defence, entry.events) for entry in records} == {(3, "none", False)}
    assert layers[0].chi >= 0


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
