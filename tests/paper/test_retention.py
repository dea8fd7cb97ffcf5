"""Records of temporal retention, and their file."""

from __future__ import annotations

import json

import pytest

from art_snn.data import load_digits
from art_snn.errors import ResultsError
from art_snn.paper.retention import read_retention, retention_records, write_retention
from art_snn.training import Recipe, train
from tests.paper.rows import record


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
