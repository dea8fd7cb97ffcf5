"""Checkpoints of another training or network, and damaged ones."""

from __future__ import annotations

import pytest
import torch

from art_snn.__main__ import main
from art_snn.errors import CheckpointError
from art_snn.snn.models import vgg_small
from art_snn.training import checkpoints
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


def test_checkpoint_of_another_network_is_refused(tmp_path, few):
    recipe = Recipe(**{**TINY, "epochs": 1})
    train(recipe, few, tmp_path / "run", device_type="cpu")
    found = checkpoints.read_checkpoint(tmp_path / "run")
    other = vgg_small(in_channels=1, image_size=8)
    with pytest.raises(CheckpointError, match="holds the weights of another network"):
        checkpoints.restore(found, other, torch.optim.Adam(other.parameters()))
