"""A new rule or attack is one class: the commands, tables and plots take it as they take the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from art.attacks.evasion import MomentumIterativeMethod
from torch import Tensor

from art_snn.__main__ import main
from art_snn.attacks import Attack, register_attack
from art_snn.attacks import registry as attacks
from art_snn.data import Split, load_digits
from art_snn.evaluation import GridPlan, make_cells, run_grid
from art_snn.paper import epsilon_figure, gamma_figure, write_table
from art_snn.rules import register_rule
from art_snn.rules import registry as rules
from art_snn.rules.base import RateRule
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


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the toys for one test."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    monkeypatch.setattr(attacks, "_ATTACKS", dict(attacks._ATTACKS))
    register_rule(Toy)
    register_attack(ToyAttack)
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
