"""The file of results: claims, and bad files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from art_snn.errors import ResultsError
from art_snn.evaluation.store import ResultStore, read_rows


def test_claims_are_exclusive_and_taken_over_when_abandoned(tmp_path, monkeypatch):
    first, second = ResultStore(tmp_path / "r.sqlite"), ResultStore(tmp_path / "r.sqlite")
    keys = ["a", "b", "c"]
    assert first.claim(keys) == "a"
    assert second.claim(keys) == "b"
    assert second.finish("b", {"value": 1})
    assert not first.finish("b", {"value": 2})
    assert first.rows() == [{"value": 1}]
    assert second.missing(keys) == ["a", "c"]
    assert second.claim(["a", "b"]) is None
    monkeypatch.setattr("art_snn.evaluation.store.STALE_S", -1.0)
    assert second.claim(["a", "b"]) == "a"
    monkeypatch.undo()
    second.release()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    ghost = ResultStore(tmp_path / "r.sqlite")
    ghost.owner = f"{ghost.owner.split(':')[0]}:{int(dead.stdout)}:x"
    assert ghost.claim(["c"]) == "c"
    assert first.claim(["c"]) == "c"
    elsewhere = ResultStore(tmp_path / "r.sqlite")
    elsewhere.owner = f"another-host:{int(dead.stdout)}:x"
    assert elsewhere.claim(["d"]) == "d"
    assert first.claim(["d"]) is None


def renewed(path: Path) -> float:
    db = sqlite3.connect(path)
    (when,) = db.execute("SELECT renewed FROM claims").fetchone()
    db.close()
    return when


def test_claims_are_renewed_and_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("art_snn.evaluation.store._RENEW_S", 0.05)
    store, other = ResultStore(tmp_path / "r.sqlite"), ResultStore(tmp_path / "r.sqlite")

    def fail_while_renewing() -> None:
        with store.renewing():
            store.claim(["a"])
            before = renewed(store.path)
            time.sleep(0.3)
            assert renewed(store.path) > before
            assert other.claim(["a"]) is None
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_while_renewing()
    assert other.claim(["a"]) == "a"


def test_bad_results_files_are_named(tmp_path):
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(ResultsError, match=r"text.sqlite is no results file, or damaged"):
        ResultStore(tmp_path / "text.sqlite")
    with sqlite3.connect(tmp_path / "other.sqlite") as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(ResultsError, match="has schema 7, and this art_snn reads schema 1; name another file"):
        ResultStore(tmp_path / "other.sqlite")
    with pytest.raises(ResultsError, match="is a folder"):
        ResultStore(tmp_path)
    with sqlite3.connect(tmp_path / "foreign.sqlite") as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(ResultsError, match="has schema 0"):
        ResultStore(tmp_path / "foreign.sqlite")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        ResultStore(tmp_path / "text.sqlite" / "results.sqlite")
    with pytest.raises(ResultsError, match=r"text.sqlite is no results file, or damaged"):
        read_rows(tmp_path / "text.sqlite")
    with pytest.raises(ResultsError, match="has schema 0"):
        read_rows(tmp_path / "foreign.sqlite")
    with pytest.raises(OSError, match="unable to open"):
        read_rows(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()


def test_rows_are_read_where_nothing_can_be_written(tmp_path):
    store = ResultStore(tmp_path / "odd name?#%.sqlite")
    store.finish("a", {"n": 1})
    store.path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        assert read_rows(store.path) == [{"n": 1}]
    finally:
        tmp_path.chmod(0o700)
