"""``art-snn train``: resuming, kills, bad input, folders of images; and evaluating its checkpoints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from art_snn import LIF
from art_snn.__main__ import main
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data import Split, load_digits, sets
from art_snn.errors import CheckpointError, TrainingError
from art_snn.snn.models import digits_net, vgg_small
from art_snn.snn.surrogates import ATan, Sigmoid, Triangle
from art_snn.training import checkpoints
from art_snn.training import run as robust_training
from art_snn.training.losses import DEFENCES, none
from art_snn.training.recipe import RobustRecipe, make_classifier
from art_snn.training.run import train_robustly

TINY = {"epochs": 3, "time_steps": 2, "defence": "fbf", "batch_size": 32}
IMAGES = 96


@pytest.fixture
def few(monkeypatch) -> Split:
    """Few digits, so that an epoch takes a moment."""
    full = load_digits()
    data = Split(full.x_train[:IMAGES], full.y_train[:IMAGES], full.x_test[:64], full.y_test[:64])
    monkeypatch.setattr(sets, "load_digits", lambda: data)
    return data


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoints.newest(run)
    assert newest is not None
    return load_file(newest / checkpoints.WEIGHTS)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def train_command(out: Path, *more: str, defence: str = "fbf", epochs: int = 3) -> list[str]:
    return [
        *("train", "--out", str(out), "--defence", defence, "--epochs", str(epochs)),
        *("--time-steps", "2", "--batch-size", "32", "--device", "cpu", "--quiet", *more),
    ]


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
    recipe = RobustRecipe(**{**TINY, **options})
    _, history = train_robustly(recipe, few, tmp_path / "whole", device_type="cpu")
    epoch = robust_training._epoch

    def stop_in_the_last(*args):
        if args[3] == 2:
            raise KeyboardInterrupt
        return epoch(*args)

    monkeypatch.setattr(robust_training, "_epoch", stop_in_the_last)
    with pytest.raises(KeyboardInterrupt):
        train_robustly(recipe, few, tmp_path / "stopped", device_type="cpu")
    monkeypatch.setattr(robust_training, "_epoch", epoch)
    torch.rand(7)
    np.random.rand(7)
    classifier, again = train_robustly(recipe, few, tmp_path / "stopped", device_type="cpu")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert [entry["loss"] for entry in again] == [entry["loss"] for entry in history]
    assert not classifier.model.training
    assert [path.name for path in sorted((tmp_path / "stopped").glob("[!.]*"))] == ["epoch-0002", "epoch-0003"]


def test_other_seeds_give_other_weights_and_the_global_generators_are_left_alone(tmp_path, few):
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    for seed in (0, 1):
        train_robustly(
            RobustRecipe(**{**TINY, "epochs": 1, "seed": seed}), few, tmp_path / str(seed), device_type="cpu"
        )
    assert not same(weights(tmp_path / "0"), weights(tmp_path / "1"))
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])


def test_recipe_reaches_optimizer_precision_and_network(few, tmp_path, monkeypatch):
    from art_snn.training import losses as defences
    from art_snn.training import recipe as recipes

    seen = []
    inner = torch.nn.functional.cross_entropy

    def spy(logits, labels):
        seen.append(logits.dtype)
        return inner(logits, labels)

    monkeypatch.setattr(defences.nn.functional, "cross_entropy", spy)
    weights = []
    for options in (
        {},
        {"mixed_precision": True},
        {"optimizer": "sgd", "lr": 0.1},
        {"weight_decay": 0.1},
        {"surrogate": "atan"},
    ):
        recipe = RobustRecipe(**{**TINY, "epochs": 1, "defence": "none", **options})
        classifier, _ = train_robustly(recipe, few, tmp_path / str(len(weights)), device_type="cpu")
        weights.append(next(classifier.model.parameters()).detach().clone())
    assert set(seen) == {torch.float32}
    assert all(not torch.equal(weights[0], other) for other in weights[1:])
    classifier = recipes.make_classifier(
        RobustRecipe(architecture="resnet17", optimizer="sgd", weight_decay=0.25), (3, 8, 8), 4, "cpu"
    )
    assert classifier.optimizer.defaults["momentum"] == 0.9
    assert classifier.optimizer.defaults["weight_decay"] == 0.25
    assert "Residual" in repr(classifier.model)
    convolutions = [module for module in classifier.model.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(one.weight.is_contiguous(memory_format=torch.channels_last) for one in convolutions)
    mean = [0.4914, 0.4822, 0.4465]
    assert classifier.model.network.body[0].mean.flatten().tolist() == pytest.approx(mean)
    hundred = recipes.make_classifier(RobustRecipe(architecture="resnet17", data="cifar100"), (3, 32, 32), 100, "cpu")
    assert hundred.model.network.body[0].mean.flatten().tolist() == pytest.approx([0.5071, 0.4865, 0.4409])
    for name, slope in (("triangle", Triangle()), ("atan", ATan()), ("sigmoid", Sigmoid())):
        own = recipes.make_classifier(RobustRecipe(surrogate=name), (1, 8, 8), 10, "cpu")
        assert {module.surrogate for module in own.model.modules() if isinstance(module, LIF)} == {slope}
    with pytest.raises(ValueError, match="unknown surrogate 'step'; known: triangle, atan, sigmoid"):
        RobustRecipe(surrogate="step")
    assert classifier.nb_classes == 4
    with pytest.raises(TrainingError, match=r"vgg_dvs takes event frames, not images \(3, 8, 8\)"):
        recipes.make_classifier(RobustRecipe(architecture="vgg_dvs"), (3, 8, 8), 4, "cpu")


# --- kills -----------------------------------------------------------------------------------------------------------

_SCRIPT = """
import os, signal, sys
import torch
from art_snn.training import checkpoints, run as robust_training
from art_snn.__main__ import main
from art_snn.data import Split, load_digits, sets

