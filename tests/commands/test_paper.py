"""``art-snn paper``; its bad input is in `test_results`."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from art_snn.__main__ import main
from art_snn.commands import paper as paper_command
from art_snn.data import load_digits
from art_snn.evaluation import ResultStore
from art_snn.evaluation.cells import Weights
from art_snn.evaluation.samples import Samples
from art_snn.paper.experiments import Experiment, experiments
from art_snn.training.recipe import Recipe


def test_killed_worker_is_one_line(monkeypatch, tmp_path, capsys):
    def killed(*_: object, **__: object) -> None:
        raise TerminatedWorkerError("a worker\nwas killed\nby a signal")

    monkeypatch.setattr(paper_command, "train_all", killed)
    words = ["paper", "--data", "digits", "--out", str(tmp_path), "--jobs", "2", "--quiet", "--device", "cpu"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "use fewer --jobs, and the same command goes on" in error
    assert error.count("\n") == 1


def test_paper_gives_names_to_images_and_recordings(tmp_path, monkeypatch):
    class StopError(ValueError):
        pass

    def plans(*_: object, **names: object) -> None:
        raise StopError(f"{names['dataset']}, {names['events_dataset']}")

    monkeypatch.setattr(paper_command, "plans", plans)
    monkeypatch.setattr(paper_command, "train_all", lambda *_, **__: None)
    monkeypatch.setattr(paper_command, "load_data", lambda *_, **__: load_digits())
    words = ["paper", "--data", "digits", "--out", str(tmp_path), "--dataset", "the digits"]
    with pytest.raises(StopError, match="the digits, CIFAR10-DVS"):
        main([*words, "--events-name", "CIFAR10-DVS"])


def test_paper_tries_networks_before_it_writes(tmp_path, monkeypatch, capsys):
    wrong = Experiment(name="one", recipe=Recipe(architecture="vgg_dvs", time_steps=2))
    monkeypatch.setattr(paper_command, "experiments", lambda *_, **__: [wrong])
    assert main(["paper", "--data", "digits", "--out", str(tmp_path / "out"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "--size small of digits: vgg_dvs" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_retention_is_of_all_classes(tmp_path, monkeypatch):
    y = np.repeat(np.arange(10), 20)  # class by class, as folders of images come
    np.savez(tmp_path / "samples.npz", x=y.astype(np.float32), y=y)
    seen = []

    def records(_: object, x: np.ndarray, **__: object) -> list[dict]:
        seen.append(x)
        return []

    monkeypatch.setattr(paper_command, "retention_records", records)
    chosen = experiments("small", images="digits")[:1]
    folder = str(tmp_path / chosen[0].name / "epoch-0001")
    files = {"target": Weights(folder, ""), "samples": Samples(str(tmp_path / "samples.npz"), "")}
    options = argparse.Namespace(out=tmp_path, events_name="", dataset="", device="cpu")
    paper_command._retention(chosen, tmp_path, [argparse.Namespace(**files)], options)
    assert set(np.bincount(seen[0].astype(int), minlength=10)) == {6, 7}


@pytest.mark.slow
def test_paper_runs_from_training_to_figures_and_goes_on(tmp_path, capsys):
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
    rows = ResultStore(out / "results").rows()
    assert len(rows) == 3 * 6 * 2 * 3 * 2
    assert {one.dataset for one in rows} == {"the digits"}
    assert len(pd.read_csv(out / "rows.csv")) == len(rows)
    assert {one.seed for one in rows} == {0}
    assert len({one.source_sha256 for one in rows}) == 6
    before = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")}
    assert main(words) == 0
    assert {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*")} == before
    assert ResultStore(out / "results").rows() == rows
    capsys.readouterr()
    assert main(["table", "5", "--results", str(out / "results"), "--out", str(tmp_path / "more")]) == 0
    assert "Sizes of the perturbation" in capsys.readouterr().out
    for name in ("gamma", "retention", "epsilon"):
        assert main(["figure", name, "--results", str(out / "results"), "--out", str(tmp_path / "more")]) == 0
    assert len(list((tmp_path / "more").iterdir())) == 9
    assert main([*words, "--seed", "5"]) == 2
    assert "holds another training (seed is 0 there and 5 here)" in capsys.readouterr().err
