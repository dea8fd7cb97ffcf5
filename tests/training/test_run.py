"""Training: resuming, kills, batches, learning rates, divergence."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from art_snn.__main__ import main
from art_snn.data import Split, sources
from art_snn.errors import DataError, TrainingError
from art_snn.training import checkpoints, train
from art_snn.training import run as training
from art_snn.training.losses import DEFENCES, plain
from art_snn.training.recipe import Recipe
from tests.conftest import IMAGES, train_command
from tests.data.archives import write_nmnist
from tests.labels import any_form, for_each_form, labels_as
from tests.training.runs import TINY, same, weights

# --- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"defence": "fbf"},
        {"defence": "madry-pgd"},
        {
            "defence": "none",
            "optimizer": "sgd",
            "lr": 0.05,
            "weight_decay": 5e-4,
            "augmentation": "crop-flip-cutout",
            "mixed_precision": True,
        },
    ],
)
def test_stopped_training_ends_with_the_same_weights(tmp_path, few, options, monkeypatch):
    recipe = Recipe(**{**TINY, **options})
    _, history = train(recipe, few, tmp_path / "whole", device_type="cpu")
    epoch = training._epoch

    def stop_in_the_last(*args):
        if args[3] == 2:
            raise KeyboardInterrupt
        return epoch(*args)

    monkeypatch.setattr(training, "_epoch", stop_in_the_last)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, few, tmp_path / "stopped", device_type="cpu")
    monkeypatch.setattr(training, "_epoch", epoch)
    torch.rand(7)
    np.random.rand(7)
    classifier, again = train(recipe, few, tmp_path / "stopped", device_type="cpu")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert len({checkpoints.read_checkpoint(tmp_path / run).sha256 for run in ("whole", "stopped")}) == 1
    assert [entry["loss"] for entry in again] == [entry["loss"] for entry in history]
    assert not classifier.model.training
    assert [path.name for path in sorted((tmp_path / "stopped").glob("[!.]*"))] == ["epoch-0002.pt", "epoch-0003.pt"]


def test_other_seeds_give_other_weights_and_the_global_generators_are_left_alone(tmp_path, few):
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    for seed in (0, 1):
        train(Recipe(**{**TINY, "epochs": 1, "seed": seed}), few, tmp_path / str(seed), device_type="cpu")
    assert not same(weights(tmp_path / "0"), weights(tmp_path / "1"))
    assert len({checkpoints.read_checkpoint(tmp_path / run).sha256 for run in "01"}) == 2
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])


@pytest.mark.filterwarnings("ignore::art_snn.errors.InputRangeWarning")
def test_run_is_loaded_where_its_recordings_are_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    folder, run = tmp_path / "nmnist", tmp_path / "run"
    write_nmnist(folder)
    recipe = Recipe(data=str(folder), defence="none", epochs=1, time_steps=2, image_size=16, width=1)
    assert (recipe.events, recipe.architecture) == (True, "vgg_dvs")
    classifier, _ = train(recipe, training.load_data(recipe), run, device_type="cpu")
    folder.rename(tmp_path / "elsewhere")
    loaded, again = training.load_trained(checkpoints.read_checkpoint(run), device_type="cpu")
    assert loaded == recipe
    x = np.ones((2, 2, 2, 16, 16), dtype=np.float32)
    np.testing.assert_array_equal(again.predict(x), classifier.predict(x))
    with pytest.raises(DataError, match="does not hold the event recordings that the recipe is for"):
        training.load_data(loaded)


# --- labels ----------------------------------------------------------------------------------------------------------


def relabelled(data: Split, form: tuple[str, str]) -> Split:
    return data._replace(y_train=labels_as(form, data.y_train, 10), y_test=labels_as(form, data.y_test, 10))


def test_labels_of_every_form_are_loaded_as_indices(few, monkeypatch):
    @for_each_form
    @given(any_form)
    def check(form):
        monkeypatch.setattr(sources, "load_digits", lambda: relabelled(few, form))
        loaded = training.load_data(Recipe())
        for found, expected in zip(loaded, few, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert loaded.y_test.dtype == np.int64

    check()
    monkeypatch.setattr(sources, "load_digits", lambda: few._replace(y_train=few.y_train[:5]))
    with pytest.raises(DataError, match=f"y_train has 5 labels for {IMAGES} samples"):
        training.load_data(Recipe())


@pytest.mark.parametrize("form", [("rows", "torch.bool"), ("column", "list"), ("probabilities", "torch.bfloat16")])
def test_labels_of_every_form_are_trained_on_as_indices(few, form):
    recipe = Recipe(**{**TINY, "epochs": 1})
    expected, history = train(recipe, few, None, device_type="cpu")
    classifier, other = train(recipe, relabelled(few, form), None, device_type="cpu")
    assert same(classifier.model.state_dict(), expected.model.state_dict())
    assert {**history[0], "seconds": 0} == {**other[0], "seconds": 0}


@pytest.mark.parametrize("part", ["x_train", "x_test"])
def test_inputs_out_of_their_range_are_refused_before_a_folder_is_made(few, tmp_path, part):
    for x, text in ((255 * few.x_train[:64], "0 to 255"), (few.x_train[:64] * 4 - 2, "-2 to 2")):
        wrong = few._replace(**{part: x, part.replace("x", "y"): few.y_train[:64]})
        with pytest.raises(TrainingError, match=rf"{part} has values from {text}, .* outside the clip values \[0, 1\]"):
            train(Recipe(**TINY), wrong, tmp_path / "run", device_type="cpu")
    assert not (tmp_path / "run").exists()


def test_labels_that_are_none_are_refused_before_a_folder_is_made(few, tmp_path):
    for wrong, message in (
        (few.y_test + 0.5, "labels must be classes counted from 0, got .*5 in y_test"),
        (few.y_test.astype(str), "y_test must be an array, a tensor or a list of real numbers, got dtype <U21"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(Recipe(**TINY), few._replace(y_test=wrong), tmp_path / "run", device_type="cpu")
    assert not (tmp_path / "run").exists()


# --- kills -----------------------------------------------------------------------------------------------------------

_SCRIPT = """
import os, signal, sys
import torch
from art_snn import files
from art_snn.training import checkpoints, run as training
from art_snn.__main__ import main
from art_snn.data import Split, load_digits, sources

