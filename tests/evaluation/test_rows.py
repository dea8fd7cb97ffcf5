"""Rows and their written form."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import numpy as np
import pytest

from art_snn import HART
from art_snn.attacks import FGSM, PGD, ClipOnly
from art_snn.errors import ResultsError
from art_snn.evaluation import GridRow, Outcome, Row, wilson_interval
from art_snn.evaluation.rows import measured
from tests.evaluation.plans import grid_row

NOTHING = wilson_interval(0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clean_accuracy": NOTHING, "attack_success_rate": NOTHING, "robust_accuracy": NOTHING},
        {"rule": "", "gamma": None, "zero_gradients": None, "gamma_curve": None, "parameter": "", "gamma_chosen": ""},
        {"eps_step": 0.02, "max_iter": 7, "width": 4, "events": True},
    ],
)
def test_rows_are_read_as_they_were_written(changes):
    row = grid_row(**changes)
    written = json.loads(json.dumps(row.to_json(), allow_nan=False))
    assert GridRow.from_json(written) == row
    assert GridRow.from_json({**written, "later": 1}) == row
    short = Row.from_json(written)
    assert {field.name: getattr(short, field.name) for field in fields(Row)} == {
        field.name: getattr(row, field.name) for field in fields(Row)
    }


def test_shares_are_written_with_their_intervals_and_counts():
    record = grid_row(attack_success_rate=wilson_interval(1, 4), robust_accuracy=NOTHING).to_json()
    share = wilson_interval(1, 4)
    names = [f"attack_success_rate{end}" for end in ("", "_low", "_high", "_hits", "_n")]
    assert [record[name] for name in names] == list(share)
    assert record["robust_accuracy"] is None
    assert math.isnan(GridRow.from_json(record).robust_accuracy.value)


@pytest.mark.parametrize("name", ["eps", "clean_accuracy", "attack_success_rate_hits", "versions"])
def test_missing_entries_are_named(name):
    record = grid_row().to_json()
    del record[name]
    with pytest.raises(ResultsError, match=f"a row lacks '{name}'"):
        GridRow.from_json(record)


def test_measured_takes_the_numbers_of_rule_attack_and_outcome():
    correct, robust = np.array([1, 1, 0, 1], dtype=bool), np.array([0, 1, 0, 0], dtype=bool)
    outcome = Outcome(
        correct=correct, robust=robust, zero_gradient=~correct, changed=correct, losses=np.zeros(4), seconds=2.0
    )
    row = Row(**measured(HART(gamma=0.7), PGD(eps=0.1, eps_step=0.02, steps=3), outcome))
    assert (row.rule, row.rule_title, row.rule_repr, row.gamma) == ("hart", "HART", "HART(gamma=0.7)", 0.7)
    assert (row.attack, row.attack_title, row.eps, row.eps_step, row.max_iter) == ("pgd", "PGD", 0.1, 0.02, 3)
    assert (row.clean_accuracy.hits, row.robust_accuracy.hits) == (3, 1)
    assert (row.attack_success_rate.hits, row.attack_success_rate.total) == (2, 3)
    assert (row.zero_gradients, row.seconds) == (0.25, 2.0)
    control = Row(**measured(None, ClipOnly(), outcome))
    assert (control.rule, control.gamma, control.attack, control.eps) == ("", None, "clip-only", 0.0)
    step = Row(**measured(HART(), FGSM(eps=0.1), outcome))
    assert (step.eps_step, step.max_iter) == (None, None)
