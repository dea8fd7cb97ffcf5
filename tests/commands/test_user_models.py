"""``art-snn evaluate --model``: a user's own network."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
import torch
from torch import nn

from art_snn import LIF
from art_snn.__main__ import main
from art_snn.files import save_weights
from tests.commands.lines import one_line_error

MODEL = textwrap.dedent("""
    import torch
    from torch import nn

    from art_snn import IF, LIF, DirectEncoder, SpikingNetwork, adapt
    from beside_a_users import PIXELS

    torch.manual_seed(0)
    layers = [nn.Flatten(2), nn.Linear(PIXELS, 32), LIF(decay=0.9), nn.Linear(32, 10)]


    def sequence():
        return nn.Sequential(*layers)  # takes (T, N, ...)


    def adapted():
        return adapt(sequence(), time_steps=4)


    def parts():
        return SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(nn.Flatten(), *layers[1:]))


    def few_classes():
        body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), IF(), nn.Linear(8, 3))
        return SpikingNetwork(DirectEncoder(time_steps=4), body)


    def fails():
        raise RuntimeError("no weights")


    def other_weights():
        network = parts()
        network.load_state_dict({"first": torch.zeros(1)})
        return network


    def large():
        body = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), IF(), nn.Linear(8, 10))
        return SpikingNetwork(DirectEncoder(time_steps=4), body)


    made = parts()


    class Loops(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, x):
            return self.layers(x.repeat(4, 1, 1, 1, 1)).mean(0)


    def loops():
        return Loops()


    def number():
        return 3


    def plain():
        return nn.Linear(64, 10)
""")


@pytest.fixture
def model(tmp_path, monkeypatch, few):
    (tmp_path / "of_a_user.py").write_text(MODEL)
    (tmp_path / "beside_a_users.py").write_text("PIXELS = 64")
    (tmp_path / "script.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])  # as a console script's
    yield
    for name in ("of_a_user", "beside_a_users", "_model_of_of_a_user"):
        sys.modules.pop(name, None)


def evaluate(*words: str) -> list[str]:
    return [
        "evaluate",
        "--rules",
        "hart,stbp",
        "--attacks",
        "fgsm",
        "--samples",
        "20",
        "--quiet",
        "--device",
        "cpu",
        *words,
    ]


@pytest.mark.parametrize(
    "words", [["parts"], ["adapted"], ["sequence", "--time-steps", "4"]], ids=["parts", "adapted", "time-steps"]
)
@pytest.mark.parametrize("place", ["of_a_user", "of_a_user.py"])
def test_a_users_network_is_attacked(model, tmp_path, capsys, words, place):
    name, *more = words
    assert main(evaluate("--model", f"{place}:{name}", *more, "--json", str(tmp_path / "rows.json"))) == 0
    assert f"{place}:{name} on digits; 20 test images, eps=0.1" in capsys.readouterr().out
    document = json.loads((tmp_path / "rows.json").read_text())
    assert [row["rule"] for row in document["rows"]] == ["hart", "stbp", "worst case"]
    assert document["settings"]["model"] == f"{place}:{name}"
    assert document["settings"]["samples"] == 20


def test_weights_are_loaded(model, tmp_path, capsys):
    network = nn.Sequential(nn.Flatten(2), nn.Linear(64, 32), LIF(decay=0.9), nn.Linear(32, 10))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    save_weights(network, tmp_path / "zero.safetensors")
    torch.save(network.state_dict(), tmp_path / "zero.pt")
    outputs = []
    for more in ([], ["--weights", "zero.safetensors"], ["--weights", "zero.pt"]):
        assert main(evaluate("--model", "of_a_user.py:sequence", "--time-steps", "4", *more)) == 0
        outputs.append(capsys.readouterr().out)
    assert "100.0%" in outputs[1]  # zero gradients
    assert outputs[0].splitlines()[1:4] != outputs[1].splitlines()[1:4]


def test_weights_may_be_an_entry_of_a_dict(model, tmp_path, capsys):
    network = nn.Sequential(nn.Flatten(2), nn.Linear(64, 32), LIF(decay=0.9), nn.Linear(32, 10))
    command = evaluate("--model", "of_a_user.py:sequence", "--time-steps", "4", "--weights")
    torch.save({"epoch": 3, "state_dict": network.state_dict(), "optimizer": {"state": {}}}, tmp_path / "one.pt")
    assert main([*command, "one.pt"]) == 0
    torch.save({"state_dict": network.state_dict(), "model": network.state_dict()}, tmp_path / "two.pt")
    torch.save(network, tmp_path / "whole.pt")
    (tmp_path / "page.pt").write_text("<html>not found</html>")
    torch.save({"net": torch.ones(2), "state_dict": network.state_dict()}, tmp_path / "beside.pt")
    assert main([*command, "beside.pt"]) == 0
    torch.save({"recipe": {}, "weights": network.state_dict()}, tmp_path / "epoch-0001.pt")
    for file, text in (
        ("two.pt", "with several states, state_dict and model; save the state alone, torch.save(model.state_dict()"),
        ("page.pt", "of weights: it is damaged, or not of torch.save; save the state"),
        ("whole.pt", "of weights: it holds more than tensors, and is not run; save the state"),
        ("epoch-0001.pt", "is a checkpoint of art-snn train; give it, or its folder, as --checkpoint"),
    ):
        assert text in one_line_error([*command, file], capsys)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--model", "of_a_user.py:loops", "--time-steps", "4"], "itself, leave time_steps out"),
        (["--model", "nowhere:make"], "importing nowhere fails: ModuleNotFoundError"),
        (["--model", "nowhere.py:make"], "there is no file 'nowhere.py'"),
        (["--model", "of_a_user"], "is no package.module:function"),
        (["--model", "of_a_user:make"], "of_a_user has no function 'make'"),
        (["--model", "of_a_user:fails"], "calling it fails: RuntimeError: no weights"),
        (["--model", "of_a_user:other_weights"], "calling it fails: RuntimeError: Error(s) in loading state_dict"),
        (["--model", "of_a_user.py:large"], "it fails on inputs of shape (2, 1, 8, 8): RuntimeError: mat1 and mat2"),
        (["--model", "of_a_user:made"], "made is a network; name a function that returns it"),
        (["--model", "script:make"], "importing script fails: SystemExit: 3"),
        (["--model", "script.py:make"], "running script.py fails: SystemExit: 3"),
        (["--model", "of_a_user:number"], "it returns a int, not a network"),
        (["--model", "of_a_user:plain"], "must be a SpikingNetwork, got Linear"),
        (["--model", "of_a_user:few_classes"], r"expected (N, nb_classes) = (N, 10)"),
        (["--model", "of_a_user:sequence"], "it gives outputs of shape (2, 1, 10) for 2 inputs"),
        (["--model", "of_a_user:parts", "--weights", "none.pt"], "--weights: no weights at none.pt"),
        (["--model", "of_a_user:parts", "--decay", "0.5"], "--decay contradicts --model"),
        (["--model", "of_a_user:parts", "--checkpoint", "runs"], "no checkpoint in 'runs'"),
        (["--model", "of_a_user:parts", "--eps", "8"], "--eps is 8, and inputs have a range of 1"),
        (["--data", "cifar10"], "--data is for --model"),
        (["--weights", "none.pt"], "--weights is for --model"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(model, capsys, words, text):
    assert text in one_line_error(evaluate(*words), capsys)
