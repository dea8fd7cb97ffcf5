"""``art-snn evaluate``."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from art_snn import rule_names
from art_snn.__main__ import main
from art_snn.training import DIGITS_RECIPE
from tests.conftest import train_command


def test_evaluation_takes_the_gamma_of_the_training(tmp_path, few):
    out, table = tmp_path / "run", tmp_path / "rows.json"
    assert main(train_command(out, "--gamma", "1.5", epochs=1)) == 0
    for more, gamma, chosen in (([], 1.5, "by default, not tuned"), (["--gamma", "2"], 2.0, "given, not tuned")):
        evaluate = ["evaluate", "--checkpoint", str(out), "--rules", "hart", "--attacks", "fgsm", "--quiet"]
        assert main([*evaluate, "--device", "cpu", "--json", str(table), *more]) == 0
        document = json.loads(table.read_text())
        assert document["settings"]["rules"] == [f"HART(gamma={gamma})"]
        assert document["settings"]["gamma_chosen"] == chosen
        assert document["rows"][0]["gamma"] == gamma


def test_gamma_of_the_training_is_that_of_its_own_rule(tmp_path, few):
    out, table = tmp_path / "run", tmp_path / "rows.json"
    assert main(train_command(out, "--gamma", "1.5", "--rule", "stbp", epochs=1)) == 0
    evaluate = ["evaluate", "--checkpoint", str(out), "--rules", "hart,stbp", "--attacks", "fgsm", "--quiet"]
    assert main([*evaluate, "--device", "cpu", "--json", str(table)]) == 0
    assert [row["gamma"] for row in json.loads(table.read_text())["rows"]] == [1.0, 1.5]


def test_evaluating_nothing_or_with_contradictions(tmp_path, few, capsys):
    assert main(["evaluate", "--checkpoint", str(tmp_path / "none"), "--device", "cpu"]) == 2
    assert "no checkpoint in" in capsys.readouterr().err
    assert main(["evaluate", "--checkpoint", str(tmp_path), "--time-steps", "3"]) == 2
    assert "--time-steps contradicts --checkpoint" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a network of the default recipe in it, trained for one epoch only."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def quick(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line train for one epoch."""
    monkeypatch.setenv("ART_SNN_CACHE", str(cache))
    monkeypatch.setattr("art_snn.commands.evaluate.DIGITS_RECIPE", replace(DIGITS_RECIPE, epochs=1))


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("default")
def test_evaluate_prints_and_writes_all_rules(tmp_path, capsys):
    files = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "png")}
    code = main(
        [
            "evaluate",
            "--time-steps",
            "2",
            "--device",
            "cpu",
            "--quiet",
            "--gamma",
            "0.5",
            "--json",
            str(files["json"]),
            "--csv",
            str(files["csv"]),
            "--plot",
            str(files["png"]),
        ]
    )
    out, err = capsys.readouterr()
    assert code == 0
    assert "trained now" in out
    assert err == ""
    document = json.loads(files["json"].read_text())
    assert [row["rule"] for row in document["rows"]] == [rule for rule in rule_names()[:6] for _ in range(2)]
    assert document["settings"]["rules"][0] == "HART(gamma=0.5)"
    for row in document["rows"]:
        assert row["attack_success_rate_low"] <= row["attack_success_rate"] <= row["attack_success_rate_high"]
        assert row["clean_accuracy_n"] == 450
    with files["csv"].open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["robust_accuracy"]) for row in table] == [row["robust_accuracy"] for row in document["rows"]]
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len(lines) == 14
    assert f"{document['rows'][0]['attack_success_rate']:.1%}" in lines[2]
    again = ["evaluate", "--time-steps", "2", "--device", "cpu", "--quiet", "--rules", "hart", "--attacks", "fgsm"]
    assert main([*again, "--json", str(files["json"])]) == 0
    assert "from the cache" in capsys.readouterr().out
    assert json.loads(files["json"].read_text())["settings"]["rules"] == ["HART(gamma=1.0)"]


def test_evaluate_says_where_gamma_comes_from(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "gamma of HART (default: the checkpoint's, or 1.0 for digits)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rules hrat", "unknown gradient rule 'hrat'"),
        ("--rules ,", "--rules names nothing"),
        ("--attacks foo", "attack must be 'fgsm', 'pgd' or 'clip-only', got 'foo'"),
        ("--eps 0", "eps must be a finite number > 0, got 0"),
        ("--eps nan", "eps must be a finite number > 0, got nan"),
        ("--eps x", "'x' is not a number"),
        ("--rules cba,bptr --gamma 1", "--gamma: none of cba, bptr has a gamma; leave it out"),
        ("--gamma -1", "gamma must be a finite number > 0, got -1.0"),
        ("--decay 1.5", "decay (membrane retention lambda) must be in (0, 1], got 1.5"),
        ("--time-steps 0", "time_steps must be a whole number >= 1, got 0"),
        ("--time-steps 2.5", "'2.5' is not a whole number"),
        ("--reset mild", "argument --reset: invalid choice: 'mild'"),
        ("--seed -1", "seed must be a whole number in 0 to"),
        ("--device tpu", "argument --device: invalid choice: 'tpu'"),
        ("--plot out.gif", "--plot must end in .png, .svg, .pdf"),
        ("--json /no/such/folder/x.json", "does not exist"),
        ("--csv .", "is a folder"),
        ("--nope", "unrecognized arguments: --nope"),
    ],
)
def test_wrong_options_get_one_line_and_code_2_before_training(words, message, capsys, monkeypatch):
    def train(*_: object, **__: object) -> None:
        raise AssertionError("trained in spite of a wrong option")

    monkeypatch.setattr("art_snn.commands.evaluate.train_cached", train)
    try:
        code = main(["evaluate", *words.split()])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_failed_write_is_one_line(tmp_path, capsys, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("art_snn.commands.evaluate.train_cached", full)
    assert main(["evaluate"]) == 2
    assert "No space left" in capsys.readouterr().err
