"""Attacks whose budget is in events, from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from art_snn.__main__ import main
from tests.commands.lines import one_line_error
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


NETS = """
import torch
from torch import nn
from art_snn import LIF, adapt

class Frames(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.neurons, self.last = nn.Linear(2 * 32 * 32, 8), LIF(decay=0.9), nn.Linear(8, 2)

    def forward(self, x):  # (N, T, 2, 32, 32)
        return self.last(self.neurons(self.first(x.transpose(0, 1).flatten(2)))).mean(0)

def make():
    torch.manual_seed(0)
    return adapt(Frames(), lambda model, x: model(x))

def framed():
    torch.manual_seed(0)
    return adapt(Frames(), lambda model, x: model(x), frames=True)
"""


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Recordings of 32 x 32 pixels, and a user's networks in the current folder."""
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    events = np.concatenate([recording for recording, _ in some_recordings()])
    places = {axis: (events[axis] % 32).astype(np.uint8) for axis in "xy"}
    return make_npz(tmp_path / "events.npz", **places, sensor_size=np.array([32, 32, 2]))


@pytest.mark.filterwarnings("ignore:the gradient under:art_snn.errors.GradientWarning")  # of a network of width 1
@pytest.mark.filterwarnings("ignore:what lies before:art_snn.errors.GradientWarning")
def test_binary_frames_are_trained_on_and_flipped(recordings, tmp_path, capsys):
    words = f"train --data {recordings} --binary --image-size 16 --width 1 --defence none --epochs 1 --time-steps 3"
    assert main([*words.split(), "--out", "run", "--device", "cpu", "--quiet"]) == 0
    common = ["--checkpoint", "run", "--device", "cpu", "--quiet", "--samples", "4"]
    for more, out in (("--flips 5", "flipped"), ("--shift 1 --moved 5", "moved")):
        assert main(["robustness", *common, "--budget", "quick", *more.split(), "--out", out]) in (0, 1)
        assert json.loads((tmp_path / out / "robustness.json").read_text())["card"]["clip values"] == "(0.0, 1.0)"
    capsys.readouterr()
    for attacks, sizes in (("clip-only", ""), ("retiming", ", max_shift=1, 20 steps")):
        assert main(["evaluate", *common, "--rules", "stbp", "--attacks", attacks]) == 0
        assert f"4 test images{sizes}\n" in capsys.readouterr().out
    error = one_line_error(["train", "--binary", "--out", "other", "--device", "cpu"], capsys)
    assert "binary frames are of event recordings, and 'digits' are images" in error


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ("", "--time-steps and --image-size"),
        ("--image-size 32", "--time-steps"),
        ("--time-steps 3", "--image-size"),
    ],
)
def test_the_frames_of_a_users_network_are_not_guessed(recordings, capsys, more, missing):
    for command, rest in (("robustness", "--flips 3 --out out"), ("evaluate", "")):
        words = f"{command} --model nets.py:framed --data {recordings} --device cpu {rest} {more}".split()
        error = one_line_error(words, capsys)
        assert f"which become frames (T, 2, H, W); give {missing}, as the network" in error


@pytest.mark.parametrize("name", ["make", "framed"])
def test_eps_on_recordings_is_refused_whatever_the_network_says(recordings, tmp_path, capsys, name):
    words = f"robustness --model nets.py:{name} --data {recordings} --time-steps 3 --image-size 32 --out out".split()
    for more in ([], ["--eps", "0.1"]):
        error = one_line_error([*words, "--device", "cpu", "--quiet", *more], capsys)
        assert "whose counts no camera changes by eps: give --flips N" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:the gradient under:art_snn.errors.GradientWarning")
def test_frames_of_a_users_network_are_those_that_are_asked_for(recordings, tmp_path):
    words = f"robustness --model nets.py:framed --data {recordings} --binary --time-steps 3 --image-size 32 --out out"
    assert main([*words.split(), "--flips", "2", "--budget", "quick", "--device", "cpu", "--quiet"]) in (0, 1)
    card = json.loads((tmp_path / "out" / "robustness.json").read_text())["card"]
    assert (card["input shape"], card["time-steps"]) == ("(3, 2, 32, 32)", 3)


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
