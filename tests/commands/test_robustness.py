"""``art-snn robustness``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from art_snn.__main__ import main
from art_snn.evaluation.robustness import BUDGETS, Budget
from art_snn.evaluation.robustness import survey as surveys
from tests.commands.lines import one_line_error
from tests.conftest import train_command
from tests.evaluation.robustness.walks import small_budget

POISSON = """
import torch
from torch import nn
from art_snn import LIF, PoissonEncoder, SpikingNetwork

def make():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), LIF(decay=0.9), nn.Linear(8, 10))
    return SpikingNetwork(PoissonEncoder(time_steps=1, generator=torch.Generator().manual_seed(0)), body)
"""
MODEL = """
import torch
from torch import nn
from art_snn import LIF, DirectEncoder, SpikingNetwork

def make():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), LIF(decay=0.9), nn.Linear(32, 10))
    return SpikingNetwork(DirectEncoder(time_steps=2), body)
"""
# Two neurons fire where the first column of an image is dark, as digits have it, and make the logits overflow.
WITHOUT_NUMBERS = """
import torch
from torch import nn
from art_snn import LIF, DirectEncoder, SpikingNetwork

class Last(nn.Module):
    def forward(self, x):
        return x + (x - x) if {nan} else x

def make():
    torch.manual_seed(0)
    first, last = nn.Linear(64, 32), nn.Linear(32, 10)
    with torch.no_grad():
        first.weight[:2], first.bias[:2], last.weight[:, :2] = 0, 2, 3e38
        first.weight[:2, ::8] = -2
    return SpikingNetwork(DirectEncoder(time_steps=2), nn.Sequential(nn.Flatten(), first, LIF(decay=0.9), last, Last()))
