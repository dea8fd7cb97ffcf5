"""Grids of experiments: rows, plans, kills, several processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest

from art_snn.data import load_digits
from art_snn.evaluation import cells as cells_module
from art_snn.evaluation import evaluate_rules, grid, tune_gamma
from art_snn.evaluation.cells import CLIP_ONLY, Cell, run_cell
from art_snn.evaluation.grid import GridPlan, choose_samples, make_cells, run_grid
from art_snn.evaluation.legacy import make_pgd, through
from art_snn.evaluation.metrics import attack_success_rate
from art_snn.evaluation.store import ResultStore, read_rows
from art_snn.rules import HART
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_trained, train
from tests.evaluation.plans import plan

VARYING = ("seconds", "attack_seconds")


def fixed(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in VARYING} for row in rows]


def test_rows_are_what_the_attacks_do(runs, tmp_path):
    cells = make_cells(plan(runs), tmp_path)
    rows = run_grid(cells, tmp_path / "results.sqlite")
    assert [(row["setting"], row["attack"], row["rule"]) for row in rows] == [
        (setting, attack, rule)
        for setting in ("white-box", "black-box")
        for attack in ("fgsm", "pgd")
        for rule in ("hart", "bptr")
    ]
    samples = choose_samples(load_digits(), 30, 20)
    target, source = (load_trained(read_checkpoint(run), device_type="cpu")[1] for run in runs)
    for row in rows:
        assert row["n"] == 30
        assert 0 <= row["attack_success_rate_low"] <= row["attack_success_rate"] <= row["attack_success_rate_high"] <= 1
        if row["rule"] == "hart":
            assert row["gamma_chosen"] == "tuned on a split of its own"
            origin = target if row["setting"] == "white-box" else source
            curve = tune_gamma(
                origin, row["attack"], samples["x_tune"], samples["y_tune"], eps=0.1, target=target, batch_size=128
            )
            assert row["gamma"] == curve.best
            assert row["gamma_curve"] == [list(point) for point in curve.points()]
        if row["setting"] == "white-box":
            rule = "bptr" if row["rule"] == "bptr" else HART(gamma=row["gamma"])
            (expected,) = evaluate_rules(
                target, samples["x"], samples["y"], rules=[rule], attacks=[row["attack"]], eps=0.1
            )
            assert row["clean_accuracy"] == expected.clean_accuracy.value
            assert row["attack_success_rate_hits"] == expected.attack_success_rate.hits
            assert row["robust_accuracy"] == expected.robust_accuracy.value
            assert row["zero_gradients"] == expected.zero_gradients


def test_finished_rows_are_not_computed_again(runs, tmp_path, monkeypatch):
    cells = make_cells(plan(runs, rules=("bptr",)), tmp_path)
    first = run_grid(cells, tmp_path / "results.sqlite")
    monkeypatch.setattr("art_snn.evaluation.grid.run_cell", lambda *_, **__: pytest.fail("computed again"))
    assert run_grid(cells, tmp_path / "results.sqlite") == first
    again = make_cells(plan(runs, rules=("bptr",)), tmp_path)
    assert [cell.key for cell in again] == [cell.key for cell in cells]
    other = make_cells(plan(runs, rules=("bptr",), samples=31), tmp_path)
    assert not {cell.key for cell in other} & {cell.key for cell in cells}


def test_samples_are_stratified_and_apart():
    data = load_digits()
    chosen = choose_samples(data, 100, 50)
    assert np.bincount(chosen["y"]).tolist() == [10] * 10
    attacked = {image.tobytes() for image in chosen["x"]}
    assert not attacked & {image.tobytes() for image in chosen["x_tune"]}
    assert chosen["tuned"] == "tuned on a split of its own"
    whole = choose_samples(data, 450, 50)
    assert whole["tuned"] == "tuned on training samples"
    training = {image.tobytes() for image in data.x_train}
    assert all(image.tobytes() in training for image in whole["x_tune"])


def test_step_of_pgd_and_name_of_the_data_are_those_of_the_plan(runs, tmp_path):
    def cells(**options) -> list[Cell]:
        return make_cells(plan(runs, rules=("bptr",), **options), tmp_path)

    assert [cell.eps_step for cell in cells(eps=(0.1, 0.2))] == [None, 0.025, None, 0.05] * 2
    assert {cell.dataset for cell in cells()} == {"digits"}
    own = cells(eps_step=0.07)
    assert [cell.eps_step for cell in own] == [None, 0.07] * 2
    assert [a.key == b.key for a, b in zip(own, cells(), strict=True)] == [True, False] * 2
    rows = run_grid(own, tmp_path / "results.sqlite")
    assert [(row["eps_step"], row["max_iter"]) for row in rows] == [(None, None), (0.07, 7)] * 2
    assert set(rows[0]["versions"]) == {"art-snn", "adversarial-robustness-toolbox", "torch", "numpy"}
    samples = choose_samples(load_digits(), 30, 20)
    target = load_trained(read_checkpoint(runs[0]), device_type="cpu")[1]
    with through(target, "bptr"):
        examples = make_pgd(target, 0.1, 128, 0.07).generate(samples["x"], samples["y"])
    found = attack_success_rate(target.predict(samples["x"]), target.predict(examples), samples["y"])
    assert rows[1]["attack_success_rate_hits"] == found.hits
    renamed = run_grid(cells(eps_step=0.07, dataset="Digits, 8x8"), tmp_path / "results.sqlite")
    assert [row["key"] for row in renamed] == [row["key"] for row in rows]
    assert {row["dataset"] for row in renamed} == {"Digits, 8x8"}


def test_where_all_test_samples_are_attacked_gamma_is_tuned_on_training_samples(runs, tmp_path):
    cells = make_cells(plan(runs, rules=("hart",), attacks=("fgsm",), samples=450), tmp_path)
    assert {cell.gamma_chosen for cell in cells} == {"tuned on training samples"}
    row = run_cell(cells[0])
    assert row["gamma_chosen"] == "tuned on training samples"
    assert row["n"] == 450
    assert 0 < row["n_tune"] <= 20


def test_policies_of_gamma_are_in_the_rows(runs, tmp_path):
    for options, chosen, tuned_on in (
        ({"gamma": 0.7}, "given", 0),
        ({"tune_on_test": True}, "tuned on the evaluation set", 30),
    ):
        cells = make_cells(plan(runs, rules=("hart",), attacks=("fgsm",), **options), tmp_path)
        row = run_grid(cells, tmp_path / "results.sqlite")[0]
        assert row["gamma_chosen"] == chosen
        if tuned_on:
            assert row["gamma_curve"][0][2] <= tuned_on
            assert row["gamma_curve"][0][2] == row["attack_success_rate_n"]
        else:
            assert row["gamma"] == 0.7
            assert row["gamma_curve"] is None


# --- processes -------------------------------------------------------------------------------------------------------

_SCRIPT = """
import sys
from collections.abc import Iterator
from pathlib import Path
from art_snn.evaluation import grid
from art_snn.evaluation.grid import GridPlan, make_cells, run_grid

