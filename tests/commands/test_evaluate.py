"""``art-snn evaluate``."""

from __future__ import annotations

import csv
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from art_snn import rule_names
from art_snn.__main__ import main
from art_snn.data import sources
from art_snn.training import DIGITS_RECIPE
from art_snn.training.losses import DEFENCES
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
    assert [row["gamma"] for row in json.loads(table.read_text())["rows"]] == [1.0, 1.5, None]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_data_out_of_the_range_are_refused(tmp_path, few, capsys, monkeypatch, checkpoint):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("art_snn.commands.evaluate.DIGITS_RECIPE", replace(DIGITS_RECIPE, epochs=1, time_steps=1))
    out, table = tmp_path / "run", tmp_path / "rows.json"
    assert main(train_command(out, epochs=1)) == 0
    monkeypatch.setattr(sources, "load_digits", lambda: few._replace(x_test=255 * few.x_test))
    words = ["evaluate", *(["--checkpoint", str(out)] if checkpoint else []), "--json", str(table)]
    assert main([*words, "--device", "cpu", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert ("the test data of digits" if checkpoint else "x_test") + " has values from 0 to 255" in said
    assert "outside the clip values [0, 1]" in said
    assert not table.exists()


TRAINED = {
    "none": "--eps 8/255 --gamma 1.5",
    "fgsm": "--eps 0.05",
    "fbf": "--rule bptr",
    "madry-pgd": "--eps 0.08 --max-iter 2 --rule stbp --gamma 2",
    "trades": "--eps 0.2 --eps-step 0.03 --max-iter 4 --beta 3",
}
STEPS = {"none": (7, 2 / 255), "fgsm": (7, 0.0125), "fbf": (7, 0.025), "madry-pgd": (2, 0.04), "trades": (4, 0.03)}


@pytest.mark.parametrize("reported", [1000, 30])
@pytest.mark.parametrize("defence", DEFENCES)
def test_training_and_evaluation_say_the_same_of_a_checkpoint(tmp_path, few, capsys, monkeypatch, defence, reported):
    monkeypatch.setattr("art_snn.commands.train.REPORTED", reported)
    out, table = tmp_path / "a run", tmp_path / "rows.json"
    assert main(train_command(out, *TRAINED[defence].split(), defence=defence, epochs=1)) == 0
    lines = capsys.readouterr().out.splitlines()
    clean = next(line for line in lines if line.startswith("clean accuracy")).removeprefix("clean accuracy").strip()
    robust = next(line for line in lines if line.startswith("robust accuracy")).removeprefix("robust accuracy").strip()
    following = shlex.split(next(line for line in lines if line.startswith("next: art-snn ")))[2:]
    rule = next(iter(re.findall(r"--rule (\w+)", TRAINED[defence])), "hart")
    assert main([*following, "--quiet", "--json", str(table)]) == 0
    said = capsys.readouterr().out
    rows = json.loads(table.read_text())["rows"]
    (row,) = [row for row in rows if (row["rule"], row["attack"]) == (rule, "pgd")]
    assert (row["max_iter"], row["eps_step"]) == (STEPS[defence][0], pytest.approx(STEPS[defence][1]))
    how = f"(PGD, {row['max_iter']} steps of {row['eps_step']:g}, eps {row['eps']:g}, {row['rule_repr']}, "
    assert f"{how}{min(reported, 64)} test images" in robust
    numbers = robust.split("  (")[0]
    assert (
        numbers == f"{row['robust_accuracy']:.1%} [{row['robust_accuracy_low']:.1%}, {row['robust_accuracy_high']:.1%}]"
    )
    assert any(clean in line and numbers in line and "PGD" in line for line in said.splitlines())
    assert (
        f"{min(reported, 64)} test images, eps={row['eps']:g}, {row['max_iter']} steps of {row['eps_step']:g}" in said
    )


def test_options_of_an_evaluation_come_before_the_settings_of_the_training(tmp_path, few):
    out, table = tmp_path / "run", tmp_path / "rows.json"
    training = ["--eps", "0.1", "--max-iter", "2", "--rule", "stbp", "--gamma", "1.5"]
    assert main(train_command(out, *training, defence="madry-pgd", epochs=1)) == 0
    evaluate = ["evaluate", "--checkpoint", str(out), "--attacks", "pgd", "--quiet", "--device", "cpu"]
    for words, rules, eps, step, steps in (
        ("--rules stbp", ["STBP(gamma=1.5"], 0.1, 0.05, 2),
        ("--rules hart,stbp --gamma 2", ["HART(gamma=2.0", "STBP(gamma=1.5"], 0.1, 0.05, 2),
        ("--rules stbp,bptr --gamma 2", ["STBP(gamma=2.0", "BPTR("], 0.1, 0.05, 2),
        ("--rules bptr --eps 0.2", ["BPTR("], 0.2, 0.1, 2),
        ("--rules bptr --eps 0.2 --eps-step 0.01", ["BPTR("], 0.2, 0.01, 2),
        ("--rules bptr --max-iter 3", ["BPTR("], 0.1, 0.05, 3),
    ):
        assert main([*evaluate, *words.split(), "--json", str(table)]) == 0
        document = json.loads(table.read_text())
        settings, row = document["settings"], document["rows"][0]
        assert all(text.startswith(rule) for text, rule in zip(settings["rules"], rules, strict=True))
        assert (row["eps"], row["eps_step"], row["max_iter"]) == (eps, step, steps)
        assert [settings[name] for name in ("eps", "eps_step", "max_iter")] == [eps, step, steps]
        trained = ("trained_eps", "trained_eps_step", "trained_max_iter", "gamma")
        assert [settings[name] for name in trained] == [0.1, None, 2, 1.5]


def test_sizes_beyond_the_range_of_a_checkpoints_inputs_are_refused(tmp_path, few, capsys):
    out = tmp_path / "run"
    assert main(train_command(out, epochs=1)) == 0
    for words in ("--eps 8", "--eps 0.1,2", "--attacks pgd --eps-step 2"):
        assert main(["evaluate", "--checkpoint", str(out), *words.split()]) == 2
        assert "and inputs have a range of 1; fractions such as 8/255 are numbers" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("default")
def test_several_eps_settings_of_steps_and_fewer_samples(tmp_path, capsys):
    files = {name: tmp_path / f"out.{name}" for name in ("json", "svg")}
    words = "--time-steps 1 --device cpu --rules hart,bptr --attacks fgsm,pgd --eps 0.02,8/255,0.1 --eps-step 1/100"
    more = ["--max-iter", "2", "--samples", "100", "--json", str(files["json"]), "--plot", str(files["svg"])]
    assert main(["evaluate", *words.split(), *more]) == 0
    out, err = capsys.readouterr()
    assert "100 test images, eps=0.02, 0.0313725, 0.1" in out
    assert "gradients=" in err  # the progress bar counts them
    document = json.loads(files["json"].read_text())
    rows = document["rows"]
    assert document["settings"]["eps"] == [0.02, 8 / 255, 0.1]
    assert document["settings"]["samples"] == 100
    assert len(rows) == 3 * 6
    assert {(row["eps_step"], row["max_iter"]) for row in rows if row["attack"] == "pgd"} == {(0.01, 2)}
    assert {row["clean_accuracy_n"] for row in rows} == {100}
    for worst in (row for row in rows if row["rule"] == "worst case"):
        same = [row for row in rows if row["attack_repr"] == worst["attack_repr"] and row is not worst]
        assert len(same) == 2
        assert worst["robust_accuracy"] <= min(row["robust_accuracy"] for row in same)
        assert worst["rule_repr"] == "worst case of HART(gamma=1.0), BPTR()"
    drawn = files["svg"].read_text()
    assert "<svg" in drawn


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
    assert [row["rule"] for row in document["rows"]] == [n for n in (*rule_names()[:6], "worst case") for _ in range(2)]
    assert document["settings"]["rules"][0] == "HART(gamma=0.5)"
    for row in document["rows"]:
        assert row["attack_success_rate_low"] <= row["attack_success_rate"] <= row["attack_success_rate_high"]
        assert row["clean_accuracy_n"] == 450
    with files["csv"].open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["robust_accuracy"]) for row in table] == [row["robust_accuracy"] for row in document["rows"]]
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len(lines) == 16
    assert f"{document['rows'][0]['attack_success_rate']:.1%}" in lines[2]
    again = ["evaluate", "--time-steps", "2", "--device", "cpu", "--quiet", "--rules", "hart", "--attacks", "fgsm"]
    assert main([*again, "--json", str(files["json"])]) == 0
    assert "from the cache" in capsys.readouterr().out
    assert json.loads(files["json"].read_text())["settings"]["rules"] == ["HART(gamma=1.0)"]


