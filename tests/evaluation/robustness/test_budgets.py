"""The budgets that have names, shortened: what each of their stages has to keep to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from art_snn import robustness
from art_snn.evaluation.robustness import BUDGETS, Budget
from art_snn.evaluation.robustness import survey as surveys

EPS = 0.1


def short(name: str, steps: int = 3) -> Budget:
    """Return a budget whose stages take few steps, and whose checks do little."""
    full = BUDGETS[name](EPS)
    stages = [replace(stage, attack=replace(stage.attack, steps=steps)) for stage in full.stages]
    return replace(full, stages=stages, check_samples=2, check_steps=1, unbounded_steps=1, queries=0)


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_has_the_eps_that_was_asked_for(name):
    budget = BUDGETS[name](8 / 255)
    assert budget.name == name
    assert {stage.attack.eps for stage in budget.stages} == {8 / 255}
    assert len({(stage.name, repr(stage.attack)) for stage in budget.stages if not stage.warm}) == sum(
        not stage.warm for stage in budget.stages
    )


def test_dearer_budgets_take_more_steps():
    steps = [sum(stage.steps for stage in BUDGETS[name](EPS).stages) for name in ("quick", "standard", "plus")]
    assert steps[0] * 2 < steps[1]
    assert steps[1] * 2 < steps[2]


@pytest.mark.parametrize("name", ["standard", pytest.param("plus", marks=pytest.mark.slow)])
def test_no_stage_lets_a_sample_depend_on_the_others(classifier, digits, name):
    x, y, budget = digits.x_test[:24], digits.y_test[:24], short(name)
    together = robustness(classifier, x, y, eps=EPS, budget=budget, batch_size=8)
    rows = [int(np.flatnonzero(together.stage == number)[0]) for number in set(together.stage)]
    assert len(rows) > 2
    part = robustness(classifier, x[rows][::-1], y[rows][::-1], eps=EPS, budget=budget, batch_size=8)
    for row, result in zip(rows, range(len(rows))[::-1], strict=True):
        for field in ("broken", "stage", "step", "margin", "forwards", "x_adv"):
            np.testing.assert_array_equal(getattr(part, field)[result], getattr(together, field)[row], err_msg=field)


class StopError(Exception):
    """The evaluation was stopped."""


@pytest.mark.parametrize("name", ["quick", pytest.param("plus", marks=pytest.mark.slow)])
def test_a_budget_that_is_stopped_at_any_stage_has_the_same_result(classifier, digits, tmp_path, monkeypatch, name):
    x, y, budget = digits.x_test[:12], digits.y_test[:12], short(name)
    expected = robustness(classifier, x, y, eps=EPS, budget=budget, batch_size=4)
    search, calls = surveys.search, []

    def once(*args, **options):
        calls.append(None)
        if len(calls) % 2 == 0:
            raise StopError
        return search(*args, **options)

    monkeypatch.setattr(surveys, "search", once)
    monkeypatch.setattr(surveys, "BATCHES", 1)
    stops = 0
    while True:
        try:
            result = robustness(classifier, x, y, eps=EPS, budget=budget, batch_size=4, folder=tmp_path)
            break
        except StopError:
            stops += 1
    assert stops >= len(budget.stages) - 1
    for field in ("broken", "stage", "step", "margin", "forwards", "x_adv"):
        np.testing.assert_array_equal(getattr(result, field), getattr(expected, field), err_msg=field)
    assert result.flags == expected.flags