target, source, folder = map(Path, sys.argv[1:4])
plan = GridPlan(targets=[target], sources=[source], rules=("hart", "bptr", "stbp"), eps=(0.1, 0.2), samples=30,
                tuning_samples=20, gamma=1.0)
inner, computed = grid.run_cell, []

def counted(cell, **options):
    computed.append(cell)
    return inner(cell, **options)

grid.run_cell = counted
print("ready", flush=True)
sys.stdin.readline()
run_grid(make_cells(plan, folder), folder / "results.sqlite")
print(len(computed))
"""


def start(tmp_path: Path, runs: tuple[Path, Path], folder: Path) -> subprocess.Popen:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, runs), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def whole_plan(runs: tuple[Path, Path]) -> GridPlan:
    return plan(runs, rules=("hart", "bptr", "stbp"), eps=(0.1, 0.2), gamma=1.0)


@pytest.mark.slow
def test_killed_grid_goes_on_without_losing_or_doubling_a_row(runs, tmp_path):
    expected = run_grid(make_cells(whole_plan(runs), tmp_path), tmp_path / "expected.sqlite")
    folder = tmp_path / "killed"
    kept = []
    for rows in (3, 9):
        process = start(tmp_path, runs, folder)
        go(process)
        file = folder / "results.sqlite"
        while not file.exists() or len(ResultStore(file).rows()) < rows:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept.append(len(ResultStore(file).rows()))
    assert 3 <= kept[0] < kept[1] < len(expected)
    process = start(tmp_path, runs, folder)
    out, _ = process.communicate("\n")
    assert int(out) == len(expected) - kept[1]  # at once, although the dead processes' claims are there
    with sqlite3.connect(folder / "results.sqlite") as db:
        assert db.execute("SELECT COUNT(*), COUNT(DISTINCT key) FROM results").fetchone() == (len(expected),) * 2
        assert db.execute("SELECT COUNT(*) FROM claims").fetchone() == (0,)
    db.close()
    rows = run_grid(make_cells(whole_plan(runs), folder), folder / "results.sqlite")
    assert fixed(rows) == fixed(expected)


@pytest.mark.slow
def test_two_processes_share_a_grid(runs, tmp_path):
    expected = run_grid(make_cells(whole_plan(runs), tmp_path), tmp_path / "expected.sqlite")
    folder = tmp_path / "shared"
    processes = [start(tmp_path, runs, folder) for _ in range(2)]
    for process in processes:
        go(process)
    computed = [int(process.communicate()[0]) for process in processes]
    assert sum(computed) == len(expected)
    assert min(computed) >= 1
    rows = run_grid(make_cells(whole_plan(runs), folder), folder / "results.sqlite")
    assert fixed(rows) == fixed(expected)


@pytest.fixture
def environment() -> Iterator[None]:
    """Put the environment back: a Dask cluster leaves OMP_NUM_THREADS=1 there, for all processes that come later."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_two_workers_give_the_rows_of_one(runs, tmp_path, backend):
    cells = make_cells(plan(runs, gamma=1.0), tmp_path)
    expected = run_grid(cells, tmp_path / "expected.sqlite")
    if backend == "loky":
        rows = run_grid(cells, tmp_path / "results.sqlite", n_jobs=2)
    else:
        distributed = pytest.importorskip("distributed", reason="dask is not installed (extra 'cluster')")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
            joblib.parallel_config(backend="dask"),
        ):
            rows = run_grid(cells, tmp_path / "results.sqlite", n_jobs=2)
            assert len(client.scheduler_info()["workers"]) == 2
    assert fixed(rows) == fixed(expected)


