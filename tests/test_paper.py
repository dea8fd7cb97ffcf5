"""The paper's evaluation: published numbers, experiments, tables, figures, commands."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from art_snn import checkpoints, paper
from art_snn.__main__ import main
from art_snn.data import Split, load_digits
from art_snn.evaluation.store import ResultStore
from art_snn.metrics import wilson_interval
from art_snn.paper import Experiment, experiments, train_all
from art_snn.published import hart_iclr2024
from art_snn.recipes import RobustRecipe
from art_snn.report.figures import NothingToDrawError, epsilon_figure, gamma_figure, retention_figure
from art_snn.report.tables import long_table, wide_table, write_table


def row(hits: int = 150, **changes) -> dict:
    """A row as a grid makes it."""
    share = wilson_interval(hits, 200)
    return {
        "dataset": "CIFAR-10",
        "architecture": "vgg11",
        "width": None,
        "decay": 0.9,
        "time_steps": 8,
        "defence": "none",
        "seed": 0,
        "setting": "white-box",
        "attack": "fgsm",
        "eps": 8 / 255,
        "rule": "hart",
        "gamma": 0.5,
        "gamma_chosen": "tuned on a split of its own",
        "gamma_curve": [[0.1, 40, 100], [0.5, 80, 100], [1.0, 60, 100]],
        "clean_accuracy": 0.8,
        "attack_success_rate": share.value,
        "attack_success_rate_low": share.low,
        "attack_success_rate_high": share.high,
        "attack_success_rate_n": 200,
        "robust_accuracy": 0.2,
        **changes,
    }


# --- published numbers -----------------------------------------------------------------------------------------------


def test_published_numbers_are_whole_and_as_printed():
    numbers = hart_iclr2024()
    assert {table: sum(one.table == table for one in numbers) for table in range(1, 6)} == {
        1: 32,
        2: 100,
        3: 100,
        4: 72,
        5: 72,
    }
    assert len({one[:10] for one in numbers}) == len(numbers)
    assert all(0 <= one.attack_success_rate <= 100 for one in numbers)

    def find(**wanted) -> float:
        (one,) = (n for n in numbers if all(getattr(n, name) == value for name, value in wanted.items()))
        return one.attack_success_rate

    assert find(table=1, dataset="CIFAR10-DVS", time_steps=10, decay=1.0, attack="pgd", rule="rate") == 89.61
    assert find(table=2, architecture="resnet17", dataset="CIFAR-100", attack="fgsm", rule="rga") == 92.06
    robust = {"table": 3, "dataset": "CIFAR-10", "robust_target": True, "attack": "pgd"}
    assert find(**robust, rule="hart") == 47.83
    assert find(table=4, decay=1.0, time_steps=16, attack="fgsm", setting="black-box", rule="stbp") == 66.89
    assert find(table=5, decay=0.5, eps_255=2, attack="pgd", setting="white-box", rule="hart") == 78.33


# --- experiments -----------------------------------------------------------------------------------------------------


def test_small_and_full_sizes_are_the_papers_settings():
    small = experiments("small", images="cifar10", events=None)
    assert [one.name for one in small] == [f"vgg_small-T4-lambda{decay}" for decay in ("0.9", "0.5", "1")]
    assert {one.recipe.optimizer for one in small} == {"sgd"}
    assert [one.surrogate().recipe.seed for one in small] == [1, 1, 1]
    assert all(one.surrogate().name == f"{one.name}-surrogate" for one in small)
    assert small[0].eps == (2 / 255, 4 / 255, 8 / 255)
    robust = experiments("small", images="cifar10", robust=True)[-1].recipe
    assert (robust.defence, robust.eps, robust.decay) == ("fgsm", 2.55 / 255, 0.9)
    full = experiments("full", images="cifar10")
    have = {(one.recipe.architecture_name, one.recipe.time_steps, one.recipe.decay, one.recipe.defence) for one in full}
    for number in hart_iclr2024():
        if number.dataset == "CIFAR-10" and number.table > 1:
            defence = "fgsm" if number.robust_target else "none"
            assert (number.architecture, number.time_steps, number.decay, defence) in have
    with pytest.raises(ValueError, match="size must be 'small' or 'full', got 'tiny'"):
        experiments("tiny", images="cifar10")
    with pytest.raises(ValueError, match="neither images nor events"):
        experiments("small", images=None)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_difference_is_given_where_the_setting_is_the_papers():
    table = long_table(2, [row(), row(rule="stbp", hits=100)])
    assert table["published"].tolist() == [97.24, 89.91]
    np.testing.assert_allclose(table["difference"], [75 - 97.24, 50 - 89.91])
    assert table["nearest"].isna().all()
    header, lines = wide_table(2, [row(), row(rule="stbp", hits=100)])
    assert header[-2:] == ["STBP", "HART"]
    assert lines[0][:8] == ["CIFAR-10", "VGG-11", "8", "0.9", "white-box", "FGSM", "8/255", "80.0"]
    assert lines[0][-1] == "75.0 [68.6, 80.5]"
    assert lines[1][8:] == ["published", "89.91 (-39.9)", "97.24 (-22.2)"]


@pytest.mark.parametrize(
    ("changes", "setting", "value"),
    [
        ({"architecture": "vgg_small"}, "CIFAR-10, VGG-11, T=8", 97.24),
        ({"dataset": "CIFAR-10 (JPEG)"}, "CIFAR-10, VGG-11, T=8", 97.24),
        ({"time_steps": 4}, "CIFAR-10, VGG-11, T=8", 97.24),
        ({"defence": "fgsm", "time_steps": 4}, "CIFAR-10, VGG-11, T=8", 58.70),
        ({"architecture": "vgg_dvs", "width": 8, "decay": 0.5, "time_steps": 10}, "CIFAR10-DVS, VGG-DVS, T=10", 61.05),
    ],
)
def test_nearest_setting_is_named_and_gets_no_difference(changes, setting, value):
    (line,) = long_table(2, [row(**changes)]).to_dict("records")
    assert (line["nearest"], line["nearest_setting"]) == (value, setting)
    assert pd.isna(line["published"])
    assert pd.isna(line["difference"])
    _, lines = wide_table(2, [row(**changes)])
    assert lines[1][8:] == [f"paper: {setting}", f"{value:.2f}"]


def test_rows_go_to_the_tables_that_the_paper_has_them_in():
    rows = [
        row(rule=rule, setting=setting, eps=eps / 255, defence=defence)
        for rule in ("hart", "rga", "cba", "rate")
        for setting in ("white-box", "black-box")
        for eps in (4, 8)
        for defence in ("none", "fgsm")
    ]
    assert {n: len(long_table(n, rows)) for n in range(1, 6)} == {1: 4, 2: 8, 3: 8, 4: 4, 5: 8}
    assert set(long_table(1, rows)["rule"]) == {"cba", "rate"}
    assert set(long_table(5, rows)["published"].dropna().round(2)) == set()  # the paper has 0.5 and 1 there, not 0.9
    five = long_table(5, [row(decay=1.0, eps=4 / 255, rule="rga", setting="black-box", attack="pgd")])
    assert five["published"].tolist() == [56.78]
    with pytest.raises(ValueError, match="table must be one of 1, 2, 3, 4, 5, got 6"):
        long_table(6, rows)


def test_tables_are_written_in_three_formats(tmp_path):
    control = row(attack="clip-only", rule="", eps=0.0, architecture="vgg_dvs", dataset="N-MNIST", hits=20)
    files = write_table(2, [row(), control], tmp_path / "out")
    assert [file.name for file in files] == ["table2.md", "table2.tex", "table2.csv"]
    markdown, latex = (file.read_text() for file in files[:2])
    assert "| CIFAR-10 | VGG-11" in markdown
    assert "97.24 (-22.2)" in markdown
    assert "Control for N-MNIST, T=8, lambda 0.9: clipping counts to [0, 1] alone flips 10.0 [6.6, 14.9] %" in markdown
    assert latex.startswith("% White box")
    assert r"\\toprule" in latex or "\\toprule" in latex
    assert pd.read_csv(files[2])["ours"].tolist() == [75.0]
    empty = write_table(3, [], tmp_path / "out")
    assert "Table 3" in empty[0].read_text()


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_are_png_and_svg_and_show_every_panel(tmp_path):
    rows = [
        row(
            rule=rule,
            setting=setting,
            attack=attack,
            eps=eps / 255,
            gamma_curve=row()["gamma_curve"] if rule == "hart" else None,
        )
        for rule in ("hart", "rga")
        for setting in ("white-box", "black-box")
        for attack in ("fgsm", "pgd")
        for eps in (2, 8)
    ]
    records = [
        {
            "network": f"λ={decay}",
            "decay": decay,
            "time_steps": steps,
            "trained_time_steps": 4,
            "layer": f"body.{position}",
            "position": position,
            "chi": 0.1 / steps,
        }
        for decay in (0.5, 1.0)
        for steps in (2, 4)
        for position in (1, 2)
    ]
    for name, draw, data, texts in (
        ("gamma", gamma_figure, rows, ["FGSM, white-box", "PGD, black-box", "gamma of HART"]),
        ("epsilon", epsilon_figure, rows, ["PGD, black-box", "RGA", "HART"]),
        ("retention", retention_figure, records, ["mean over the layers", "λ=0.5"]),
    ):
        png, svg = draw(data, tmp_path)
        assert (png.name, svg.name) == (f"{name}.png", f"{name}.svg")
        assert png.read_bytes().startswith(b"\x89PNG")
        drawn = svg.read_text()
        assert drawn.count('<g id="axes_') >= (2 if name == "retention" else 4)
        comments = [line for line in drawn.splitlines() if line.strip().startswith("<!--")]
        for text in texts:
            assert any(text in comment for comment in comments), text
        first = svg.read_bytes()
        assert draw(data, tmp_path)[1].read_bytes() == first
    with pytest.raises(NothingToDrawError, match="no row has a curve"):
        gamma_figure([row(gamma_curve=None)], tmp_path)
    with pytest.raises(NothingToDrawError, match="no rows of attacks"):
        epsilon_figure([], tmp_path)
    with pytest.raises(NothingToDrawError, match="no values of chi"):
        retention_figure([], tmp_path)


def test_networks_that_another_process_trains_are_left_to_it(tmp_path, monkeypatch):
    full = load_digits()
    data = Split(full.x_train[:32], full.y_train[:32], full.x_test[:16], full.y_test[:16])
    loaded = []
    monkeypatch.setattr(paper, "load_data", lambda recipe, **_: loaded.append(recipe.seed) or data)
    one = Experiment(name="one", recipe=RobustRecipe(defence="none", epochs=1, time_steps=2))
    (tmp_path / "one").mkdir()
    other = ExitStack()
    other.enter_context(checkpoints.locked(tmp_path / "one"))
    waited = []

    def sleep(_: float) -> None:
        assert checkpoints.newest(tmp_path / "one") is None
        assert checkpoints.newest(tmp_path / "one-surrogate") is not None
        waited.append(1)
        if len(waited) == 3:
            other.close()

    monkeypatch.setattr(paper.time, "sleep", sleep)
    train_all([one], tmp_path)
    assert len(waited) == 3
    assert loaded == [1, 0]
    assert checkpoints.read_checkpoint(tmp_path / "one").epoch == 1


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_paper_runs_from_training_to_figures_and_goes_on(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["paper", "--data", "digits", "--out", str(out), "--epochs", "1", "--samples", "20", "--device", "cpu"]
    words += ["--tuning-samples", "10", "--quiet", "--dataset", "the digits"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "1. 6 networks" in said
    names = {file.name for file in out.iterdir()}
    assert {f"table{n}.{end}" for n in range(1, 6) for end in ("md", "tex", "csv")} <= names
    assert {f"{name}.{end}" for name in ("gamma", "epsilon", "retention") for end in ("png", "svg")} <= names
    rows = ResultStore(out / "results.sqlite").rows()
    assert len(rows) == 3 * 6 * 2 * 3 * 2
    assert {one["dataset"] for one in rows} == {"the digits"}
    assert {one["seed"] for one in rows} == {0}
    assert len({one["source_sha256"] for one in rows}) == 6
    before = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")}
    assert main(words) == 0
    assert {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")} == before
    assert ResultStore(out / "results.sqlite").rows() == rows
    capsys.readouterr()
    assert main(["table", "5", "--results", str(out / "results.sqlite"), "--out", str(tmp_path / "more")]) == 0
    assert "Sizes of the perturbation" in capsys.readouterr().out
    for name in ("gamma", "retention", "epsilon"):
        assert main(["figure", name, "--results", str(out / "results.sqlite"), "--out", str(tmp_path / "more")]) == 0
    assert len(list((tmp_path / "more").iterdir())) == 9
    assert main([*words, "--seed", "5"]) == 2
    assert "holds another training (seed is 0 there and 5 here)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paper", "--out", "o", "--data", "no/folder"], "--data 'no/folder' is neither"),
        (["paper", "--out", "o", "--data", "digits", "--size", "tiny"], "size must be 'small' or 'full', got 'tiny'"),
        (["paper", "--out", "o"], "neither images nor events"),
        (["paper", "--out", "o", "--data", "digits", "--samples", "0"], "--samples must be >= 1, got 0"),
        (["paper", "--out", "o", "--data", "digits", "--jobs", "0"], "--jobs must be >= 1, or -1, got 0"),
        (["paper", "--out", "o", "--data", "digits", "--epochs", "-1"], "epochs"),
        (["paper", "--out", "o", "--data", "digits", "--precision", "int8"], "--precision must be 'auto', 'bfloat16'"),
        (["paper", "--out", "o", "--events", "digits"], "--events 'digits' holds images"),
        (["paper", "--out", "o", "--data", "events.npz"], "--data 'events.npz' holds event recordings"),
        (["paper", "--out", "events.npz", "--data", "digits"], "--out 'events.npz' is a file"),
        (["paper", "--out", "events.npz/o", "--data", "digits"], "is not a writable folder"),
        (["paper", "--out", "other", "--data", "digits"], "has schema 7"),
        (["table", "6", "--results", "r"], "table must be one of 1, 2, 3, 4, 5, got 6"),
        (["table", "1", "--results", "none.sqlite"], "no results file 'none.sqlite'"),
        (["table", "1", "--results", "events.npz"], "is no results file, or damaged"),
        (["table", "1", "--results", "other/results.sqlite"], "has schema 7"),
        (["table", "1", "--results", "right.sqlite", "--out", "events.npz"], "--out 'events.npz' is a file"),
        (["figure", "rates", "--results", "r"], "figure must be one of gamma, retention, epsilon, got 'rates'"),
        (["figure", "gamma", "--results", "right.sqlite"], "no row has a curve of gamma"),
        (["figure", "retention", "--results", "right.sqlite"], "art-snn paper writes it"),
        (["figure", "retention", "--results", "broken/results.sqlite"], "retention.json is damaged"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("events.npz").write_bytes(b"no archive, but a file")
    for folder in ("other", "broken"):
        Path(folder).mkdir()
    with sqlite3.connect("other/results.sqlite") as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    Path("broken/retention.json").write_text("{")
    ResultStore(Path("right.sqlite"))
    before = sorted(tmp_path.rglob("*"))
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
