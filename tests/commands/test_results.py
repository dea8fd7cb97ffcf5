"""``art-snn table`` and ``art-snn figure``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from art_snn.__main__ import main
from art_snn.evaluation import ResultStore
from art_snn.paper.retention import write_retention
from tests.commands.lines import one_line_error
from tests.paper.rows import drawn, record, row

EVENTS = {"architecture": "vgg_dvs", "decay": 1.0, "time_steps": 10}


@pytest.fixture
def results(tmp_path):
    """A folder as art-snn paper leaves it: rows and temporal retention of images and of recordings."""
    store = ResultStore(tmp_path / "out" / "results")
    for changes in ({"dataset": "images", "key": "1"}, {**EVENTS, "dataset": "recordings.npz", "key": "2"}):
        found = row(**changes)
        store.finish(found.key, found)
    write_retention([record(dataset="images"), record(dataset="recordings.npz", **EVENTS)], tmp_path / "out")
    return tmp_path / "out"


def test_names_of_data_sets_can_be_given_with_the_report(results):
    words = ["--results", str(results), "--dataset", "CIFAR-10", "--events-name", "CIFAR10-DVS"]
    assert main(["table", "2", *words]) == 0
    frame = pd.read_csv(results / "table2.csv")
    assert frame["dataset"].tolist() == ["CIFAR-10", "CIFAR10-DVS"]
    assert frame["published"].tolist() == [97.24, 78.42]
    for name in ("gamma", "epsilon", "retention"):
        assert main(["figure", name, *words]) == 0
        said = drawn(results / f"{name}.svg")
        assert any("CIFAR10-DVS, VGG-DVS" in text for text in said)
        assert not any("recordings.npz" in text or "images" in text for text in said)


def test_names_are_their_own_without_options(results, tmp_path, capsys):
    assert main(["table", "2", "--results", str(results), "--out", str(tmp_path / "more")]) == 0
    assert pd.read_csv(tmp_path / "more" / "table2.csv")["dataset"].tolist() == ["images", "recordings.npz"]
    assert "### Table 2. White box" in capsys.readouterr().out


def test_folder_of_rows_is_taken_too(results, tmp_path):
    assert main(["table", "2", "--results", str(results / "results"), "--out", str(tmp_path / "more")]) == 0
    assert len(pd.read_csv(tmp_path / "more" / "table2.csv")) == 2


def test_rows_of_two_experiments_are_one_line(results, capsys):
    more = row(dataset="images", seed=3, key="3")
    ResultStore(results / "results").finish(more.key, more)
    said = one_line_error(["table", "2", "--results", str(results)], capsys)
    assert "the seed is 0 and 3; keep their results in separate folders" in said


@pytest.mark.parametrize("report", [["table", "2"], ["figure", "gamma"], ["figure", "retention"]])
@pytest.mark.parametrize(("kind", "option"), [({}, "--events-name"), (EVENTS, "--dataset")], ids=["images", "events"])
def test_names_for_data_that_the_results_are_not_of_are_refused(tmp_path, capsys, report, kind, option):
    store = ResultStore(tmp_path / "results")
    found = row(**kind)
    store.finish(found.key, found)
    write_retention([record(**kind)], tmp_path)
    said = one_line_error([*report, "--results", str(tmp_path), option, "X"], capsys)
    assert f"{option} does nothing: the results are not of" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table", "6", "--results", "out"], "argument number: invalid choice: 6"),
        (["table", "two", "--results", "out"], "argument number: 'two' is not a whole number"),
        (["figure", "rates", "--results", "out"], "argument name: invalid choice: 'rates'"),
        (["table", "1", "--results", "none"], "no results in 'none'"),
        (["table", "1", "--results", "text"], "text is a file, and results are kept in a folder"),
        (["table", "1", "--results", "old"], "those of art-snn 0.1.0 cannot be read"),
        (["table", "1", "--results", "old/results.sqlite"], "those of art-snn 0.1.0 cannot be read"),
        (["table", "1", "--results", "damaged"], "ab.json is damaged"),
        (["table", "1", "--results", "out", "--out", "text"], "--out 'text' is a file"),
        (["figure", "retention", "--results", "out", "--out", "text"], "--out 'text' is a file"),
        (["figure", "gamma", "--results", "empty"], "no results in 'empty'"),
        (["figure", "retention", "--results", "empty"], "art-snn paper writes it"),
        (["figure", "retention", "--results", "damaged"], "retention.json is damaged, or of another version"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(results, monkeypatch, capsys, words, message):
    home = results.parent
    monkeypatch.chdir(home)
    Path("text").touch()
    for folder in ("old", "damaged/results", "empty/results"):
        Path(folder).mkdir(parents=True)
    Path("old/results.sqlite").touch()
    Path("damaged/retention.json").write_text("{")
    Path("damaged/results/ab.json").write_text("{")
    before = {file: file.is_file() and file.read_bytes() for file in home.rglob("*")}
    assert message in one_line_error(words, capsys)
    assert {file: file.is_file() and file.read_bytes() for file in home.rglob("*")} == before


def test_folders_without_results_are_named_and_left_alone(tmp_path, capsys):
    (tmp_path / "package.json").write_text("{}")
    for words in (["table", "2"], ["figure", "epsilon"]):
        assert "no results in" in one_line_error([*words, "--results", str(tmp_path)], capsys)
    assert [file.name for file in tmp_path.iterdir()] == ["package.json"]
