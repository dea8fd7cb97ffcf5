"""Grids of experiments: rows, plans, kills, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest

from art_snn.attacks import FGSM, PGD
from art_snn.data import load_digits
from art_snn.evaluation import (
    GridPlan,
    GridRow,
    ResultStore,
    evaluate_rules,
    make_cells,
    read_rows,
    run_grid,
    tune,
)
from art_snn.evaluation.plan import choose_samples
from art_snn.rules import HART
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_data, load_trained, train
from tests.evaluation.plans import plan

TWO_SIZES = (FGSM(eps=0.1), PGD(eps=0.1), FGSM(eps=0.2), PGD(eps=0.2))
GIVEN = {"rules": (HART(), "bptr", "stbp"), "tune": {}}


def fixed(rows: Sequence[GridRow]) -> list[GridRow]:
    return [replace(row, seconds=0.0) for row in rows]


def test_rows_are_what_the_attacks_do(runs, tmp_path):
    cells = make_cells(plan(runs), tmp_path)
    rows = run_grid(cells, tmp_path / "results")
    assert [(row.setting, row.attack, row.rule) for row in rows] == [
        (setting, attack, rule)
        for setting in ("white-box", "black-box")
        for attack in ("fgsm", "pgd")
        for rule in ("hart", "bptr")
    ]
    samples = choose_samples(load_digits(), 30, 20)
    target, source = (load_trained(read_checkpoint(run), device_type="cpu")[1] for run in runs)
    attacks = {attack.name: attack for attack in plan(runs).attacks}
    for row in rows:
        assert row.clean_accuracy.total == 30
        assert 0 <= row.attack_success_rate.low <= row.attack_success_rate.value <= row.attack_success_rate.high <= 1
        attack = attacks[row.attack]
        if row.rule == "hart":
            assert row.gamma_chosen == "tuned on a split of its own"
            assert row.parameter == "gamma"
            origin = target if row.setting == "white-box" else source
            curve = tune("hart", "gamma", origin, attack, samples["x_tune"], samples["y_tune"], target=target)
            assert row.gamma == curve.best
            assert row.gamma_curve == curve.points()
            assert row.n_tune == curve.success[0].total
        if row.setting == "white-box":
            rule = "bptr" if row.rule == "bptr" else HART(gamma=row.gamma)
            (expected,) = evaluate_rules(target, samples["x"], samples["y"], rules=[rule], attacks=[attack])
            assert row.rule_repr == expected.rule_repr
            assert row.clean_accuracy == expected.clean_accuracy
            assert row.attack_success_rate == expected.attack_success_rate
            assert row.robust_accuracy == expected.robust_accuracy
            assert row.zero_gradients == expected.zero_gradients


def test_finished_rows_are_not_computed_again(runs, tmp_path, monkeypatch):
    cells = make_cells(plan(runs, rules=("bptr",)), tmp_path)
    first = run_grid(cells, tmp_path / "results")
    monkeypatch.setattr("art_snn.evaluation.grid.run_cell", lambda *_, **__: pytest.fail("computed again"))
    assert run_grid(cells, tmp_path / "results") == first
    again = make_cells(plan(runs, rules=("bptr",)), tmp_path)
    assert [cell.key for cell in again] == [cell.key for cell in cells]
    other = make_cells(plan(runs, rules=("bptr",), samples=31), tmp_path)
    assert not {cell.key for cell in other} & {cell.key for cell in cells}


# --- processes -------------------------------------------------------------------------------------------------------

_SCRIPT = """
import sys
from pathlib import Path
from art_snn import HART
from art_snn.attacks import FGSM, PGD
from art_snn.evaluation import GridPlan, grid, make_cells, run_grid

target, source, folder = map(Path, sys.argv[1:4])
attacks = [attack(eps=eps) for eps in (0.1, 0.2) for attack in (FGSM, PGD)]
plan = GridPlan(targets=[target], sources=[source], rules=(HART(), "bptr", "stbp"), attacks=attacks, samples=30,
                tuning_samples=20, tune={})
inner, computed = grid.run_cell, []

def counted(cell, **options):
    computed.append(cell)
    return inner(cell, **options)

grid.run_cell = counted
print("ready", flush=True)
sys.stdin.readline()
run_grid(make_cells(plan, folder), folder / "results")
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
    return plan(runs, attacks=TWO_SIZES, **GIVEN)


@pytest.mark.slow
def test_killed_grid_goes_on_without_losing_or_doubling_a_row(runs, tmp_path):
    expected = run_grid(make_cells(whole_plan(runs), tmp_path), tmp_path / "expected")
    folder = tmp_path / "killed"
    kept = []
    for rows in (3, 9):
        process = start(tmp_path, runs, folder)
        go(process)
        results = folder / "results"
        while not results.exists() or len(read_rows(results)) < rows:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept.append(len(read_rows(results)))
    assert 3 <= kept[0] < kept[1] < len(expected)
    process = start(tmp_path, runs, folder)
    out, _ = process.communicate("\n")
    assert int(out) == len(expected) - kept[1]  # at once, although the dead processes had locks
    landed = read_rows(folder / "results")
    assert (len(landed), len({row.key for row in landed})) == (len(expected),) * 2
    assert not list((folder / "results" / ".locks").iterdir())
    rows = run_grid(make_cells(whole_plan(runs), folder), folder / "results")
    assert fixed(rows) == fixed(expected)