_FORKED = """
import sys
from pathlib import Path
import joblib
from joblib.parallel import get_active_backend
from art_snn.evaluation.grid import GridPlan, make_cells, run_grid

folder = Path(sys.argv[2])
plan = GridPlan(targets=[Path(sys.argv[1])], rules=("rate", "bptr"), attacks=("fgsm",), eps=(0.1, 0.2), samples=30)
cells = make_cells(plan, folder)
with joblib.parallel_config(backend="multiprocessing"):
    assert not get_active_backend()[0].supports_return_generator
    run_grid(cells[:3], folder / "results.sqlite", n_jobs=2)
"""


@pytest.mark.slow
def test_grids_run_in_a_backend_of_joblib_without_generators(runs, tmp_path):
    # A process of its own: forks of one whose OpenMP threads have worked may hang.
    command = [sys.executable, "-c", _FORKED, str(runs[0]), str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    options = {"rules": ("rate", "bptr"), "attacks": ("fgsm",), "eps": (0.1, 0.2), "samples": 30}
    cells = make_cells(GridPlan(targets=[runs[0]], **options), tmp_path)[:3]
    found = {row["key"]: row for row in read_rows(tmp_path / "results.sqlite")}
    expected = run_grid(cells, tmp_path / "expected.sqlite")
    assert fixed([found[cell.key] for cell in cells]) == fixed(expected)


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_backends_without_generators_run_as_many_cells_at_a_time_as_there_are_workers(
    runs, tmp_path, monkeypatch, n_jobs
):
    cells = make_cells(plan(runs, gamma=1.0, rules=("rate",)), tmp_path)
    expected = run_grid(cells, tmp_path / "expected.sqlite")
    held = []
    parallel = joblib.Parallel

    def counted(**options: object) -> object:
        assert "return_as" not in options
        workers = parallel(**options)
        return lambda tasks: held.append(len(tasks)) or workers(tasks)

    monkeypatch.setattr(grid, "get_active_backend", lambda: (SimpleNamespace(supports_return_generator=False), None))
    monkeypatch.setattr(grid, "Parallel", counted)
    rows = run_grid(cells, tmp_path / "results.sqlite", n_jobs=n_jobs)
    assert fixed(rows) == fixed(expected)
    assert held == [n_jobs] * (len(cells) // n_jobs)


@pytest.mark.slow
def test_threads_do_not_disturb_one_another(tmp_path):
    recipe = Recipe(defence="none", epochs=10, time_steps=4)
    train(recipe, load_digits(), tmp_path / "run", device_type="cpu")
    rules = ("cba", "hart", "bptr", "stbp")
    cells = make_cells(
        GridPlan(targets=[tmp_path / "run"], rules=rules, eps=(0.1, 0.2), samples=100, tuning_samples=20, gamma=1.0),
        tmp_path,
    )
    expected = run_grid(cells, tmp_path / "expected.sqlite")
    assert len({row["attack_success_rate"] for row in expected}) > 4  # else a mix-up would not show
    with joblib.parallel_config(backend="threading"):
        rows = run_grid(cells, tmp_path / "results.sqlite", n_jobs=4)
    assert fixed(rows) == fixed(expected)


# --- cells and plans -------------------------------------------------------------------------------------------------


def test_event_grids_report_what_clipping_alone_does(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    from tests.data.archives import make_npz

    recipe = Recipe(
        data=str(make_npz(tmp_path / "events.npz")), defence="none", epochs=1, time_steps=2, image_size=16, width=1
    )
    from art_snn.training.run import load_data

    data = load_data(recipe)
    classifier, _ = train(recipe, data, tmp_path / "run", device_type="cpu")
    assert classifier.clip_values[1] == data.x_train.max()
    events = GridPlan(targets=[tmp_path / "run"], rules=("bptr",), attacks=("fgsm",), samples=4, tuning_samples=4)
    rows = run_grid(make_cells(events, tmp_path), tmp_path / "results.sqlite")
    assert [(row["attack"], row["eps"]) for row in rows] == [(CLIP_ONLY, 0.0), ("fgsm", 8 / 255)]
    clipped = classifier.predict(np.clip(data.x_test, 0, 1)).argmax(1)
    assert rows[0]["robust_accuracy_hits"] == (clipped == data.y_test).sum()
    assert rows[0]["architecture"] == "vgg_dvs"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": ("magic",)}, "magic"),
        ({"attacks": ("cw",)}, "unknown attack 'cw'"),
        ({"eps": (0.0,)}, "eps must be finite numbers > 0, got 0.0"),
        ({"samples": 0}, "samples"),
        ({"gamma": -1.0}, "gamma"),
    ],
)
def test_bad_plans_are_refused(runs, options, message):
    with pytest.raises(ValueError, match=message):
        plan(runs, **options)
    with pytest.raises(ValueError, match="targets is empty"):
        GridPlan(targets=[], rules=("hart",))
    with pytest.raises(ValueError, match=r"sources must be one a target \(1\), got 2"):
        GridPlan(targets=[runs[0]], sources=list(runs), rules=("hart",))
    assert cells_module.WHITE == "white-box"
