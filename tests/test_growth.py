"""A new rule, attack, network or data set is a class or function; commands, tables and plots take it as the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from art.attacks.evasion import MomentumIterativeMethod
from torch import Tensor, nn

from art_snn import LIF, DirectEncoder, SpikingNetwork
from art_snn.__main__ import main
from art_snn.attacks import Attack, register_attack
from art_snn.attacks import registry as attacks
from art_snn.data import Framing, Source, Split, load_digits, register_source, sources
from art_snn.evaluation import GridPlan, make_cells, run_grid
from art_snn.paper import epsilon_figure, gamma_figure, write_table
from art_snn.rules import register_rule
from art_snn.rules import registry as rules
from art_snn.rules.base import RateRule
from art_snn.snn.models import register_architecture, table
from art_snn.training import DIGITS_RECIPE, Recipe, train


@dataclass(frozen=True, kw_only=True)
class Toy(RateRule):
    """Let a neuron pass the gradient as much as it fires."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "toy rule"
    gamma: float = 2.0

    def gain(self, record: Any) -> Tensor:
        return self.gamma * record.rate


@dataclass(frozen=True, kw_only=True)
class ToyAttack(Attack):
    """Take two steps with momentum."""

    name: ClassVar[str] = "toyattack"
    title: ClassVar[str] = "momentum"
    eps: float = 0.1

    def make(self, classifier: Any, *, batch_size: int = 128) -> MomentumIterativeMethod:
        options = {"eps": self.eps, "eps_step": self.eps / 2, "max_iter": 2, "batch_size": batch_size}
        return MomentumIterativeMethod(classifier, **options, verbose=False)


def toy_net(*, time_steps: int, nb_classes: int, in_channels: int, **neuron: Any) -> SpikingNetwork:
    """Build one convolution, neurons and a linear layer."""
    first = nn.Conv2d(in_channels, 4, 3, stride=2)
    body = nn.Sequential(first, nn.BatchNorm2d(4), LIF(**neuron), nn.Flatten(), nn.LazyLinear(nb_classes))
    network = SpikingNetwork(DirectEncoder(time_steps=time_steps), body)
    network(torch.zeros(2, in_channels, 12, 10))
    return network


class ToyData(Source):
    """Digits with a frame of zeros, in two channels."""

    name: ClassVar[str] = "toydata"
    title: str = "framed digits"
    fixed_shape: ClassVar[tuple[int, int, int] | None] = (2, 12, 10)
    architecture: ClassVar[str] = "toy_net"

    def load(self, framing: Framing, *, test_share: float | None = None, verbose: bool = False) -> Split:
        x_train, y_train, x_test, y_test = (part[:200] for part in load_digits())
        frame = [(0, 0), (0, 0), (2, 2), (1, 1)]
        x_train, x_test = (np.pad(x, frame).repeat(2, axis=1) for x in (x_train, x_test))
        return Split(x_train, y_train, x_test, y_test)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the toys for one test."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    monkeypatch.setattr(attacks, "_ATTACKS", dict(attacks._ATTACKS))
    monkeypatch.setattr(table, "_ARCHITECTURES", dict(table._ARCHITECTURES))
    monkeypatch.setattr(sources, "_KINDS", list(sources._KINDS))
    register_rule(Toy)
    register_attack(ToyAttack)
    register_architecture("toy network")(toy_net)
    register_source(ToyData)
    return


