"""``art-snn table`` and ``art-snn figure``; and bad input of these and of ``art-snn paper``."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from art_snn.__main__ import main
from art_snn.evaluation import ResultStore
from tests.evaluation.plans import grid_row
from tests.paper.rows import drawn, record


def test_names_of_data_sets_can_be_given_with_the_report(tmp_path, capsys):
    store = ResultStore(tmp_path / "results")
    events = {"architecture": "vgg_dvs", "dataset": "recordings.npz", "decay": 1.0, "time_steps": 10}
    for key, changes in (("one", {"dataset": "images"}), ("two", events)):
        store.finish(key, grid_row(key=key, **changes))
    (tmp_path / "retention.json").write_text(json.dumps([record(dataset="images"), record(**events)]))
    words = ["--results", str(store.folder), "--dataset", "CIFAR-10", "--events-name", "CIFAR10-DVS"]
    assert main(["table", "2", *words]) == 0
    frame = pd.read_csv(tmp_path / "table2.csv")
    assert frame["dataset"].tolist() == ["CIFAR-10", "CIFAR10-DVS"]
    assert frame["published"].tolist() == [97.24, 78.42]
    for name in ("gamma", "epsilon", "retention"):
        assert main(["figure", name, *words]) == 0
        said = drawn(tmp_path / f"{name}.svg")
        assert any("CIFAR10-DVS, VGG-DVS" in text for text in said)
        assert not any("recordings.npz" in text or "images" in text for text in said)
    assert main(["table", "2", "--results", str(store.folder)]) == 0
    assert pd.read_csv(tmp_path / "table2.csv")["dataset"].tolist() == ["images", "recordings.npz"]
    capsys.readouterr()


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
        (
            ["paper", "--out", "other", "--data", "digits"],
            "cannot be read: run art-snn paper again, into",
        ),
        (["paper", "--out", "o", "--data", "digits", "--lr", "0"], "--lr must be a finite number > 0, got 0.0"),
        (["paper", "--out", "o", "--data", "digits", "--test-share", "1"], "--test-share must be in (0, 1), got 1.0"),
        (["paper", "--out", "o", "--data", "digits", "--epochs", "0"], "--epochs must be >= 1, got 0"),
        (["paper", "--out", "o", "--data", "digits", "--seed", "4294967295"], "--seed must be in 0 to 2**32 - 2"),
        (["paper", "--out", "o", "--data", "images", "--quiet"], "damaged.png"),
        (["figure", "retention", "--results", "number/results"], "entry 1 is 1, not an object"),
        (["figure", "retention", "--results", "object/results"], "run of entry 1 is missing"),
        (["figure", "retention", "--results", "text/results"], "chi of entry 2 is 'much'"),
        (["figure", "retention", "--results", "dict/results"], "it holds a dict, not a list"),
        (["table", "6", "--results", "r"], "table must be one of 1, 2, 3, 4, 5, got 6"),
        (["table", "1", "--results", "none"], "no results in 'none'"),
        (["table", "1", "--results", "events.npz"], "events.npz is a file, and results are kept in a folder"),
        (
            ["table", "1", "--results", "other/results.sqlite"],
            "cannot be read: run art-snn paper again, into",
        ),
        (["figure", "gamma", "--results", "other/results"], "cannot be read: run art-snn paper again"),
        (["table", "1", "--results", "format"], "format/a.json has format 7, and this art_snn reads format 1"),
        (["table", "1", "--results", "damaged"], "damaged/a.json is damaged"),
        (["table", "1", "--results", "right", "--out", "events.npz"], "--out 'events.npz' is a file"),
        (["figure", "rates", "--results", "r"], "figure must be one of gamma, retention, epsilon, got 'rates'"),
        (["figure", "gamma", "--results", "right"], "no row has a curve of gamma"),
        (["figure", "retention", "--results", "right"], "art-snn paper writes it"),
        (["figure", "retention", "--results", "broken/results"], "retention.json is damaged"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("events.npz").write_bytes(b"no archive, but a file")
    for folder in ("other", "broken", "number", "object", "text", "dict", "format", "damaged"):
        Path(folder).mkdir()
    for folder, found in (("number", [1]), ("object", [{}]), ("text", [record(), record(chi="much")]), ("dict", {})):
        Path(folder, "retention.json").write_text(json.dumps(found))
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            Path("images", part, label).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(f"images/{part}/{label}/whole.png")
    Path("images/test/dog/damaged.png").write_bytes(Path("images/test/dog/whole.png").read_bytes()[:40])
    with sqlite3.connect("other/results.sqlite") as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    Path("format/a.json").write_text('{"format": 7}')
    Path("damaged/a.json").write_text("{")
    Path("broken/retention.json").write_text("{")
    ResultStore(Path("right"))
    before = {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")}
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")} == before