torch.set_num_threads({threads})  # sums are the same bit by bit with as many threads only
full = load_digits()
data = Split(full.x_train[:{images}], full.y_train[:{images}], full.x_test[:64], full.y_test[:64])
sets.load_digits = lambda: data
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
    module = robust_training if hasattr(robust_training, name) else checkpoints
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


# Where a process dies: in an epoch, before and after the weights of a checkpoint, while checksums or the disk are
# waited for, and between a checkpoint and the removal of the old one.
@pytest.mark.parametrize(
    ("place", "when", "left"),
    [
        ("_epoch", 2, 1),
        ("save_weights", 2, 1),
        pytest.param("save_file", 2, 1, marks=pytest.mark.slow),
        pytest.param("_digest", 4, 1, marks=pytest.mark.slow),
        pytest.param("_sync", 7, 1, marks=pytest.mark.slow),
        ("_folders", 4, 3),
        pytest.param("_sync", 3, 0, marks=pytest.mark.slow),
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
    recipe = RobustRecipe(**TINY)
    train_robustly(recipe, few, tmp_path / "whole", device_type="cpu")
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
    train_robustly(RobustRecipe(**{**TINY, "epochs": 12}), few, tmp_path / "whole", device_type="cpu")
    assert same(weights(out), weights(tmp_path / "whole"))


def test_two_trainings_do_not_share_a_folder(tmp_path, few, capsys):
    out = tmp_path / "run"
    out.mkdir()
    half = out / ".epoch-of-the-other"
    half.mkdir()
    with checkpoints.locked(out):
        assert main(train_command(out)) == 2
        assert f"another process trains in {out}; wait for it" in capsys.readouterr().err
        assert half.is_dir()
    assert main(train_command(out)) == 0
    assert not half.exists()
    with checkpoints.locked(out):  # the training has let go of it
        pass


# --- the command -----------------------------------------------------------------------------------------------------


def test_command_trains_goes_on_and_is_evaluated(tmp_path, few, capsys):
    out, table = tmp_path / "run", tmp_path / "rows.json"
    assert main(train_command(out, epochs=2)) == 0
    printed = capsys.readouterr().out
    assert "clean accuracy" in printed
    assert "robust accuracy" in printed
    assert f"next: art-snn evaluate --checkpoint {out}" in printed
    assert main(train_command(out, epochs=2)) == 0
    assert "is trained already: 2 of 2 epochs" in capsys.readouterr().out
    for path in (out, out / "epoch-0001"):
        evaluate = ["evaluate", "--checkpoint", str(path), "--rules", "hart,cba", "--attacks", "fgsm", "--quiet"]
        assert main([*evaluate, "--device", "cpu", "--json", str(table)]) == 0
        assert "digits SNN (fbf, eps 0.1" in capsys.readouterr().out
        document = json.loads(table.read_text())
        assert document["settings"]["defence"] == "fbf"
        assert document["settings"]["trained_epochs"] == (2 if path == out else 1)
        classifier = robust_training.load_trained(checkpoints.read_checkpoint(path), device_type="cpu")[1]
        expected = float((classifier.predict(few.x_test).argmax(1) == few.y_test).mean())
        assert document["rows"][0]["clean_accuracy"] == pytest.approx(expected)


def test_user_may_stop_it(tmp_path, few, capsys, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(robust_training, "_epoch", stop)
    assert main(train_command(tmp_path / "run")) == 130
    assert "the same command goes on after the last epoch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--defence", "cw"], "unknown defence 'cw'; known: none, fgsm, madry-pgd, trades, fbf"),
        (["--eps", "0"], "eps must be a finite number > 0, got 0"),
        (["--eps", "much"], "'much' is not a number"),
        (["--epochs", "0"], "epochs must be a whole number >= 1, got 0"),
        (["--lr", "-1"], "lr must be a finite number > 0, got -1"),
        (["--decay", "1.5"], "1.5"),
        (["--rule", "best"], "unknown gradient rule"),
        (["--gamma", "0"], "gamma"),
        (["--seed", "-1"], "seed must be in 0 to"),
        (["--optimizer", "lion"], "unknown optimizer 'lion'; known: adam, sgd"),
        (["--augmentation", "blur"], "unknown augmentation 'blur'; known: none, crop, crop-flip"),
        (["--architecture", "vgg19"], "unknown architecture 'vgg19'; known: digits_net, vgg_small, vgg11, resnet17"),
        (["--weight-decay", "-1"], "weight_decay must be a finite number >= 0, got -1.0"),
        (["--width", "4"], "digits_net has no width to choose, got width=4"),
        (["--architecture", "vgg_small", "--width", "0"], "width must be a whole number >= 1, got 0"),
        (["--architecture", "vgg_dvs"], "vgg_dvs takes event frames, not images (1, 8, 8); leave the architecture out"),
        (["--time-steps", "1", "--batch-size", "1"], "batch norm needs two samples at T=1, got batch_size=1; raise it"),
        (["--test-share", "1"], "test_share must be in (0, 1), got 1.0"),
        (["--split-by", "space"], "unknown split_by 'space'; known: number, time"),
        (["--data", "no/such/folder"], "--data 'no/such/folder' is neither 'digits', 'cifar10'"),
        (["--device", "tpu"], "--device must be 'gpu' or 'cpu', got 'tpu'"),
    ],
)
def test_bad_options_end_at_once(tmp_path, capsys, more, message):
    out = tmp_path / "run"
    try:
        code = main(train_command(out, *more))
    except SystemExit as exit_:
        code = exit_.code
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("architecture", "data", "message"),
    [
        ("digits_net", "images", "digits_net takes images (1, 8, 8), not (3, 32, 32); leave the architecture out"),
        ("vgg_dvs", "images", "vgg_dvs takes event frames, not images (3, 32, 32)"),
        ("resnet17", "events.npz", "resnet17 takes images, not event frames (T, C, H, W)"),
    ],
)
def test_architectures_for_other_data_are_refused_before_they_are_loaded(tmp_path, capsys, architecture, data, message):
    (tmp_path / "images").mkdir()
    (tmp_path / "events.npz").touch()
    out = tmp_path / "run"
    assert main(train_command(out, "--data", str(tmp_path / data), "--architecture", architecture)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("architecture", ["vgg11", "resnet17"])
def test_papers_networks_take_other_numbers_of_channels(architecture):
    recipe = RobustRecipe(architecture=architecture, time_steps=2)
    for channels, mean in ((1, 0.5), (3, 0.4914)):
        classifier = make_classifier(recipe, (channels, 8, 8), 4, "cpu")
        assert classifier.model.network.body[0].mean.flatten()[0] == pytest.approx(mean)
        assert classifier.predict(np.zeros((2, channels, 8, 8), dtype=np.float32)).shape == (2, 4)


@pytest.mark.parametrize(
    ("label", "more", "message"),
    [
        (0, [], "digits_net cannot be trained on inputs (1, 8, 8): nb_classes must be >= 2, got 1"),
        (-1, [], "labels must be classes in 0 to"),
        (1, ["--time-steps", "1"], "batch norm needs two samples at T=1, got 1 training sample"),
    ],
)
def test_data_that_cannot_be_trained_on_leave_no_folder(tmp_path, few, monkeypatch, capsys, label, more, message):
    part = few.x_train[:1], np.array([label])
    monkeypatch.setattr(sets, "load_digits", lambda: Split(*part, *part))
    out = tmp_path / "run"
    assert main(train_command(out, *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_classes_may_be_among_the_test_samples_only(tmp_path, few, monkeypatch):
    known = few.y_train < 5
    data = few._replace(x_train=few.x_train[known], y_train=few.y_train[known])
    monkeypatch.setattr(sets, "load_digits", lambda: data)
    assert main(train_command(tmp_path / "run", defence="none", epochs=1)) == 0
    assert checkpoints.read_checkpoint(tmp_path / "run").extra["nb_classes"] == 10


def test_lone_last_sample_joins_the_batch_before_it_where_batch_norm_refuses_it(tmp_path, few):
    def sizes(data: Split, **options: int) -> list[int]:
        return [len(index) for index in robust_training._batches(RobustRecipe(**options), data)]

    assert sizes(few, time_steps=1, batch_size=95) == [96]
    assert sizes(few, time_steps=1, batch_size=19) == [19, 19, 19, 19, 20]
    assert sizes(few, time_steps=1, batch_size=94) == [94, 2]
    assert sizes(few, time_steps=2, batch_size=95) == [95, 1]
    frames = few._replace(x_train=np.repeat(few.x_train[:, None], 3, axis=1))
    assert sizes(frames, time_steps=1, batch_size=95) == [95, 1]
    drawn = torch.cat(robust_training._batches(RobustRecipe(time_steps=1, batch_size=19), few))
    assert sorted(drawn.tolist()) == list(range(IMAGES))
    assert (
        main(train_command(tmp_path / "run", "--time-steps", "1", "--batch-size", "95", defence="none", epochs=1)) == 0
    )


# --- divergence ------------------------------------------------------------------------------------------------------


def losing(classifier, *args):
    loss, logits = none(classifier, *args)
    return loss * float("nan"), logits


@pytest.mark.parametrize(("defence", "what"), [("fgsm", "weights"), ("losing", "training loss")])
def test_diverged_training_is_an_error_in_one_line(tmp_path, few, capsys, monkeypatch, defence, what):
    monkeypatch.setitem(DEFENCES, "losing", losing)
    out = tmp_path / "run"
    assert main(train_command(out, "--optimizer", "sgd", "--lr", "1e30", defence=defence)) == 2
    printed, error = capsys.readouterr()
    assert f"in epoch 1, the {what} became NaN or inf; lower the learning rate, lr=1e+30" in error
    assert error.count("\n") == 1
    assert "accuracy" not in printed
    assert checkpoints.newest(out) is None


def test_checkpoints_before_a_divergence_stay(tmp_path, few, monkeypatch):
    calls = []

    def breaking(classifier, *args):
        loss, logits = none(classifier, *args)
        calls.append(loss)
        if len(calls) == 4:  # the first of the second epoch
            classifier.model.network.body[0].weight.data[0] = float("nan")
        return loss, logits

    recipe, run = RobustRecipe(**{**TINY, "defence": "none"}), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setitem(DEFENCES, "none", breaking)
        with pytest.raises(TrainingError, match=r"in epoch 2, the weights became NaN or inf; .* lr=0.002"):
            train_robustly(recipe, few, run, device_type="cpu")
    assert len(calls) == 6  # the loss stays finite
    assert checkpoints.read_checkpoint(run).epoch == 1
    train_robustly(recipe, few, run, device_type="cpu")
    train_robustly(recipe, few, tmp_path / "whole", device_type="cpu")
    assert same(weights(run), weights(tmp_path / "whole"))


def make_fitted(few: Split, lr: float) -> PyTorchSNNClassifier:
    network = digits_net(time_steps=2)
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf]))  # as attention has them
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    classifier = PyTorchSNNClassifier(
        network, torch.nn.CrossEntropyLoss(), (1, 8, 8), 10, optimizer=optimizer, device_type="cpu"
    )
    classifier.fit(few.x_train, few.y_train, batch_size=32, nb_epochs=2)
    return classifier


