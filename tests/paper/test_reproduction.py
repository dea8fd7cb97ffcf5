"""The steps of the paper's evaluation."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from art_snn.data import Split, load_digits
from art_snn.errors import ResultsError, TrainingError
from art_snn.evaluation import GridSettings, read_rows
from art_snn.paper import Experiment, reproduce, reproduction
from art_snn.paper.retention import read_retention
from art_snn.training import Recipe, checkpoints

SMALL = Recipe(defence="none", epochs=1, time_steps=2)


@pytest.fixture
def few_digits(monkeypatch):
    """Fewer digits; the seeds of those who load them are listed."""
    full, seeds = load_digits(), []
    data = Split(full.x_train[:32], full.y_train[:32], full.x_test[:16], full.y_test[:16])
    monkeypatch.setattr(reproduction, "load_data", lambda recipe, **_: seeds.append(recipe.seed) or data)
    return seeds


def test_networks_that_another_process_trains_come_last(tmp_path, few_digits):
    net, twin = tmp_path / "net", tmp_path / "net-twin"
    net.mkdir()
    is_locked = threading.Event()

    def other() -> bool:
        with checkpoints.locked(net):
            is_locked.set()
            while not (twin.is_dir() and checkpoints.newest(twin)):
                time.sleep(0.01)
            return checkpoints.newest(net) is None

    with ThreadPoolExecutor(1) as threads:
        nothing_yet = threads.submit(other)
        is_locked.wait()
        reproduction.train_all([Experiment(name="net", recipe=SMALL)], tmp_path)
    assert nothing_yet.result()
    assert few_digits == [1, 0]
    assert checkpoints.read_checkpoint(net).epoch == 1


def test_networks_are_tried_before_anything_is_written(tmp_path, few_digits):
    wrong = Experiment(name="net", recipe=Recipe(architecture="vgg_dvs", time_steps=2))
    with pytest.raises(TrainingError, match="digits: vgg_dvs"):
        reproduce([wrong], tmp_path / "out")
    assert few_digits == [0]
    assert not list(tmp_path.iterdir())


def test_results_of_an_older_version_are_refused_before_anything_is_written(tmp_path, few_digits):
    (tmp_path / "results.sqlite").touch()
    with pytest.raises(ResultsError, match="into another folder"):
        reproduce([Experiment(name="net", recipe=SMALL)], tmp_path)
    assert not few_digits
    assert [file.name for file in tmp_path.iterdir()] == ["results.sqlite"]


def test_reproduction_goes_from_training_to_figures(tmp_path, monkeypatch):
    seen, records = [], reproduction.retention_records

    def spy(run, x, **options):
        seen.append(x)
        return records(run, x, **options)

    monkeypatch.setattr(reproduction, "retention_records", spy)
    monkeypatch.setattr(reproduction, "RULES", ("rga", "hart"))
    experiment = Experiment(name="net", recipe=SMALL, eps=(8 / 255,))
    steps = []
    settings = GridSettings(samples=100, tuning_samples=10)
    rows = reproduce(
        [experiment], tmp_path, settings=settings, dataset="the digits", device_type="cpu", say=steps.append
    )
    assert len(rows) == 2 * 2 * 2
    assert [step for step in steps if step[0].isdigit()] == [
        "0. trying the data and the networks",
        f"1. 2 networks in {tmp_path / 'runs'}",
        f"2. attacks, rows in {tmp_path / 'results'}",
        "3. temporal retention",
        "4. tables and figures",
    ]
    # A name for tables changes them, and not what is measured.
    assert {row.dataset for row in read_rows(tmp_path / "results")} == {"digits"}
    assert {record.dataset for record in read_retention(tmp_path)} == {"digits"}
    assert set(pd.read_csv(tmp_path / "rows.csv")["dataset"]) == {"the digits"}
    assert "| the digits |" in (tmp_path / "table2.md").read_text()
    # Temporal retention is of all classes, although the samples may lie class by class.
    data = load_digits()
    labels = [int(data.y_test[np.flatnonzero((data.x_test == x).all((1, 2, 3)))[0]]) for x in seen[0]]
    assert set(np.bincount(labels, minlength=10)) <= {6, 7}
