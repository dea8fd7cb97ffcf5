"""``art-snn train``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from art_snn.__main__ import main
from art_snn.data import Framing, Split, from_tonic, sources, to_frames
from art_snn.training import checkpoints
from art_snn.training import run as robust_training
from art_snn.training.losses import DEFENCES, plain
from tests.conftest import train_command
from tests.data.archives import Tonic, some_recordings, write_events_np, write_frames


def test_command_trains_goes_on_and_is_evaluated(tmp_path, few, capsys):
    out, table = tmp_path / "run", tmp_path / "rows.json"
    assert main(train_command(out, epochs=2)) == 0
    printed = capsys.readouterr().out
    assert "clean accuracy" in printed
    assert "robust accuracy" in printed
    assert main(train_command(out, epochs=2)) == 0
    assert "is trained already: 2 of 2 epochs" in capsys.readouterr().out
    for path in (out, out / "epoch-0001.pt"):
        evaluate = ["evaluate", "--checkpoint", str(path), "--rules", "hart,cba", "--attacks", "fgsm", "--quiet"]
        assert main([*evaluate, "--device", "cpu", "--json", str(table)]) == 0
        assert "digits SNN (fbf, eps 0.1" in capsys.readouterr().out
        document = json.loads(table.read_text())
        assert document["settings"]["defence"] == "fbf"
        assert document["settings"]["trained_epochs"] == (2 if path == out else 1)
        classifier = robust_training.load_trained(checkpoints.read_checkpoint(path), device_type="cpu")[1]
        expected = float((classifier.predict(few.x_test).argmax(1) == few.y_test).mean())
        assert document["rows"][0]["clean_accuracy"] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:the gradient under:art_snn.errors.GradientWarning")  # of a network of width 1
@pytest.mark.parametrize("data", ["sj", "sj/events_np", "sj/frames_number_3_split_by_number"])
def test_folders_of_spikingjelly_are_trained_on(tmp_path, capsys, monkeypatch, data):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_events_np(Path("sj/events_np"))
    framing = Framing(time_steps=3, image_size=None)
    write_frames(Path("sj/frames_number_3_split_by_number"), to_frames(from_tonic(Tonic(some_recordings())), framing))
    words = f"train --data {data} --image-size 16 --width 1 --defence none --epochs 1 --device cpu --quiet"
    assert main([*words.split(), "--time-steps", "3", "--out", "run"]) == 0
    assert "clean accuracy" in capsys.readouterr().out
    if "frames" in data:
        for more, message in (("--time-steps 4", "give time_steps=3"), ("--split-by time", "give split_by='number'")):
            assert main([*words.split(), "--time-steps", "3", *more.split(), "--out", "other"]) == 2
            assert message in capsys.readouterr().err


def test_user_may_stop_it(tmp_path, few, capsys, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(robust_training, "_epoch", stop)
    assert main(train_command(tmp_path / "run")) == 130
    assert "the same command resumes after the last epoch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--defence", "cw"], "argument --defence: invalid choice: 'cw' (choose from"),
        (["--eps", "0"], "eps must be a finite number > 0, got 0"),
        (["--eps", "much"], "'much' is not a number"),
        (["--epochs", "0"], "epochs must be a whole number >= 1, got 0"),
        (["--lr", "-1"], "lr must be a finite number > 0, got -1"),
        (["--decay", "1.5"], "1.5"),
        (["--rule", "best"], "argument --rule: invalid choice: 'best'"),
        (["--gamma", "0"], "gamma"),
        (["--seed", "-1"], "seed must be a whole number in 0 to"),
        (["--optimizer", "lion"], "argument --optimizer: invalid choice: 'lion'"),
        (["--augmentation", "blur"], "argument --augmentation: invalid choice: 'blur'"),
        (["--architecture", "vgg19"], "argument --architecture: invalid choice: 'vgg19'"),
        (["--weight-decay", "-1"], "weight_decay must be a finite number >= 0, got -1.0"),
        (["--width", "4"], "digits_net has no width to choose, got width=4"),
        (["--architecture", "vgg_small", "--width", "0"], "width must be a whole number >= 1, got 0"),
        (["--architecture", "vgg_dvs"], "vgg_dvs takes event frames, not images (1, 8, 8); leave the architecture out"),
        (["--time-steps", "1", "--batch-size", "1"], "batch norm needs two samples at T=1, got batch_size=1; raise it"),
        (["--test-share", "1"], "test_share must be in (0, 1), got 1.0"),
        (["--split-by", "space"], "argument --split-by: invalid choice: 'space'"),
        (["--data", "no/such/folder"], "--data 'no/such/folder' is neither 'digits', 'cifar10'"),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
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


def test_sizes_of_images_that_the_network_does_not_take_are_refused(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    assert main(train_command(tmp_path / "run", "--data", str(tmp_path / "images"), "--image-size", "20")) == 2
    error = capsys.readouterr().err
    assert "vgg_small takes inputs whose height and width are multiples of 8, got (3, 20, 20)" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("label", "more", "message"),
    [
        (0, [], "digits_net cannot be trained on inputs (1, 8, 8): nb_classes must be a whole number >= 2, got 1"),
        (-1, [], "labels must be classes counted from 0, got -1 in y_train"),
        (1, ["--time-steps", "1"], "batch norm needs two samples at T=1, got 1 training sample"),
    ],
)
def test_data_that_cannot_be_trained_on_leave_no_folder(tmp_path, few, monkeypatch, capsys, label, more, message):
    part = few.x_train[:1], np.array([label])
    monkeypatch.setattr(sources, "load_digits", lambda: Split(*part, *part))
    out = tmp_path / "run"
    assert main(train_command(out, *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def losing(classifier, *args):
    loss, logits = plain(classifier, *args)
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--defence fgsm --beta 3", "--beta does nothing with --defence fgsm; leave it out"),
        ("--defence madry-pgd --beta 6", "--beta does nothing with --defence madry-pgd; leave it out"),
        ("--defence none --eps-step 0.1", "--eps-step does nothing with --defence none; leave it out"),
        ("--defence fbf --max-iter 7", "--max-iter does nothing with --defence fbf; leave it out"),
        ("--defence none --max-iter 3", "--max-iter does nothing with --defence none; leave it out"),
        ("--rule bptr --gamma 2", "--gamma does nothing with --rule bptr, which has no gamma; leave it out"),
        ("--rule cba --gamma 1", "--gamma does nothing with --rule cba, which has no gamma; leave it out"),
        ("--data digits --split-by time", "--split-by does nothing with --data digits; leave it out"),
        ("--data digits --split-by number", "--split-by does nothing with --data digits; leave it out"),
        ("--data digits --test-share 0.2", "--test-share does nothing with --data digits; leave it out"),
        ("--data digits --image-size 16", "--image-size does nothing with --data digits, whose images are (1, 8, 8)"),
        (
            "--data cifar10 --image-size 32",
            "--image-size does nothing with --data cifar10, whose images are (3, 32, 32)",
        ),
        ("--eps 8", "--eps is 8, and inputs have a range of 1; fractions such as 8/255 are numbers"),
        ("--eps-step 2", "--eps-step is 2, and inputs have a range of 1; fractions such as 8/255 are numbers"),
    ],
)
def test_options_that_a_training_would_not_read_are_refused(words, message, tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path / "run"), *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
