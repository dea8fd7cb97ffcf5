"""Cells of a grid: checkpoints, samples, zero gradients."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from art_snn.attacks import FGSM, PGD
from art_snn.data import load_digits
from art_snn.data.split import Split
from art_snn.errors import CheckpointError, DataError
from art_snn.evaluation import cells as cells_module
from art_snn.evaluation import make_cells, run_cell
from art_snn.evaluation.cells import PinnedFile, read_samples
from art_snn.evaluation.plan import choose_samples
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import Recipe
from art_snn.training.run import train
from tests.evaluation.plans import plan
from tests.labels import CLASSES, any_form, for_each_form, labels_as


def test_changed_and_unfit_checkpoints_are_refused(runs, tmp_path):
    (cell, *_) = make_cells(plan(runs), tmp_path)
    other_weights = PinnedFile(cell.target.path, "0" * 64)
    changed = replace(cell, target=other_weights, source=other_weights)
    with pytest.raises(ValueError, match="has changed: its weights are"):
        run_cell(changed)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        make_cells(plan((tmp_path / "nothing", runs[1])), tmp_path)
    other = tmp_path / "small"
    data = load_digits()
    small = Split(*(a[:32, :, :, :8] if a.ndim == 4 else a[:32] for a in data))
    wide = Split(*(np.repeat(a, 3, 1) if a.ndim == 4 else a for a in small))
    recipe = Recipe(
        defence="none", epochs=1, time_steps=1, architecture="vgg_small", width=1, data="digits", image_size=8
    )
    train(recipe, wide, other, device_type="cpu")
    with pytest.raises(CheckpointError, match=r"takes inputs \(3, 8, 8\), and .* takes inputs \(1, 8, 8\)"):
        make_cells(plan((runs[0], other)), tmp_path)
    few = Split(*(a[part] for a, part in zip(data, [data.y_train < 4] * 2 + [data.y_test < 4] * 2, strict=True)))
    train(Recipe(defence="none", epochs=1, time_steps=2), few, tmp_path / "few", device_type="cpu")
    with pytest.raises(CheckpointError, match=r"few has 4 classes, and .* has 10 classes"):
        make_cells(plan((runs[0], tmp_path / "few")), tmp_path)
    shutil.copytree(runs[0], tmp_path / "later")
    file = tmp_path / "later" / "epoch-0002.pt"
    content = torch.load(file, weights_only=True)
    content["recipe"]["warp"] = 9
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"does not fit this art_snn: .*warp"):
        make_cells(plan((tmp_path / "later", runs[1])), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and no more", "other", "short", "version"])
def test_damaged_samples_are_named(runs, tmp_path, content):
    (cell, *_) = make_cells(plan(runs), tmp_path)
    file = Path(cell.samples.path)
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
    other = make_cells(plan(runs, samples=40), tmp_path)[0].samples.path
    Path(other).rename(file)
    with pytest.raises(DataError, match="has changed: its samples are"):
        run_cell(cell)


def pinned(arrays: dict[str, np.ndarray], file: Path) -> PinnedFile:
    np.savez(file, **arrays)
    return PinnedFile(str(file), read_samples(file)[1])


def test_samples_with_labels_of_every_form_have_the_row_of_indices(runs, tmp_path):
    cell = make_cells(plan(runs, rules=("hart",), attacks=[FGSM(eps=0.1)]), tmp_path)[0]
    with np.load(cell.samples.path) as archive:
        arrays = dict(archive)
    expected = run_cell(cell)
    for i, form in enumerate(form for form in CLASSES if form[1] in ("uint8", "float16", "bool", "int64")):
        labels = {name: labels_as(form, arrays[name], 10) for name in ("y", "y_tune")}
        samples = pinned({**arrays, **labels}, tmp_path / f"{i}.npz")
        for name in labels:
            np.testing.assert_array_equal(read_samples(Path(samples.path))[0][name], arrays[name])
    row = run_cell(replace(cell, samples=samples))
    changed = {"seconds": 0.0, "key": "", "samples_sha256": ""}
    assert replace(row, **changed) == replace(expected, **changed)
    np.savez(tmp_path / "wrong.npz", **{**arrays, "y": arrays["y"] + 0.5})
    with pytest.raises(DataError, match=r"wrong.npz is damaged: .*labels must be classes counted from 0, got"):
        read_samples(tmp_path / "wrong.npz")
    with pytest.raises(ValueError, match=r"labels must be classes in 0 to 9 \(nb_classes=10\), got"):
        run_cell(replace(cell, samples=pinned({**arrays, "y": arrays["y"] + 9}, tmp_path / "large.npz")))


def test_samples_are_chosen_from_data_with_labels_of_every_form(digits):
    expected = choose_samples(digits, 30, 20)

    @for_each_form
    @given(any_form)
    def check(form):
        labels = {name: labels_as(form, getattr(digits, name), 10) for name in ("y_train", "y_test")}
        found = choose_samples(digits._replace(**labels), 30, 20)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)

    check()
    with pytest.raises(DataError, match="y_test has 3 labels for 450 samples"):
        choose_samples(digits._replace(y_test=digits.y_test[:3]), 30, 20)


def test_zero_gradients_are_looked_for_in_all_classes(runs, tmp_path, monkeypatch):
    (cell, *_) = make_cells(plan(runs), tmp_path)
    with np.load(cell.samples.path) as archive:
        arrays = dict(archive)
    order = np.argsort(arrays["y"], kind="stable")  # class by class, as folders of images come
    arrays |= {"x": arrays["x"][order], "y": arrays["y"][order]}
    seen = []

    def zeros(_: object, __: object, x: np.ndarray, y: np.ndarray, **___: object) -> np.ndarray:
        seen.append(y)
        return (np.arange(len(y)) % 5 == 0).astype(float)

    monkeypatch.setattr(cells_module, "ZERO_GRADIENT_SAMPLES", 10)
    monkeypatch.setattr(cells_module, "zero_entries", zeros)
    cell = replace(cell, samples=pinned(arrays, tmp_path / "sorted.npz"))
    assert run_cell(cell).zero_gradients == 0.2
    assert np.bincount(seen[0], minlength=10).max() <= 2
    assert len(np.unique(seen[0])) >= 9


def test_stopped_trainings_are_refused_and_rows_say_how_long_they_were(runs, tmp_path):
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    shutil.copy(runs[0] / "epoch-0001.pt", stopped)
    for pair in ((stopped, runs[1]), (runs[1], stopped)):
        with pytest.raises(
            CheckpointError, match=r"epoch-0001\.pt is trained for 1 of 2 epochs; resume its training first$"
        ):
            make_cells(plan(pair), tmp_path / "samples")
    assert not (tmp_path / "samples").exists()
    (cell, *_) = make_cells(plan(runs, rules=("rate",), attacks=[FGSM(eps=0.1)]), tmp_path)
    weights = PinnedFile(str(stopped), read_checkpoint(stopped).sha256)
    assert run_cell(cell).epochs == 2
    assert run_cell(replace(cell, target=weights, source=weights)).epochs == 1


def test_equal_cells_have_equal_rows_with_random_starts_too(runs, tmp_path):
    attack = PGD(eps=0.2, restarts=1)
    (cell, *_) = make_cells(plan(runs, rules=("rate",), attacks=[attack]), tmp_path)
    rows = []
    for seed in (0, 1):
        np.random.seed(seed)
        rows.append(run_cell(cell).to_json())
        assert np.random.rand() == np.random.RandomState(seed).rand()
    assert {**rows[0], "seconds": 0} == {**rows[1], "seconds": 0}
    assert rows[0]["attack_repr"] == repr(attack)
