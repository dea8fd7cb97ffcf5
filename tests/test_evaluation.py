"""Rules times attacks, tables, files, and the command line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from art_snn import HART, rule_names
from art_snn.__main__ import main
from art_snn.data import load_digits
from art_snn.evaluation import evaluate_rules
from art_snn.evaluation.metrics import accuracy, attack_success_rate
from art_snn.evaluation.report import flat, plot, text_table, write_csv, write_json
from art_snn.training.digits import DigitsRecipe, trained_digits_classifier


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a network of the default recipe in it, trained for one epoch only."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def quick(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line train for one epoch."""
    monkeypatch.setenv("ART_SNN_CACHE", str(cache))
    monkeypatch.setattr("art_snn.commands.evaluate.DigitsRecipe", lambda **options: DigitsRecipe(epochs=1, **options))


def test_digits_are_real_scaled_and_split_the_same_way():
    data = load_digits()
    assert data.x_train.shape == (1347, 1, 8, 8)
    assert data.x_test.shape == (450, 1, 8, 8)
    assert data.x_train.dtype == np.float32
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    share = np.bincount(data.y_test, minlength=10) / 450 - np.bincount(data.y_train, minlength=10) / 1347
    assert np.abs(share).max() < 0.002
    again = load_digits()
    assert all(np.array_equal(a, b) for a, b in zip(data, again, strict=True))
    rows = {x.tobytes() for x in data.x_train}
    assert sum(x.tobytes() in rows for x in data.x_test) == 0


def test_rows_are_what_the_attacks_do(classifier, digits):
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent

    x, y = digits.x_test[:100], digits.y_test[:100]
    rows = list(evaluate_rules(classifier, x, y, rules=[HART(gamma=0.7), "cba"], eps=0.15, batch_size=60))
    assert [(row.rule, row.gamma, row.attack) for row in rows] == [
        ("hart", 0.7, "fgsm"),
        ("hart", 0.7, "pgd"),
        ("cba", None, "fgsm"),
        ("cba", None, "pgd"),
    ]
    assert classifier.gradient_rule == HART()
    clean = classifier.predict(x)
    for row in rows:
        classifier.gradient_rule = HART(gamma=0.7) if row.rule == "hart" else "cba"
        attack = (
            FastGradientMethod(classifier, eps=0.15, batch_size=60)
            if row.attack == "fgsm"
            else ProjectedGradientDescent(
                classifier, eps=0.15, eps_step=0.15 / 4, max_iter=7, batch_size=60, verbose=False
            )
        )
        attacked = classifier.predict(attack.generate(x, y))
        assert row.clean_accuracy == accuracy(clean, y)
        assert row.robust_accuracy == accuracy(attacked, y)
        assert row.attack_success_rate == attack_success_rate(clean, attacked, y)
        assert row.attack_success_rate.value > 0.1
        assert row.seconds > 0


def test_zero_gradients_are_counted_not_warned_of(classifier, digits):
    x = digits.x_test[:10].copy()
    x[:4] = 0
    classifier.gradient_rule = "bptr"
    rows = list(evaluate_rules(classifier, x, digits.y_test[:10], rules=["bptr"], attacks=["fgsm"], eps=0.1))
    zeros = 0
    for i in range(10):
        leaf = torch.from_numpy(x[i : i + 1]).requires_grad_()
        loss = torch.nn.functional.cross_entropy(classifier.model(leaf), torch.from_numpy(digits.y_test[i : i + 1]))
        zeros += int(torch.autograd.grad(loss, leaf)[0].abs().max() == 0)
    assert rows[0].zero_gradients == zeros / 10


def test_own_rule_comes_back_after_an_error(classifier, digits):
    work = evaluate_rules(classifier, digits.x_test[:8], digits.y_test[:8], rules=["cba", "rga"], eps=0.1)
    assert next(work).rule == "cba"
    assert classifier.gradient_rule == HART()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "loss_gradient", None)
        with pytest.raises(TypeError):
            list(work)
    assert classifier.gradient_rule == HART()


def test_bad_arguments_are_refused_before_any_work(classifier, digits):
    x, y = digits.x_test[:8], digits.y_test[:8]
    with pytest.raises(ValueError, match="x is empty"):
        evaluate_rules(classifier, x[:0], y[:0], rules=["hart"], eps=0.1)
    with pytest.raises(ValueError, match="eps must be a finite number > 0, got 0"):
        evaluate_rules(classifier, x, y, rules=["hart"], eps=0)
    with pytest.raises(ValueError, match="unknown attack 'cw'; known: fgsm, pgd"):
        evaluate_rules(classifier, x, y, rules=["hart"], attacks=["cw"], eps=0.1)
    with pytest.raises(ValueError, match="unknown gradient rule"):
        evaluate_rules(classifier, x, y, rules=["nope"], eps=0.1)


