"""``art-snn paper``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from PIL import Image

from art_snn.__main__ import main
from art_snn.evaluation import read_rows
from art_snn.paper import reproduction
from tests.commands.lines import one_line_error


def test_killed_worker_is_one_line(monkeypatch, tmp_path, capsys):
    def killed(*_: object, **__: object) -> None:
        raise TerminatedWorkerError("a worker\nwas killed\nby a signal")

    monkeypatch.setattr(reproduction, "train_all", killed)
    words = ["paper", "--data", "digits", "--out", str(tmp_path), "--jobs", "2", "--quiet", "--device", "cpu"]
    assert "use fewer --jobs, and the same command resumes" in one_line_error(words, capsys)


@pytest.mark.slow
def test_paper_runs_from_training_to_figures_and_resumes(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["paper", "--data", "digits", "--out", str(out), "--epochs", "1", "--samples", "20", "--device", "cpu"]
    words += ["--tuning-samples", "10", "--quiet", "--dataset", "the digits"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "0. trying the data and the networks" in said
    assert "1. 6 networks" in said
    names = {file.name for file in out.iterdir()}
    assert {f"table{n}.{end}" for n in range(1, 6) for end in ("md", "tex", "csv")} <= names
    assert {f"{name}.{end}" for name in ("gamma", "epsilon", "retention") for end in ("png", "svg")} <= names
    rows = read_rows(out / "results")
    assert len(rows) == 3 * 6 * 2 * 3 * 2
    assert {row.dataset for row in rows} == {"digits"}
    frame = pd.read_csv(out / "rows.csv")
    assert len(frame) == len(rows)
    assert set(frame["dataset"]) == {"the digits"}
    assert {row.seed for row in rows} == {0}
    assert len({row.source_sha256 for row in rows}) == 6
    before = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")}
    assert main(words) == 0
    assert {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")} == before
    assert read_rows(out / "results") == rows
    capsys.readouterr()
    assert main(["table", "5", "--results", str(out), "--out", str(tmp_path / "more")]) == 0
    assert "Sizes of the perturbation" in capsys.readouterr().out
    for name in ("gamma", "retention", "epsilon"):
        assert main(["figure", name, "--results", str(out), "--out", str(tmp_path / "more")]) == 0
    assert len(list((tmp_path / "more").iterdir())) == 9
    assert main([*words, "--seed", "5"]) == 2
    assert "holds another training (seed is 0 there and 5 here)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "no/folder"], "'no/folder' is neither"),
        (["--data", "digits", "--size", "tiny"], "argument --size: invalid choice: 'tiny'"),
        ([], "neither images nor events"),
        (["--data", "digits", "--samples", "0"], "samples must be a whole number >= 1, got 0"),
        (["--data", "digits", "--tuning-samples", "0"], "tuning_samples must be a whole number >= 1, got 0"),
        (["--data", "digits", "--jobs", "0"], "argument --jobs: must be >= 1, or -1, got 0"),
        (["--data", "digits", "--epochs", "-1"], "epochs must be a whole number >= 1, got -1"),
        (["--data", "digits", "--precision", "int8"], "argument --precision: invalid choice: 'int8'"),
        (["--data", "digits", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["--data", "digits", "--lr", "abc"], "argument --lr: 'abc' is not a number"),
        (["--data", "digits", "--lr", "0"], "lr must be a finite number > 0, got 0.0"),
        (["--data", "digits", "--test-share", "0.3"], "--test-share does nothing without --events; leave it out"),
        (["--data", "digits", "--events-name", "X"], "--events-name does nothing without --events; leave it out"),
        (["--events", "events.npz", "--dataset", "X"], "--dataset does nothing without --data; leave it out"),
        (["--events", "events.npz", "--robust"], "--robust does nothing without --data: networks of events have no"),
        (
            ["--data", "digits", "--tune-on-test", "--tuning-samples", "9"],
            "--tuning-samples does nothing with --tune-on-test; leave it out",
        ),
        (
            ["--data", "digits", "--tune-on-test", "--tuning-samples", "256"],
            "--tuning-samples does nothing with --tune-on-test; leave it out",
        ),
        (["--data", "digits", "--test-share", "1"], "test_share must be in (0, 1), got 1.0"),
        (["--data", "digits", "--seed", "4294967295"], "seed must be a whole number in 0 to 4294967294"),
        (["--events", "digits"], "'digits' holds images, not events"),
        (["--data", "events.npz"], "events.npz' holds events, not images"),
        (["--data", "digits", "--out", "events.npz"], "--out 'events.npz' is a file"),
        (["--data", "digits", "--out", "events.npz/o"], "is not a writable folder"),
        (["--data", "digits", "--out", "old"], "those of art-snn 0.1.0 cannot be read"),
        (["--data", "images", "--quiet"], "damaged.png"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("events.npz").write_bytes(b"no archive, but a file")
    Path("old").mkdir()
    Path("old/results.sqlite").touch()
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            Path("images", part, label).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(f"images/{part}/{label}/whole.png")
    Path("images/test/dog/damaged.png").write_bytes(Path("images/test/dog/whole.png").read_bytes()[:40])
    before = {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")}
    assert message in one_line_error(["paper", "--out", "o", *words], capsys)
    assert {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")} == before