torch.set_num_threads({threads})  # sums are the same bit by bit with as many threads only
full = load_digits()
data = Split(full.x_train[:{images}], full.y_train[:{images}], full.x_test[:64], full.y_test[:64])
sources.load_digits = lambda: data
name, when = sys.argv[1], int(sys.argv[2])
calls = 0

def dying(inner):
    def wrapped(*args, **kwargs):
        global calls
        calls += 1
        if calls == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*args, **kwargs)
    return wrapped

if name:
    module = next(module for module in (training, checkpoints, files) if hasattr(module, name))
    setattr(module, name, dying(getattr(module, name)))
sys.exit(main(sys.argv[3:]))
"""


def make_script(tmp_path: Path) -> Path:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT.format(images=IMAGES, threads=torch.get_num_threads()))
    return script


def run_process(tmp_path: Path, place: str, when: int, arguments: list[str]) -> int:
    script = make_script(tmp_path)
    done = subprocess.run(
        [sys.executable, str(script), place, str(when), *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode


# Where a process dies: in an epoch, before a checkpoint is written, while the disk is waited for before and after it is
# renamed, and between a checkpoint and the removal of the old one.
@pytest.mark.parametrize(
    ("place", "when", "left"),
    [
        ("_epoch", 2, 1),
        pytest.param("write_atomic", 2, 1, marks=pytest.mark.slow),
        ("_sync", 3, 1),
        pytest.param("_sync", 4, 2, marks=pytest.mark.slow),
        pytest.param("_sync", 1, 0, marks=pytest.mark.slow),
        ("_files", 4, 3),
    ],
)
def test_killed_training_loses_at_most_an_epoch(tmp_path, few, place, when, left):
    out = tmp_path / "run"
    code = run_process(tmp_path, place, when, train_command(out))
    assert code == -signal.SIGKILL
    newest = checkpoints.newest(out)
    assert (newest is None) == (left == 0)
    if newest is not None:
        assert checkpoints.read_checkpoint(out).epoch == left
    assert main(train_command(out)) == 0
    assert [path.name for path in out.glob(".*")] == [checkpoints.LOCK]
    recipe = Recipe(**TINY)
    train(recipe, few, tmp_path / "whole", device_type="cpu")
    assert same(weights(out), weights(tmp_path / "whole"))


@pytest.mark.slow
def test_training_killed_at_random_moments(tmp_path, few):
    script = make_script(tmp_path)
    out = tmp_path / "run"
    arguments = train_command(out, epochs=12)
    last = 0
    generator = np.random.default_rng(0)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, str(script), "", "0", *arguments], stdout=subprocess.DEVNULL)
        begin = time.monotonic()
        while not (out.is_dir() and checkpoints.newest(out)) and time.monotonic() - begin < 60:
            time.sleep(0.05)
        time.sleep(float(generator.uniform(0, 6)))
        process.kill()
        process.wait()
        epoch = checkpoints.read_checkpoint(out).epoch
        assert epoch >= last
        last = epoch
    assert main(arguments) == 0
    train(Recipe(**{**TINY, "epochs": 12}), few, tmp_path / "whole", device_type="cpu")
    assert same(weights(out), weights(tmp_path / "whole"))


def test_two_trainings_do_not_share_a_folder(tmp_path, few, capsys):
    out = tmp_path / "run"
    out.mkdir()
    half = out / ".epoch-0001.pt.of-the-other"
    half.touch()
    with checkpoints.locked(out):
        assert main(train_command(out)) == 2
        assert f"another process trains in {out}; wait for it" in capsys.readouterr().err
        assert half.exists()
    assert main(train_command(out)) == 0
    assert not half.exists()
    with checkpoints.locked(out):  # the training has let go of it
        pass


# --- batches and learning rates ---------------------------------------------------------------------------------------


def test_classes_may_be_among_the_test_samples_only(tmp_path, few, monkeypatch):
    known = few.y_train < 5
    data = few._replace(x_train=few.x_train[known], y_train=few.y_train[known])
    monkeypatch.setattr(sources, "load_digits", lambda: data)
    assert main(train_command(tmp_path / "run", defence="none", epochs=1)) == 0
    assert checkpoints.read_checkpoint(tmp_path / "run").nb_classes == 10


def test_lone_last_sample_joins_the_batch_before_it_where_batch_norm_refuses_it(tmp_path, few):
    def sizes(data: Split, **options: int) -> list[int]:
        return [len(index) for index in training._batches(Recipe(**options), data)]

    assert sizes(few, time_steps=1, batch_size=95) == [96]
    assert sizes(few, time_steps=1, batch_size=19) == [19, 19, 19, 19, 20]
    assert sizes(few, time_steps=1, batch_size=94) == [94, 2]
    assert sizes(few, time_steps=2, batch_size=95) == [95, 1]
    frames = few._replace(x_train=np.repeat(few.x_train[:, None], 3, axis=1))
    assert sizes(frames, time_steps=1, batch_size=95) == [95, 1]
    drawn = torch.cat(training._batches(Recipe(time_steps=1, batch_size=19), few))
    assert sorted(drawn.tolist()) == list(range(IMAGES))
    assert (
        main(train_command(tmp_path / "run", "--time-steps", "1", "--batch-size", "95", defence="none", epochs=1)) == 0
    )


def test_learning_rates_are_those_of_torch():
    recipe = Recipe(epochs=7, lr=0.3, schedule="cosine-epochs")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs)
    for epoch in range(recipe.epochs):
        assert {training._learning_rate(recipe, epoch, part) for part in (0.0, 0.5)} == {scheduler.get_last_lr()[0]}
        optimizer.step()
        scheduler.step()
    smooth = replace(recipe, schedule="cosine")
    rates = [training._learning_rate(smooth, epoch, part) for epoch in range(7) for part in (0.0, 0.5)]
    np.testing.assert_allclose(rates, 0.15 * (1 + np.cos(np.pi * np.arange(14) / 14)), rtol=1e-12)


# --- divergence ------------------------------------------------------------------------------------------------------


def test_checkpoints_before_a_divergence_stay(tmp_path, few, monkeypatch):
    calls = []

    def breaking(classifier, *args):
        loss, logits = plain(classifier, *args)
        calls.append(loss)
        if len(calls) == 4:  # the first of the second epoch
            classifier.model.network.body[0].weight.data[0] = float("nan")
        return loss, logits

    recipe, run = Recipe(**{**TINY, "defence": "none"}), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setitem(DEFENCES, "none", breaking)
        with pytest.raises(TrainingError, match=r"in epoch 2, the weights became NaN or inf; .* lr=0.002"):
            train(recipe, few, run, device_type="cpu")
    assert len(calls) == 6  # the loss stays finite
    assert checkpoints.read_checkpoint(run).epoch == 1
    train(recipe, few, run, device_type="cpu")
    train(recipe, few, tmp_path / "whole", device_type="cpu")
    assert same(weights(run), weights(tmp_path / "whole"))