def test_cache_is_used_told_apart_and_healed(digits, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path))
    rng = torch.get_rng_state()
    recipe = DigitsRecipe(time_steps=1, epochs=1)
    first, cached = trained_digits_classifier(recipe, digits, device_type="cpu")
    assert not cached
    assert torch.equal(torch.get_rng_state(), rng)
    second, cached = trained_digits_classifier(recipe, digits, device_type="cpu")
    assert cached
    np.testing.assert_array_equal(first.predict(digits.x_test), second.predict(digits.x_test))
    names = {
        DigitsRecipe(**{"time_steps": 1, "epochs": 1, **change}).file_name
        for change in ({}, {"decay": 1.0}, {"seed": 1}, {"reset": "soft"}, {"time_steps": 2})
    }
    assert len(names) == 5
    file = tmp_path / recipe.file_name
    file.write_bytes(file.read_bytes()[:100])
    third, cached = trained_digits_classifier(recipe, digits, device_type="cpu")
    assert not cached
    assert "training anew" in caplog.text
    np.testing.assert_array_equal(first.predict(digits.x_test), third.predict(digits.x_test))
    assert trained_digits_classifier(recipe, digits, device_type="cpu")[1]


def test_network_that_cannot_be_kept_is_used_all_the_same(digits, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "file"))
    classifier, cached = trained_digits_classifier(DigitsRecipe(time_steps=1, epochs=1), digits, device_type="cpu")
    assert not cached
    assert "is not kept" in caplog.text
    assert classifier.predict(digits.x_test[:2]).shape == (2, 10)


@pytest.mark.slow
def test_default_network_reaches_its_accuracy(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path))
    classifier, _ = trained_digits_classifier(DigitsRecipe(), digits, device_type="cpu")
    assert accuracy(classifier.predict(digits.x_test), digits.y_test).value >= 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"seed": -1}, "seed must be"),
        ({"decay": 0.0}, "decay"),
        ({"reset": "no"}, "reset"),
    ],
)
def test_bad_recipes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DigitsRecipe(**options)


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
        ("--attacks foo", "unknown attack 'foo'; known: fgsm, pgd"),
        ("--eps 0", "--eps must be a finite number > 0, got 0"),
        ("--eps nan", "--eps must be"),
        ("--eps x", "'x' is not a number"),
        ("--gamma -1", "gamma must be a finite number > 0, got -1.0"),
        ("--decay 1.5", "decay (membrane retention lambda) must be in (0, 1], got 1.5"),
        ("--time-steps 0", "time_steps must be a whole number >= 1, got 0"),
        ("--time-steps 2.5", "'2.5' is not a whole number"),
        ("--reset mild", "reset must be 'hard' or 'soft', got 'mild'"),
        ("--seed -1", "seed must be in 0 to"),
        ("--device tpu", "--device must be 'gpu' or 'cpu', got 'tpu'"),
        ("--plot out.gif", "--plot must end in .png, .svg, .pdf"),
        ("--json /no/such/folder/x.json", "does not exist"),
        ("--csv .", "is a folder"),
        ("--nope", "unrecognized arguments: --nope"),
    ],
)
def test_wrong_options_get_one_line_and_code_2_before_training(words, message, capsys, monkeypatch):
    def train(*_: object, **__: object) -> None:
        raise AssertionError("trained in spite of a wrong option")

    monkeypatch.setattr("art_snn.commands.evaluate.trained_digits_classifier", train)
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

    monkeypatch.setattr("art_snn.commands.evaluate.trained_digits_classifier", full)
    assert main(["evaluate"]) == 2
    assert "No space left" in capsys.readouterr().err


def test_module_runs_as_a_script():
    done = subprocess.run([sys.executable, "-m", "art_snn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("art-snn 0.")


def test_report_of_rows(classifier, digits, tmp_path):
    rows = list(evaluate_rules(classifier, digits.x_test[:20], digits.y_test[:20], rules=["hart"], eps=0.2))
    assert "HART" in text_table(rows)
    record = flat(rows[0])
    assert record["clean_accuracy"] == rows[0].clean_accuracy.value
    assert record["clean_accuracy_n"] == 20
    write_json(rows, {"seed": 0}, tmp_path / "a.json")
    write_csv(rows, tmp_path / "a.csv")
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        plot(rows, "title", tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 5
