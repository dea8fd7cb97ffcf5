"""``art-snn train --model``: a user's own network is trained, resumed and evaluated."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from art_snn.__main__ import main
from art_snn.data import Framing, from_tonic, to_frames
from art_snn.errors import CheckpointError
from art_snn.evaluation import GridPlan, make_cells
from art_snn.training import load_trained, read_checkpoint
from art_snn.training import run as training
from tests.commands.lines import one_line_error
from tests.conftest import train_command
from tests.data.archives import Tonic, some_recordings, write_frames
from tests.training.runs import same, weights

RUN = "run"
MODEL = textwrap.dedent("""
    import torch
    from torch import nn

    from art_snn import IF, LIF, DirectEncoder, EventFrameEncoder, SpikingNetwork, adapt
    from tests.adapters.nodes import Node


    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.node, self.last = nn.Linear(64, 24), Node(), nn.Linear(24, 10)

        def forward(self, x):
            current = 3 * self.first(x.flatten(1))
            potential, logits = torch.zeros_like(current), 0
            for _ in range(3):
                spikes, potential = self.node(current, potential)
                logits = logits + self.last(spikes)
            return logits / 3


    def sequence():
        return nn.Sequential(nn.Flatten(2), nn.Linear(64, 24), LIF(decay=0.9), nn.Linear(24, 10))


    def adapted():
        return adapt(sequence(), time_steps=2)


    def parts():
        layers = nn.Flatten(), nn.Linear(64, 24), LIF(decay=0.9), nn.Linear(24, 10)
        return SpikingNetwork(DirectEncoder(time_steps=2), nn.Sequential(*layers))


    def of_frames():
        return nn.Sequential(nn.Flatten(2), nn.Linear(512, 8), IF(), nn.Linear(8, 2))


    def parts_of_frames():
        return SpikingNetwork(EventFrameEncoder(), nn.Sequential(nn.Flatten(), *of_frames()[1:]))


    def frozen():
        return parts().requires_grad_(False)


    def large():
        layers = nn.Flatten(), nn.Linear(784, 8), IF(), nn.Linear(8, 10)
        return SpikingNetwork(DirectEncoder(time_steps=2), nn.Sequential(*layers))


    def fails():
        raise RuntimeError("no weights\\nhere")