@pytest.mark.usefixtures("toys")
def test_evaluate_tabulates_and_draws_a_new_rule_and_a_new_attack(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("art_snn.commands.evaluate.DIGITS_RECIPE", replace(DIGITS_RECIPE, epochs=1, time_steps=2))
    files = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "svg")}
    words = ["evaluate", "--rules", "toy,hart", "--attacks", "toyattack,fgsm", "--device", "cpu", "--quiet"]
    words += ["--json", str(files["json"]), "--csv", str(files["csv"]), "--plot", str(files["svg"])]
    assert main(words) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in line.split("|")][1:4] for line in table[1:]] == [
        ["toy rule", "2", "momentum"],
        ["toy rule", "2", "FGSM"],
        ["HART", "1", "momentum"],
        ["HART", "1", "FGSM"],
        ["worst case", "", "momentum"],
        ["worst case", "", "FGSM"],
    ]
    rows = json.loads(files["json"].read_text())["rows"]
    assert [(row["rule"], row["attack"]) for row in rows[:2]] == [("toy", "toyattack"), ("toy", "fgsm")]
    assert all(0 < row["attack_success_rate"] <= 1 for row in rows)
    assert files["csv"].read_text().count("toy rule") == 2
    texts = files["svg"].read_text()
    for text in ("toy rule", "HART", "momentum", "FGSM"):
        assert f"<!-- {text} -->" in texts


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("words", "rules"),
    [
        ("--rules toy,hart --gamma 0.5", ["Toy(gamma=2.0)", "HART(gamma=0.5)"]),
        ("--rules toy,cba --gamma 0.5", ["Toy(gamma=0.5)", "CBA(activation='qcfs', levels=8)"]),
    ],
)
def test_gamma_is_that_of_hart_or_else_of_the_rules_that_have_one(tmp_path, monkeypatch, capsys, words, rules):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("art_snn.commands.evaluate.DIGITS_RECIPE", replace(DIGITS_RECIPE, epochs=1, time_steps=1))
    file = tmp_path / "rows.json"
    words = f"evaluate {words} --attacks fgsm --device cpu --quiet --json {file}"
    assert main(words.split()) == 0
    assert json.loads(Path(file).read_text())["settings"]["rules"] == rules
    capsys.readouterr()


@pytest.mark.usefixtures("toys")
def test_tables_and_figures_of_the_paper_have_a_new_rule_and_a_new_attack(tmp_path):
    few = Split(*(part[:64] for part in load_digits()))
    for seed in (0, 1):
        recipe = Recipe(defence="none", epochs=1, time_steps=1, seed=seed)
        train(recipe, few, tmp_path / f"net-{seed}", device_type="cpu")
    plan = GridPlan(
        targets=[tmp_path / "net-0"],
        sources=[tmp_path / "net-1"],
        rules=["toy", "rga"],
        attacks=[ToyAttack(eps=8 / 255)],
        samples=50,
        tuning_samples=20,
        tune={"toy": "gamma"},
    )
    rows = run_grid(make_cells(plan, tmp_path), tmp_path / "results", device_type="cpu")
    for number, lines in ((2, 1), (3, 1), (5, 2)):
        markdown = write_table(number, rows, tmp_path)[0].read_text()
        assert markdown.splitlines()[2].replace(" ", "").endswith("|RGA|toyrule|")
        assert markdown.count("| momentum |") == lines
        assert "Gamma of toy rule: tuned on a split of its own." in markdown
    for draw, text in ((gamma_figure, "gamma of toy rule"), (epsilon_figure, "toy rule")):
        svg = draw(rows, tmp_path)[1].read_text()
        assert f"<!-- {text} -->" in svg
        assert svg.count("<!-- momentum, black-box -->") == 1


@pytest.mark.usefixtures("toys")
def test_new_networks_and_data_are_trained_evaluated_and_tabulated(tmp_path, capsys):
    runs = [tmp_path / "net", tmp_path / "twin"]
    for seed, run in enumerate(runs):
        words = ["train", "--data", "toydata", "--defence", "none", "--epochs", "2", "--time-steps", "2"]
        assert main([*words, "--seed", str(seed), "--out", str(run), "--device", "cpu", "--quiet"]) == 0
    file = tmp_path / "rows.json"
    words = ["evaluate", "--checkpoint", str(runs[0]), "--rules", "toy", "--attacks", "fgsm", "--json", str(file)]
    assert main([*words, "--device", "cpu", "--quiet"]) == 0
    assert "framed digits" in capsys.readouterr().out
    settings = json.loads(file.read_text())["settings"]
    assert (settings["data"], settings["architecture"]) == ("toydata", "toy_net")
    plan = GridPlan(targets=runs[:1], sources=runs[1:], rules=["rga"], samples=50, tuning_samples=20)
    rows = run_grid(make_cells(plan, tmp_path), tmp_path / "results", device_type="cpu")
    for number in (3, 5):
        cells = write_table(number, rows, tmp_path)[0].read_text().replace(" ", "")
        assert "|frameddigits|toynetwork" in cells