def test_fit_says_that_weights_diverged_though_the_loss_is_finite(few):
    torch.manual_seed(0)
    with pytest.raises(TrainingError, match=r"in epoch 1, the weights became NaN or inf; lower .*, lr=1e\+30"):
        make_fitted(few, 1e30)
    assert not make_fitted(few, 1e-3).model.training


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_evaluation_takes_the_gamma_of_the_training(tmp_path, few):
    out, table = tmp_path / "run", tmp_path / "rows.json"
    assert main(train_command(out, "--gamma", "1.5", epochs=1)) == 0
    for more, gamma, chosen in (([], 1.5, "by default, not tuned"), (["--gamma", "2"], 2.0, "given, not tuned")):
        evaluate = ["evaluate", "--checkpoint", str(out), "--rules", "hart", "--attacks", "fgsm", "--quiet"]
        assert main([*evaluate, "--device", "cpu", "--json", str(table), *more]) == 0
        document = json.loads(table.read_text())
        assert document["settings"]["rules"] == [f"HART(gamma={gamma})"]
        assert document["settings"]["gamma_chosen"] == chosen
        assert document["rows"][0]["gamma"] == gamma


def test_folder_of_another_training_is_left_alone(tmp_path, few, capsys):
    out = tmp_path / "run"
    assert main(train_command(out, epochs=1)) == 0
    before = weights(out)
    assert main(train_command(out, epochs=1, defence="none")) == 2
    assert "holds another training (defence is 'fbf' there and 'none' here)" in capsys.readouterr().err
    assert same(weights(out), before)
    file = tmp_path / "file"
    file.write_text("")
    assert main(train_command(file)) == 2
    assert "is a file; name a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (checkpoints.WEIGHTS, b"half", "is damaged: its checksum differs"),
        (checkpoints.STATE, None, "is damaged"),
        (checkpoints.META, b"{", "is damaged"),
        (checkpoints.META, b'{"format": 99}', "has format 99, and this art_snn reads format 1"),
    ],
)
def test_damaged_checkpoints_are_named(tmp_path, few, capsys, name, text, message):
    out = tmp_path / "run"
    assert main(train_command(out, epochs=1)) == 0
    path = out / "epoch-0001" / name
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
    capsys.readouterr()
    for arguments in (train_command(out, epochs=1), ["evaluate", "--checkpoint", str(out), "--device", "cpu"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "epoch-0001" in error
        assert error.count("\n") == 1


def test_evaluating_nothing_or_with_contradictions(tmp_path, few, capsys):
    assert main(["evaluate", "--checkpoint", str(tmp_path / "none"), "--device", "cpu"]) == 2
    assert "no checkpoint in" in capsys.readouterr().err
    assert main(["evaluate", "--checkpoint", str(tmp_path), "--time-steps", "3"]) == 2
    assert "--time-steps contradicts --checkpoint" in capsys.readouterr().err


def test_checkpoint_of_another_network_is_refused(tmp_path, few):
    recipe = RobustRecipe(**{**TINY, "epochs": 1})
    train_robustly(recipe, few, tmp_path / "run", device_type="cpu")
    found = checkpoints.read_checkpoint(tmp_path / "run")
    other = vgg_small(in_channels=1, image_size=8)
    with pytest.raises(CheckpointError, match="holds the weights of another network"):
        checkpoints.restore(found, other, torch.optim.Adam(other.parameters()))


# --- folders of images -----------------------------------------------------------------------------------------------


def make_shades(folder: Path, classes: dict[str, int], size: int = 16) -> None:
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for shade, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(0, 60, (size, size, 3)) + 90 * shade
            image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i:03}.png")


@pytest.fixture
def torchvision():
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"folders of images need a torchvision that imports: {error}")
    return torchvision


