"""Grids of experiments: rows, kills, several processes, bad files."""

from __future__ import annotations

import json
import os
import shutil
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
from art_snn.data.split import Split
from art_snn.errors import CheckpointError, DataError, ResultsError
from art_snn.evaluation import cells as cells_module
from art_snn.evaluation import evaluate_rules, grid, tune_gamma
from art_snn.evaluation.cells import CLIP_ONLY, Cell, run_cell
from art_snn.evaluation.grid import GridPlan, choose_samples, make_cells, run_grid
from art_snn.evaluation.metrics import attack_success_rate
from art_snn.evaluation.outcomes import make_pgd, through
from art_snn.evaluation.store import ResultStore, read_rows
from art_snn.rules import HART
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import RobustRecipe
from art_snn.training.run import load_trained, train_robustly

VARYING = ("seconds", "attack_seconds")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """Two small networks on digits, from two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    data = load_digits()
    part = Split(data.x_train[:400], data.y_train[:400], data.x_test[:100], data.y_test[:100])
    found = []
    for seed in (0, 1):
        recipe = RobustRecipe(defence="none", epochs=2, time_steps=2, seed=seed)
        train_robustly(recipe, part, folder / str(seed), device_type="cpu")
        found.append(folder / str(seed))
    return found[0], found[1]


def plan(runs: tuple[Path, Path], **options) -> GridPlan:
    defaults = {"rules": ("hart", "bptr"), "eps": (0.1,), "samples": 30, "tuning_samples": 20}
    return GridPlan(targets=[runs[0]], sources=[runs[1]], **{**defaults, **options})


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
    recipe = RobustRecipe(defence="none", epochs=10, time_steps=4)
    train_robustly(recipe, load_digits(), tmp_path / "run", device_type="cpu")
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


# --- the store -------------------------------------------------------------------------------------------------------


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


# --- cells and plans -------------------------------------------------------------------------------------------------


def test_changed_and_unfit_checkpoints_are_refused(runs, tmp_path):
    (cell, *_) = make_cells(plan(runs), tmp_path)
    changed = type(cell)(**{**vars(cell), "target_sha256": "0" * 64, "source_sha256": "0" * 64})
    with pytest.raises(ValueError, match="has changed: its weights are"):
        run_cell(changed)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        make_cells(plan((tmp_path / "nothing", runs[1])), tmp_path)
    other = tmp_path / "small"
    data = load_digits()
    small = Split(*(a[:32, :, :, :8] if a.ndim == 4 else a[:32] for a in data))
    wide = Split(*(np.repeat(a, 3, 1) if a.ndim == 4 else a for a in small))
    recipe = RobustRecipe(
        defence="none", epochs=1, time_steps=1, architecture="vgg_small", width=1, data="digits", image_size=8
    )
    train_robustly(recipe, wide, other, device_type="cpu")
    with pytest.raises(CheckpointError, match=r"takes inputs \[3, 8, 8\], and .* takes inputs \[1, 8, 8\]"):
        make_cells(plan((runs[0], other)), tmp_path)
    few = Split(*(a[part] for a, part in zip(data, [data.y_train < 4] * 2 + [data.y_test < 4] * 2, strict=True)))
    train_robustly(RobustRecipe(defence="none", epochs=1, time_steps=2), few, tmp_path / "few", device_type="cpu")
    with pytest.raises(CheckpointError, match=r"few has 4 classes, and .* has 10 classes"):
        make_cells(plan((runs[0], tmp_path / "few")), tmp_path)
    later = next(runs[0].glob("epoch-*")).name
    shutil.copytree(runs[0], tmp_path / "later")
    meta = tmp_path / "later" / later / "checkpoint.json"
    found = json.loads(meta.read_text())
    found["recipe"]["warp"] = 9
    meta.write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match=r"does not fit this art_snn: .*warp"):
        make_cells(plan((tmp_path / "later", runs[1])), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and no more", "other", "short", "version"])
def test_damaged_samples_are_named(runs, tmp_path, content):
    (cell, *_) = make_cells(plan(runs), tmp_path)
    file = Path(cell.samples)
    if content == "other":
        np.savez(file, mine=np.zeros(3))
    elif content == "version":  # of the ZIP format, which is none that there is
        whole = bytearray(file.read_bytes())
        whole[whole.index(b"PK\x01\x02") + 6] = 78
        file.write_bytes(whole)
    else:
        file.write_bytes(file.read_bytes()[:-500] if content == "short" else content)
    with pytest.raises(DataError, match=r"samples-\w+.npz is damaged: .*; delete it, and it is made again") as error:
        make_cells(plan(runs), tmp_path)
    assert "\n" not in str(error.value)
    file.unlink()
    make_cells(plan(runs, samples=40), tmp_path)[0]
    other = make_cells(plan(runs, samples=40), tmp_path)[0].samples
    Path(other).rename(file)
    with pytest.raises(DataError, match="has changed: its samples are"):
        run_cell(cell)


def test_zero_gradients_are_looked_for_in_all_classes(runs, tmp_path, monkeypatch):
    (cell, *_) = make_cells(plan(runs), tmp_path)
    with np.load(cell.samples) as archive:
        arrays = dict(archive)
    order = np.argsort(arrays["y"], kind="stable")  # class by class, as folders of images come
    arrays |= {"x": arrays["x"][order], "y": arrays["y"][order]}
    file = tmp_path / "sorted.npz"
    np.savez(file, **arrays)
    seen = []

    def zeros(_: object, x: np.ndarray, y: np.ndarray, __: int) -> float:
        seen.append(y)
        return 0.25

    monkeypatch.setattr(cells_module, "ZERO_GRADIENT_SAMPLES", 10)
    monkeypatch.setattr(cells_module, "zero_gradients", zeros)
    cell = type(cell)(**{**vars(cell), "samples": str(file), "samples_sha256": cells_module.read_samples(file)[1]})
    assert run_cell(cell)["zero_gradients"] == 0.25
    assert np.bincount(seen[0], minlength=10).max() <= 2
    assert len(np.unique(seen[0])) >= 9


def test_stopped_trainings_are_refused_and_rows_say_how_long_they_were(runs, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(runs[0] / "epoch-0001", stopped / "epoch-0001")
    for pair in ((stopped, runs[1]), (runs[1], stopped)):
        with pytest.raises(CheckpointError, match=r"epoch-0001 is trained for 1 of 2 epochs; go on with it first$"):
            make_cells(plan(pair), tmp_path / "samples")
    assert not (tmp_path / "samples").exists()
    (cell, *_) = make_cells(plan(runs, rules=("rate",), attacks=("fgsm",)), tmp_path)
    digest = cells_module.weights_digest(read_checkpoint(stopped))
    own = {"target": str(stopped), "source": str(stopped), "target_sha256": digest, "source_sha256": digest}
    assert run_cell(cell)["epochs"] == 2
    assert run_cell(type(cell)(**{**vars(cell), **own}))["epochs"] == 1


def test_event_grids_report_what_clipping_alone_does(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    from tests.test_data import make_npz

    recipe = RobustRecipe(
        data=str(make_npz(tmp_path / "events.npz")), defence="none", epochs=1, time_steps=2, image_size=16, width=1
    )
    from art_snn.training.run import load_data

    data = load_data(recipe)
    classifier, _ = train_robustly(recipe, data, tmp_path / "run", device_type="cpu")
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