""")


@pytest.fixture
def model(tmp_path, monkeypatch, few, known):
    (tmp_path / "trainable.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])  # as a console script's
    yield
    for name in ("trainable", "_model_of_trainable"):
        sys.modules.pop(name, None)


def words(name: str, *more: str, out: str = RUN, epochs: int = 2) -> list[str]:
    command = f"train --model {name} --out {out} --defence fgsm --epochs {epochs} --batch-size 32 --device cpu --quiet"
    return [*command.split(), *more]


def evaluate(*more: str) -> list[str]:
    command = f"evaluate --checkpoint {RUN} --rules hart,stbp --attacks fgsm --device cpu --quiet"
    return [*command.split(), *more]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("trainable:Loop", ""),
        ("trainable.py:parts", ""),
        ("trainable:adapted", ""),
        ("trainable.py:sequence", "--time-steps 3"),
    ],
)
def test_a_users_network_is_trained_and_evaluated(model, few, capsys, name, more):
    assert main(words(name, *more.split())) == 0
    assert f"next: art-snn evaluate --checkpoint run --model {name}" in capsys.readouterr().out
    checkpoint = read_checkpoint(Path("run"))
    assert (checkpoint.recipe.model, checkpoint.recipe.architecture) == (name, None)
    assert checkpoint.recipe.time_steps == (3 if more else None)
    assert checkpoint.history[1]["loss"] < checkpoint.history[0]["loss"]
    assert main(evaluate("--model", name, "--json", "rows.json")) == 0
    assert f"{name} on digits (fgsm, eps 0.1, 2 of 2 epochs), seed 0; 64 test images" in capsys.readouterr().out
    document = json.loads(Path("rows.json").read_text())
    assert document["settings"]["model"] == name
    assert not document["settings"].keys() & {"decay", "reset", "architecture"}
    assert document["rows"][0]["clean_accuracy"] == pytest.approx(checkpoint.history[1]["test_accuracy"])


@pytest.mark.parametrize("name", ["trainable:Loop", "trainable:parts"])
def test_a_stopped_training_ends_with_the_same_weights(model, capsys, monkeypatch, name):
    assert main(words(name, out="whole")) == 0
    epoch, begun = training._epoch, []

    def stopped(*arguments):
        begun.append(None)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return epoch(*arguments)

    monkeypatch.setattr(training, "_epoch", stopped)
    assert main(words(name)) == 130
    assert not same(weights(Path("whole")), weights(Path("run")))
    torch.rand(7)
    capsys.readouterr()
    assert main(words(name)) == 0
    assert "resuming after epoch 1 of 2" in capsys.readouterr().out
    assert same(weights(Path("whole")), weights(Path("run")))
    assert "run holds another training (model is" in one_line_error(words("trainable:adapted"), capsys)


def test_seeds_decide_on_the_weights_of_a_users_network(model):
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main(words("trainable:parts", "--seed", seed, out=out, epochs=1)) == 0
    assert same(weights(Path("a")), weights(Path("b")))
    assert not same(weights(Path("a")), weights(Path("c")))


def test_no_code_that_only_a_checkpoint_names_is_run(model, capsys):
    assert main(words("trainable:parts", epochs=1)) == 0
    del sys.modules["trainable"]
    Path("trainable.py").write_text("raise RuntimeError('run')")
    assert "run was trained with --model trainable:parts, whose code is needed" in one_line_error(evaluate(), capsys)
    wrong = one_line_error(evaluate("--model", "trainable:Loop"), capsys)
    assert "run was trained with --model trainable:parts, not trainable:Loop" in wrong
    assert "trainable" not in sys.modules


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            ("nn.Linear(64, 24)", "nn.Linear(64, 23)"),
            "trainable:parts has changed: this model cannot be attacked: - it fails",
        ),
        (("Linear(64, 24), LIF(decay=0.9), nn.Linear(24", "Linear(64, 9), LIF(), nn.Linear(9"), "of another network"),
    ],
    ids=["faulty", "other-shapes"],
)
def test_a_function_that_has_changed_is_said(model, capsys, change, text):
    assert main(words("trainable:parts", epochs=1)) == 0
    del sys.modules["trainable"]
    shutil.rmtree("__pycache__", ignore_errors=True)  # which tells files apart by size and second
    Path("trainable.py").write_text(MODEL.replace(*change))
    assert text in one_line_error(evaluate("--model", "trainable:parts"), capsys)


@pytest.mark.parametrize("name", ["of_frames", "parts_of_frames"])
@pytest.mark.filterwarnings("ignore:the gradient under:art_snn.errors.GradientWarning")  # of few events
def test_event_frames_come_from_the_data(model, capsys, monkeypatch, tmp_path, name):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    framing = Framing(time_steps=3, image_size=None)
    write_frames(Path("sj/frames_number_3_split_by_number"), to_frames(from_tonic(Tonic(some_recordings())), framing))
    data = ["--data", "sj/frames_number_3_split_by_number", "--image-size", "16", "--time-steps", "3"]
    assert main(words(f"trainable:{name}", *data, epochs=1)) == 0
    assert read_checkpoint(Path("run")).input_shape == (3, 2, 16, 16)
    assert main(evaluate("--model", f"trainable:{name}")) == 0
    alone = f"evaluate --model trainable:{name} --rules hart --attacks fgsm --device cpu --quiet".split()
    assert main([*alone, *data]) == 0
    assert f"trainable:{name} on " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "more", "text"),
    [
        ("trainable", "", "is no package.module:function"),
        ("nowhere:make", "", "importing nowhere fails: ModuleNotFoundError"),
        ("trainable:make", "", "trainable has no function 'make'"),
        ("trainable:fails", "", "--model trainable:fails: calling it fails: RuntimeError: no weights here"),
        ("trainable:dict", "", "trainable has no function 'dict'"),
        ("trainable:large", "", "trainable:large cannot be trained on inputs (1, 8, 8): this model cannot be attacked"),
        ("trainable:sequence", "", "it gives outputs of shape (2, 1, 10) for 2 inputs"),
        ("trainable:parts", "--time-steps 3", "a SpikingNetwork needs no adapt"),
        ("trainable:parts", "--time-steps 0", "time_steps must be a whole number >= 1, got 0"),
        ("trainable:frozen", "", "trainable:frozen has no weights to train"),
        ("trainable:parts", "--decay 0.5", "--decay contradicts --model, which has its own"),
        ("trainable:parts", "--reset soft", "--reset contradicts --model"),
        ("trainable:parts", "--surrogate atan", "--surrogate contradicts --model"),
        ("trainable:parts", "--architecture digits_net", "--architecture contradicts --model"),
        ("trainable:parts", "--width 3", "--width contradicts --model"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_leaves_no_folder(model, capsys, name, more, text):
    assert text in one_line_error(words(name, *more.split()), capsys)
    assert not Path("run").exists()


def test_grids_refuse_a_users_network(model):
    assert main(words("trainable:parts", epochs=1)) == 0
    plan = GridPlan(targets=[Path(RUN)], rules=["hart"], samples=10, tuning_samples=10)
    with pytest.raises(CheckpointError, match="is of trainable:parts, a user's own network"):
        make_cells(plan, Path("results"))
    with pytest.raises(CheckpointError, match="holds the weights of trainable:parts, whose code is not run unless"):
        load_trained(read_checkpoint(Path(RUN)), device_type="cpu")


def test_other_checkpoints_take_no_model(model, capsys):
    assert main(train_command(Path(RUN), defence="none", epochs=1)) == 0
    error = one_line_error(evaluate("--model", "trainable:parts"), capsys)
    assert "--model contradicts --checkpoint run, which is of digits_net" in error
    error = one_line_error(evaluate("--model", "trainable:parts", "--data", "digits"), capsys)
    assert "--data contradicts --checkpoint, which has its own" in error