@pytest.mark.slow
def test_two_processes_share_a_grid(runs, tmp_path):
    expected = run_grid(make_cells(whole_plan(runs), tmp_path), tmp_path / "expected")
    folder = tmp_path / "shared"
    processes = [start(tmp_path, runs, folder) for _ in range(2)]
    for process in processes:
        go(process)
    computed = [int(process.communicate()[0]) for process in processes]
    assert sum(computed) == len(expected)
    assert min(computed) >= 1
    rows = run_grid(make_cells(whole_plan(runs), folder), folder / "results")
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
    cells = make_cells(plan(runs, **GIVEN), tmp_path)
    expected = run_grid(cells, tmp_path / "expected")
    if backend == "loky":
        rows = run_grid(cells, tmp_path / "results", n_jobs=2)
    else:
        distributed = pytest.importorskip("distributed", reason="dask is not installed (extra 'cluster')")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
            joblib.parallel_config(backend="dask"),
        ):
            rows = run_grid(cells, tmp_path / "results", n_jobs=2)
            assert len(client.scheduler_info()["workers"]) == 2
    assert fixed(rows) == fixed(expected)


_FORKED = """
import sys
from pathlib import Path
import joblib
from joblib.parallel import get_active_backend
from art_snn.attacks import FGSM
from art_snn.evaluation import GridPlan, make_cells, run_grid

folder = Path(sys.argv[2])
attacks = [FGSM(eps=0.1), FGSM(eps=0.2)]
plan = GridPlan(targets=[Path(sys.argv[1])], rules=("rate", "bptr"), attacks=attacks, samples=30)
cells = make_cells(plan, folder)
with joblib.parallel_config(backend="multiprocessing"):
    assert not get_active_backend()[0].supports_return_generator
    run_grid(cells[:3], folder / "results", n_jobs=2)
"""


@pytest.mark.slow
def test_grids_run_in_a_backend_of_joblib_without_generators(runs, tmp_path):
    # A process of its own: forks of one whose OpenMP threads have worked may hang.
    command = [sys.executable, "-c", _FORKED, str(runs[0]), str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    options = {"rules": ("rate", "bptr"), "attacks": [FGSM(eps=0.1), FGSM(eps=0.2)], "samples": 30}
    cells = make_cells(GridPlan(targets=[runs[0]], **options), tmp_path)[:3]
    found = {row.key: row for row in read_rows(tmp_path / "results")}
    expected = run_grid(cells, tmp_path / "expected")
    assert fixed([found[cell.key] for cell in cells]) == fixed(expected)


@pytest.mark.slow
def test_threads_do_not_disturb_one_another(tmp_path):
    recipe = Recipe(defence="none", epochs=10, time_steps=4)
    train(recipe, load_digits(), tmp_path / "run", device_type="cpu")
    rules = ("cba", HART(), "bptr", "stbp")
    threads = GridPlan(
        targets=[tmp_path / "run"], rules=rules, attacks=TWO_SIZES, samples=100, tuning_samples=20, tune={}
    )
    cells = make_cells(threads, tmp_path)
    expected = run_grid(cells, tmp_path / "expected")
    assert len({row.attack_success_rate for row in expected}) > 4  # else a mix-up would not show
    with joblib.parallel_config(backend="threading"):
        rows = run_grid(cells, tmp_path / "results", n_jobs=4)
    assert fixed(rows) == fixed(expected)


def test_event_grids_report_what_clipping_alone_does(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    from tests.data.archives import make_npz

    recipe = Recipe(
        data=str(make_npz(tmp_path / "events.npz")), defence="none", epochs=1, time_steps=2, image_size=16, width=1
    )
    data = load_data(recipe)
    classifier, _ = train(recipe, data, tmp_path / "run", device_type="cpu")
    assert classifier.clip_values[1] == data.x_train.max()
    events = GridPlan(targets=[tmp_path / "run"], rules=("bptr",), attacks=[FGSM()], samples=4, tuning_samples=4)
    rows = run_grid(make_cells(events, tmp_path), tmp_path / "results")
    assert [(row.rule, row.attack, row.eps) for row in rows] == [("", "clip-only", 0.0), ("bptr", "fgsm", 8 / 255)]
    assert [(row.gamma, row.zero_gradients is None) for row in rows] == [(None, True), (None, False)]
    clipped = classifier.predict(np.clip(data.x_test, 0, 1)).argmax(1)
    assert rows[0].robust_accuracy.hits == (clipped == data.y_test).sum()
    assert (rows[0].architecture, rows[0].events) == ("vgg_dvs", True)


def test_locks_are_given_up_after_an_error(runs, tmp_path, monkeypatch):
    cells = make_cells(plan(runs, rules=("bptr",)), tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr("art_snn.evaluation.grid.run_cell", fail)
    with pytest.raises(RuntimeError, match="stop"):
        run_grid(cells, tmp_path / "results")
    assert ResultStore(tmp_path / "results").claim([cells[0].key]) == cells[0].key
