"""Attacks whose budget is in events, from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from art_snn.__main__ import main
from tests.conftest import train_command
from tests.data.archives import make_npz, some_recordings


@pytest.fixture
def event_run(tmp_path, monkeypatch, capsys):
    """A run of a small network on event frames of counts."""
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    events = np.concatenate([recording for recording, _ in some_recordings()])
    places = {axis: (events[axis] % 32).astype(np.uint8) for axis in "xy"}
    file = make_npz(tmp_path / "events.npz", **places, sensor_size=np.array([32, 32, 2]))
    words = f"train --data {file} --image-size 32 --width 1 --defence none --epochs 1"
    assert main([*words.split(), "--time-steps", "3", "--out", str(run), "--device", "cpu", "--quiet"]) == 0
    capsys.readouterr()
    return run


@pytest.mark.filterwarnings("ignore:the gradient under:art_snn.errors.GradientWarning")  # of a network of width 1
def test_robustness_of_a_network_whose_events_move(event_run, tmp_path, capsys):
    words = f"robustness --checkpoint {event_run} --device cpu --quiet --samples 4 --budget quick".split()
    assert main([*words, "--shift", "1", "--moved", "5", "--out", str(tmp_path / "moved")]) in (0, 1)
    assert "5 events moved by up to 1 frame" in capsys.readouterr().out
    record = json.loads((tmp_path / "moved" / "robustness.json").read_text())
    assert record["threat"] == {"name": "Shifts", "frames": 1, "moved": 5}
    assert record["clip_only"] is not None
    assert "5 events moved by up to 1 frame" in (tmp_path / "moved" / "report.html").read_text()
    assert main([*words, "--flips", "5", "--out", str(tmp_path / "flipped")]) == 2
    error = capsys.readouterr().err
    assert "flips binary event frames" in error
    assert error.count("\n") == 1


@pytest.mark.filterwarnings("ignore:the gradient under:art_snn.errors.GradientWarning")  # of a network of width 1
def test_events_are_moved_from_the_command_line(event_run, tmp_path, capsys):
    run, table = event_run, tmp_path / "rows.json"
    words = f"evaluate --checkpoint {run} --device cpu --quiet --max-iter 2 --json {table}".split()
    assert main([*words, "--rules", "stbp", "--attacks", "retiming"]) == 0
    (row,) = json.loads(table.read_text())["rows"]
    assert (row["attack"], row["attack_title"], row["rule"], row["eps"]) == ("retiming", "retiming", "stbp", 0)
    assert row["max_iter"] == 2
    capsys.readouterr()
    for attack, rules, message in [
        ("retiming", "stbp,hart", "SpikeRetiming cannot follow HART(gamma=1.0), whose gradient is the same in every"),
        ("sda,retiming", "stbp", "SparseDynamicAttack flips binary event frames, and sample"),
    ]:
        table.unlink(missing_ok=True)
        assert main([*words, "--rules", rules, "--attacks", attack]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not table.exists()


def test_images_are_refused_in_one_line(tmp_path, few, capsys):
    out = tmp_path / "run"
    assert main(train_command(out, epochs=1)) == 0
    capsys.readouterr()
    words = ["evaluate", "--checkpoint", str(out), "--device", "cpu", "--quiet", "--rules", "stbp"]
    for name in ("sda", "retiming"):
        assert main([*words, "--attacks", name]) == 2
        error = capsys.readouterr().err
        assert "changes event frames (N, T, ...), and DirectEncoder takes inputs without a time axis" in error
        assert error.count("\n") == 1