"""


def small(eps: float) -> Budget:
    return small_budget(eps, check_samples=4, queries=2)


@pytest.fixture(autouse=True)
def small_standard(monkeypatch):
    monkeypatch.setitem(BUDGETS, "standard", small)


@pytest.fixture
def run(tmp_path, few) -> Path:
    folder = tmp_path / "run"
    assert main(train_command(folder, "--lr", "0.01", defence="none", epochs=15)) == 0
    return folder


def words(out: Path, *more: str) -> list[str]:
    return ["robustness", "--out", str(out), "--device", "cpu", "--quiet", *more]


def test_a_checkpoint_is_evaluated_and_the_page_written(tmp_path, run, capsys):
    out = tmp_path / "out"
    capsys.readouterr()
    assert main(words(out, "--checkpoint", str(run), "--eps", "8/255", "--samples", "30")) == 0
    said = capsys.readouterr().out
    record = json.loads((out / "robustness.json").read_text())
    assert record["eps"] == pytest.approx(8 / 255)
    assert record["robust_accuracy"]["total"] == 30
    assert f"robust accuracy {record['robust_accuracy']['value']:.1%}" in said
    assert "walk:" in said
    assert f"report: {out / 'report.html'}" in said
    page = (out / "report.html").read_text()
    assert "15 of 15 epochs; defence=none" in page
    assert "decay=0.9" in page


def test_the_same_command_goes_on(tmp_path, run, monkeypatch):
    out = tmp_path / "out"
    assert main(words(out, "--checkpoint", str(run), "--samples", "20")) == 0
    first = (out / "robustness.json").read_bytes()

    def fail(*_, **__):
        raise AssertionError("it is done again")

    monkeypatch.setattr(surveys, "search", fail)
    assert main(words(out, "--checkpoint", str(run), "--samples", "20")) == 0
    assert (out / "robustness.json").read_bytes() == first


def test_another_evaluation_in_the_folder_is_refused(tmp_path, run, capsys):
    out = tmp_path / "out"
    assert main(words(out, "--checkpoint", str(run), "--samples", "20")) == 0
    more = ["--checkpoint", str(run), "--samples", "20", "--eps", "0.2"]
    assert "holds an evaluation with other eps" in one_line_error(words(out, *more), capsys)


def test_an_invalid_number_has_an_exit_code_of_its_own(tmp_path, few, capsys):
    file = tmp_path / "net.py"
    file.write_text(MODEL)
    out = tmp_path / "out"
    more = ["--model", f"{file}:make", "--data", "digits", "--eps", "0.1", "--samples", "20"]
    assert main(words(out, *more)) == 1
    said = capsys.readouterr().out
    assert "invalid" in said
    assert "clean error" in said
    assert json.loads((out / "robustness.json").read_text())["verdict"] == "invalid"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("nan", [True, False])
def test_a_network_that_gives_no_numbers_is_invalid_and_has_its_report(tmp_path, few, capsys, nan):
    file = tmp_path / "net.py"
    file.write_text(WITHOUT_NUMBERS.format(nan=nan))
    out = tmp_path / "out"
    more = ["--model", f"{file}:make", "--data", "digits", "--eps", "0.1", "--samples", "20"]
    for _ in range(2):  # the second one goes on with what is there
        assert main(words(out, *more)) == 1
        said = capsys.readouterr()
        assert "invalid: " in said.out
        assert "Traceback" not in said.err
        record = json.loads((out / "robustness.json").read_text(), parse_constant=pytest.fail)
        assert record["verdict"] == "invalid"
        assert "Verdict: invalid" in (out / "report.html").read_text()


def test_who_stops_it_is_told_how_it_goes_on(tmp_path, run, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(surveys, "search", stop)
    assert main(words(tmp_path / "out", "--checkpoint", str(run), "--samples", "20")) == 130
    assert f"the same command goes on with what is done in {tmp_path / 'out'}" in capsys.readouterr().out


def test_an_error_nobody_expects_is_no_invalid_number(tmp_path, run, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("nobody expects it")

    monkeypatch.setattr(surveys, "search", fail)
    assert main(words(tmp_path / "out", "--checkpoint", str(run), "--samples", "20")) == 2
    assert "RuntimeError: nobody expects it" in capsys.readouterr().err


def test_the_help_says_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["robustness", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "The exit code is 1 where the verdict is invalid, and 2 where something is refused or fails." in said


@pytest.mark.parametrize(("more", "encodings"), [([], 20), (["--eot-samples", "3"], 3)])
def test_gradients_of_a_random_encoder_are_averaged(tmp_path, few, more, encodings):
    file, out = tmp_path / "net.py", tmp_path / "out"
    file.write_text(POISSON)
    words_of_it = ["--model", f"{file}:make", "--data", "digits", "--samples", "10", "--draws", "3", *more]
    main(words(out, *words_of_it))
    record = json.loads((out / "robustness.json").read_text())
    assert record["card"]["encodings averaged for a gradient"] == encodings
    assert record["draws"] == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--eps 8", "fractions such as 8/255 are numbers"),
        ("--eps 0", "--eps must be a finite number > 0"),
        ("--eps -0.1", "--eps must be a finite number > 0, got -0.1"),
        ("--binary", "--binary is for --model"),
        ("--samples 0", "samples must be a whole number >= 1"),
        ("--batch-size 0", "batch_size must be a whole number >= 1"),
        ("--draws 0", "draws must be a whole number >= 1"),
        ("--time-steps 4", "--time-steps contradicts --checkpoint"),
        ("--data digits", "--data is for --model"),
        ("--budget huge", "invalid choice"),
        ("--eps 0.1 --flips 3", "give one of --eps, --flips and --shift, got --eps and --flips"),
        ("--moved 3", "--moved bounds the events that move; give --shift, too"),
        ("--flips 0", "--flips must be a whole number >= 1"),
        ("--shift 1", "SpikeRetiming changes event frames"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_done(tmp_path, run, capsys, more, message):
    capsys.readouterr()
    out = tmp_path / "out"
    assert message in one_line_error(words(out, "--checkpoint", str(run), *more.split()), capsys)
    assert not out.exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert "is a file; name a folder" in one_line_error(words(tmp_path / "out"), capsys)
