"""Checkpoints of another training or network, and damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_snn.__main__ import main
from art_snn.errors import CheckpointError
from art_snn.training import checkpoints
from art_snn.training.build import make_classifier
from art_snn.training.recipe import Recipe
from art_snn.training.run import train
from tests.conftest import train_command
from tests.training.runs import TINY, same, weights


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


def cut(file):
    file.write_bytes(file.read_bytes()[:2000])


def flip(file):
    """Change one bit of the weights."""
    content = bytearray(file.read_bytes())
    weight = checkpoints.read_checkpoint(file).weights["body.0.weight"].contiguous().numpy().tobytes()
    content[content.index(weight) + 5] ^= 1
    file.write_bytes(content)


def rewrite(file, **changes):
    """Write the content of a checkpoint with changes."""
    torch.save({**torch.load(file, weights_only=True), **changes}, file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "epoch-0001.pt is damaged (File is not a zip file); remove it"),
        (flip, "epoch-0001.pt is damaged (the checksum of"),
        (lambda file: torch.save([Exploit()], file), "epoch-0001.pt is damaged (Weights only load failed"),
        (lambda file: torch.save(torch.zeros(3), file), "epoch-0001.pt has format None, and this art_snn reads"),
        (lambda file: rewrite(file, format=99), "has format 99, and this art_snn reads format 2"),
        (lambda file: rewrite(file, recipe={"defence": "walls"}), "does not fit this art_snn: defence must be"),
        (lambda file: rewrite(file, recipe={"magic": 1}), "does not fit this art_snn: Recipe.__init__() got an unexp"),
    ],
)
def test_damaged_checkpoints_are_named(tmp_path, few, capsys, damage, message):
    out = tmp_path / "run"
    assert main(train_command(out, epochs=1)) == 0
    damage(out / "epoch-0001.pt")
    capsys.readouterr()
    for arguments in (train_command(out, epochs=1), ["evaluate", "--checkpoint", str(out), "--device", "cpu"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "epoch-0001" in error
        assert error.count("\n") == 1


class Exploit:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a checkpoint ran code",)


def test_runs_of_an_older_version_say_what_to_do(tmp_path, few, capsys):
    out = tmp_path / "run"
    (out / "epoch-0007").mkdir(parents=True)
    (out / "epoch-0007" / "checkpoint.json").write_text("{}")
    for arguments in (
        train_command(out),
        ["evaluate", "--checkpoint", str(out), "--device", "cpu"],
        ["evaluate", "--checkpoint", str(out / "epoch-0007"), "--device", "cpu"],
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "has checkpoints of art_snn 0.1.0, which cannot be read; train again elsewhere" in error
        assert error.count("\n") == 1
    assert not list(out.glob("*.pt"))


def test_checkpoint_says_what_its_network_is(tmp_path, few):
    recipe = Recipe(**{**TINY, "epochs": np.int64(1), "lr": np.float32(0.25)})
    _, history = train(recipe, few, tmp_path / "run", device_type="cpu")
    found = checkpoints.read_checkpoint(tmp_path / "run")
    assert found.path == tmp_path / "run" / "epoch-0001.pt"
    assert (found.recipe, found.epoch, found.history) == (recipe, 1, history)
    assert (found.input_shape, found.nb_classes, found.clip_values) == ((1, 8, 8), 10, (0.0, 1.0))


def test_checkpoint_of_another_network_is_refused(tmp_path, few):
    recipe = Recipe(**{**TINY, "epochs": 1})
    train(recipe, few, tmp_path / "run", device_type="cpu")
    found = checkpoints.read_checkpoint(tmp_path / "run")
    other = make_classifier(Recipe(architecture="vgg_small"), (1, 8, 8), 10, "cpu")
    with pytest.raises(CheckpointError, match=r"epoch-0001\.pt holds the weights of another network"):
        found.restore(other)


def test_what_older_versions_left_half_written_is_removed(tmp_path):
    (tmp_path / ".epoch-abc").mkdir()
    (tmp_path / ".epoch-abc" / "weights.safetensors").touch()
    (tmp_path / ".epoch-0001.pt.xyz.pt").touch()
    checkpoints.clean(tmp_path)
    assert not list(tmp_path.iterdir())