def test_folder_is_loaded_split_and_trained_on(tmp_path, torchvision, capsys):
    from art_snn.data.folders import load_image_folder

    flat, parted = tmp_path / "flat", tmp_path / "parted"
    make_shades(flat, {"dark": 20, "light": 20})
    split, names = load_image_folder(flat, image_size=8)
    assert names == ["dark", "light"]
    assert split.x_train.shape == (32, 3, 8, 8)
    assert split.x_test.shape == (8, 3, 8, 8)
    assert list(np.bincount(split.y_test)) == [4, 4]
    assert split.x_train.dtype == np.float32
    assert 0 <= split.x_train.min() < 0.3
    assert split.x_train[split.y_train == 1].mean() > split.x_train[split.y_train == 0].mean() + 0.3
    again, _ = load_image_folder(flat, image_size=8)
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))
    make_shades(parted / "train", {"dark": 12, "light": 9})
    make_shades(parted / "test", {"dark": 3, "light": 4})
    split, _ = load_image_folder(parted, image_size=16)
    assert (len(split.x_train), len(split.x_test)) == (21, 7)
    out = tmp_path / "run"
    assert main(train_command(out, "--data", str(parted), "--image-size", "16", epochs=2)) == 0
    assert "7 test images" in capsys.readouterr().out
    assert main(["evaluate", "--checkpoint", str(out), "--attacks", "fgsm", "--device", "cpu", "--quiet"]) == 0
    assert "parted SNN (fbf" in capsys.readouterr().out


def test_bad_folders_are_named(tmp_path, torchvision, capsys):
    def message(data: Path) -> str:
        assert main(train_command(tmp_path / "run", "--data", str(data), "--image-size", "8")) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    one = tmp_path / "one"
    make_shades(one, {"alone": 3})
    assert "has 1 class; two or more are needed" in message(one)
    small = tmp_path / "small"
    make_shades(small, {"a": 2, "b": 2})
    assert "has too few images to split" in message(small)
    half = tmp_path / "half"
    make_shades(half / "train", {"a": 2, "b": 2})
    assert "test' is missing" in message(half)
    make_shades(half / "test", {"a": 2, "c": 2})
    assert "have not the same classes; only in one: b, c" in message(half)
    empty = tmp_path / "empty"
    make_shades(empty, {"a": 6, "b": 6})
    (empty / "c").mkdir()
    assert "c" in message(empty)
    damaged = tmp_path / "damaged"
    make_shades(damaged, {"a": 6, "b": 6})
    (damaged / "b" / "003.png").write_bytes(b"no image")
    assert str(Path("b") / "003.png") + " is no readable image" in message(damaged)
    assert not (tmp_path / "run").exists()