def test_evaluate_says_where_gamma_comes_from(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "of all rules that have one (default: the checkpoint's, or 1.0 for digits)" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rules hrat", "unknown gradient rule 'hrat'"),
        ("--rules ,", "--rules names nothing"),
        (
            "--attacks foo",
            "attack must be 'fgsm', 'pgd', 'clip-only', 'sa-pgd', 'apgd', 'sda' or 'retiming', got 'foo'",
        ),
        ("--eps 0", "eps must be a finite number > 0, got 0"),
        ("--eps nan", "eps must be a finite number > 0, got nan"),
        ("--eps x", "'x' is not a number"),
        ("--eps 8/0", "'8/0' is not a number"),
        ("--eps 0.1,,0.2", "'' is not a number"),
        ("--eps 0.1,-0.2", "eps must be a finite number > 0, got -0.2"),
        ("--attacks fgsm --eps-step 0.1", "--eps-step does nothing with fgsm, which has no steps; leave it out"),
        ("--attacks apgd --eps-step 0.1", "--eps-step does nothing with apgd, which chooses the size of its steps"),
        ("--attacks fgsm,clip-only --max-iter 3", "--max-iter does nothing with fgsm, clip-only, which has no steps"),
        ("--attacks sda,retiming --eps 0.1", "--eps does nothing with sda, retiming, which has no eps; leave it out"),
        ("--attacks clip-only --eps 0.1", "--eps does nothing with clip-only, which has no eps; leave it out"),
        ("--max-iter 0", "steps must be a whole number >= 1, got 0"),
        ("--samples 0", "samples must be a whole number >= 1, got 0"),
        ("--rules cba,bptr --gamma 1", "--gamma does nothing with --rules cba, bptr, without a gamma; leave it out"),
        ("--gamma -1", "gamma must be a finite number > 0, got -1.0"),
        ("--decay 1.5", "decay (membrane retention lambda) must be in (0, 1], got 1.5"),
        ("--time-steps 0", "time_steps must be a whole number >= 1, got 0"),
        ("--time-steps 2.5", "'2.5' is not a whole number"),
        ("--reset mild", "argument --reset: invalid choice: 'mild'"),
        ("--seed -1", "seed must be a whole number in 0 to"),
        ("--device tpu", "argument --device: invalid choice: 'tpu'"),
        ("--plot out.gif", "--plot must end in .png, .svg, .pdf"),
        ("--eps 8", "--eps is 8, and inputs have a range of 1; fractions such as 8/255 are numbers"),
        ("--eps-step 2", "--eps-step is 2, and inputs have a range of 1"),
        ("--json out.x --csv ./out.x", "--json and --csv both name 'out.x'"),
        ("--json out.png --plot out.png", "--json and --plot both name 'out.png'"),
        ("--json /no/such/folder/x.json", "does not exist"),
        ("--csv .", "is a folder"),
        ("--nope", "unrecognized arguments: --nope"),
    ],
)
def test_wrong_options_get_one_line_and_code_2_before_training(words, message, capsys, monkeypatch):
    def train(*_: object, **__: object) -> None:
        raise AssertionError("trained in spite of a wrong option")

    monkeypatch.setattr("art_snn.commands.targets.train_cached", train)
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

    monkeypatch.setattr("art_snn.commands.targets.train_cached", full)
    assert main(["evaluate"]) == 2
    assert "No space left" in capsys.readouterr().err


def test_attacks_that_size_their_own_steps_have_a_number_of_their_own(tmp_path, few, capsys):
    out, table = tmp_path / "run", tmp_path / "rows.json"
    assert main(train_command(out, "--max-iter", "2", defence="madry-pgd", epochs=1)) == 0
    words = ["evaluate", "--checkpoint", str(out), "--rules", "hart", "--attacks", "pgd,sa-pgd,apgd", "--quiet"]
    words += ["--device", "cpu", "--samples", "20", "--json", str(table)]
    for more, steps in (([], [2, 100, 100]), (["--max-iter", "3"], [3, 3, 3])):
        assert main([*words, *more]) == 0
        rows = json.loads(table.read_text())["rows"]
        assert [row["max_iter"] for row in rows] == steps
        assert [row["attack_title"] for row in rows] == ["PGD", "SA-PGD", "APGD"]
        assert rows[1]["eps_step"] is None
    assert re.search(r"3 steps of [\d.]+\n", capsys.readouterr().out)
