"""The folder of results: locks, and bad files."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from art_snn.errors import ResultsError
from art_snn.evaluation import ResultStore, read_rows
from tests.evaluation.plans import grid_row

_CLAIM = """
import sys, time
from pathlib import Path
from art_snn.evaluation import ResultStore

store = ResultStore(Path(sys.argv[1]))
print(store.claim(sys.argv[2:]), flush=True)
time.sleep(600)
"""


def test_locks_are_exclusive_and_given_up(tmp_path):
    first, second = ResultStore(tmp_path / "results"), ResultStore(tmp_path / "results")
    keys = ["a", "b", "c"]
    assert first.claim(keys) == "a"
    assert second.claim(keys) == "b"
    row = grid_row(key="b", seed=1)
    assert second.finish("b", row)
    assert not first.finish("b", grid_row(key="b", seed=2))
    assert read_rows(first.folder) == [row]
    assert second.missing(keys) == ["a", "c"]
    assert second.claim(["a", "b"]) is None
    assert first.claim(["a", "b"]) is None
    first.release()
    assert second.claim(["a", "b"]) == "a"
    second.release()
    second.release()
    assert {path.name for path in (tmp_path / "results").iterdir()} == {".locks", "b.json"}


def test_locks_go_with_a_killed_process(tmp_path):
    store = ResultStore(tmp_path)
    command = [sys.executable, "-c", _CLAIM, str(tmp_path), "a"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "a\n"
        assert store.claim(["a"]) is None
        process.kill()
    assert store.claim(["a"]) == "a"


def test_rows_come_in_the_order_in_which_they_landed(tmp_path):
    store = ResultStore(tmp_path)
    rows = [grid_row(key=key) for key in "cabd"]
    for row in rows:
        store.finish(row.key, row)
    assert read_rows(tmp_path) == rows
    (tmp_path / ".e.json.half.json").write_text("{")  # what a killed process leaves
    (tmp_path / "notes.txt").touch()
    assert read_rows(tmp_path) == rows


def changed(file: Path, **entries: object) -> str:
    return json.dumps({**json.loads(file.read_text()), **entries})


def test_bad_results_are_named(tmp_path):
    folder = tmp_path / "results"
    store = ResultStore(folder)
    store.finish("a", grid_row(key="a"))
    file = folder / "a.json"
    short = {name: value for name, value in grid_row().to_json().items() if name != "decay"}
    for content, message in (
        ("", "is damaged"),
        ("no JSON", "is damaged"),
        (file.read_text()[:100], "is damaged"),
        ("[]", "is damaged"),
        ("{}", r"is damaged \('format'\)"),
        (changed(file, row=short), "cannot be read: a row lacks 'decay'"),
        (changed(file, row=3), "is damaged"),
        (changed(file, format=7), "has format 7, and this art_snn reads format 1; run art-snn paper again, into"),
    ):
        file.write_text(content or " ")
        with pytest.raises(ResultsError, match=rf"a\.json {message}") as error:
            read_rows(folder)
        assert "\n" not in str(error.value)
        store.release()
        file.unlink()
        store.finish("a", grid_row(key="a"))
    assert read_rows(folder) == [grid_row(key="a")]
    with pytest.raises(OSError, match="none"):
        read_rows(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_results_of_another_version_say_what_to_do(tmp_path):
    old = tmp_path / "results.sqlite"
    with sqlite3.connect(old) as db:
        db.execute("CREATE TABLE results (key TEXT PRIMARY KEY, row TEXT NOT NULL, written REAL NOT NULL)")
    db.close()
    message = r"results.sqlite is a file, .* art-snn 0.1.0 cannot be read: run art-snn paper again, into another folder"
    for folder in (old, tmp_path, tmp_path / "results"):
        for use in (ResultStore, read_rows):
            with pytest.raises(ResultsError, match=message):
                use(folder)
    assert list(tmp_path.iterdir()) == [old]
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        ResultStore(old / "deep" / "results")


def test_rows_are_read_where_nothing_can_be_written(tmp_path):
    store = ResultStore(tmp_path / "odd name?#%")
    store.finish("a", grid_row(key="a"))
    (store.folder / "a.json").chmod(0o400)
    store.folder.chmod(0o500)
    try:
        assert read_rows(store.folder) == [grid_row(key="a")]
    finally:
        store.folder.chmod(0o700)


def test_files_of_others_are_left_alone(tmp_path):
    store = ResultStore(tmp_path)
    (tmp_path / "package.json").write_text("{}")
    assert store.finish("a", grid_row(key="a"))
    assert read_rows(tmp_path) == [grid_row(key="a")]
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(ResultsError, match=r"b\.json is damaged \(it holds the row a\)"):
        read_rows(tmp_path)


def test_old_results_beside_another_folder_are_no_hindrance(tmp_path):
    (tmp_path / "results.sqlite").touch()
    assert ResultStore(tmp_path / "new").missing(["a"]) == ["a"]
