"""Plans of grids, and the cells that they make."""

from __future__ import annotations

import numpy as np
import pytest

from art_snn.attacks import FGSM, PGD
from art_snn.data import load_digits, sources
from art_snn.errors import DataError
from art_snn.evaluation import Choice, GridPlan, attack_success_rate, make_cells, run_cell, run_grid
from art_snn.evaluation.plan import choose_samples
from art_snn.rules import HART, RGA, STBP
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.run import load_trained
from tests.evaluation.plans import plan


def test_cells_are_networks_times_attacks_times_rules(runs, tmp_path):
    attacks = (FGSM(eps=0.1), PGD(eps=0.2, eps_step=0.07))
    cells = make_cells(plan(runs, rules=("bptr", STBP(gamma=2.0)), attacks=attacks), tmp_path)
    assert [(cell.setting, cell.attack, cell.rule.name) for cell in cells] == [
        (setting, attack, rule)
        for setting in ("white-box", "black-box")
        for attack in attacks
        for rule in ("bptr", "stbp")
    ]
    assert cells[1].rule == STBP(gamma=2.0)
    assert len({cell.key for cell in cells}) == len(cells)


def test_attacks_are_those_of_the_plan(runs, tmp_path):
    def cells(step: float | None = None, **options):
        attacks = [FGSM(eps=0.1), PGD(eps=0.1, eps_step=step)]
        return make_cells(plan(runs, rules=("bptr",), attacks=attacks, **options), tmp_path)

    own = cells(0.07)
    assert [a.key == b.key for a, b in zip(own, cells(), strict=True)] == [True, False] * 2
    rows = run_grid(own, tmp_path / "results")
    assert [(row.eps_step, row.max_iter) for row in rows] == [(None, None), (0.07, 7)] * 2
    assert set(rows[0].versions) == {"art-snn", "adversarial-robustness-toolbox", "torch", "numpy"}
    samples = choose_samples(load_digits(), 30, 20)
    target = load_trained(read_checkpoint(runs[0]), device_type="cpu")[1]
    examples = (
        PGD(eps=0.1, eps_step=0.07).make(target.with_rule("bptr", warn=False)).generate(samples["x"], samples["y"])
    )
    expected = attack_success_rate(target.predict(samples["x"]), target.predict(examples), samples["y"])
    assert rows[1].attack_success_rate == expected
    assert {(row.dataset, row.architecture_title) for row in rows} == {("digits", "digits network")}


def test_samples_outside_the_clip_values_of_a_target_are_refused(runs, tmp_path, monkeypatch):
    data = load_digits()
    monkeypatch.setattr(sources, "load_digits", lambda: data._replace(x_test=255 * data.x_test))
    with pytest.raises(DataError, match=r"x has values from 0 to 255, .* outside the clip values \[0, 1\]"):
        make_cells(plan(runs, rules=("hart",), attacks=[FGSM(eps=0.1)]), tmp_path)


def test_where_all_test_samples_are_attacked_gamma_is_tuned_on_training_samples(runs, tmp_path):
    cells = make_cells(plan(runs, rules=("hart",), attacks=[FGSM(eps=0.1)], samples=450), tmp_path)
    assert {cell.choice for cell in cells} == {Choice.TUNED_ON_TRAIN}
    row = run_cell(cells[0])
    assert row.gamma_chosen == "tuned on training samples"
    assert row.clean_accuracy.total == 450
    assert 0 < row.n_tune <= 20


def test_policies_of_gamma_are_in_the_rows(runs, tmp_path):
    for rule, options, chosen, tuned_on in (
        (HART(gamma=0.7), {"tune": {}}, "given", 0),
        ("hart", {"tune_on_test": True}, "tuned on the evaluation set", 30),
    ):
        cells = make_cells(plan(runs, rules=(rule,), attacks=[FGSM(eps=0.1)], **options), tmp_path)
        row = run_grid(cells, tmp_path / "results")[0]
        assert row.gamma_chosen == chosen
        if tuned_on:
            assert row.gamma_curve[0][2] <= tuned_on
            assert row.gamma_curve[0][2] == row.attack_success_rate.total
        else:
            assert row.gamma == 0.7
            assert row.gamma_curve is None


def test_any_number_of_any_rule_is_tuned(runs, tmp_path):
    tuned = {"stbp": "gamma"}
    rules = ("hart", "stbp", STBP(detach_reset=True), HART(gamma=0.7), "bptr", RGA(slope_below=0.3))
    cells = make_cells(plan(runs, rules=rules, attacks=[FGSM(eps=0.1)], tune=tuned), tmp_path)[: len(rules)]
    assert [(cell.parameter, cell.choice.value) for cell in cells] == [
        ("", "given"),
        ("gamma", "tuned on a split of its own"),
        ("gamma", "tuned on a split of its own"),
        ("", "given"),
        ("", ""),
        ("", ""),
    ]
    row = run_cell(cells[2])
    assert row.rule_repr == f"STBP(gamma={row.gamma}, detach_reset=True)"
    assert row.gamma in [point[0] for point in row.gamma_curve]
    defaults = make_cells(plan(runs, rules=("hart", "stbp"), attacks=[FGSM(eps=0.1)]), tmp_path)
    assert [(cell.parameter, cell.choice.value) for cell in defaults[:2]] == [
        ("gamma", "tuned on a split of its own"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rules": ("magic",)}, ValueError, "magic"),
        ({"attacks": ("cw",)}, TypeError, "an attack must be an Attack such as .* got 'cw'"),
        ({"samples": 0}, ValueError, "samples must be a whole number >= 1, got 0"),
        ({"tuning_samples": 0}, ValueError, "tuning_samples must be a whole number >= 1, got 0"),
        ({"tune": {"hrat": "gamma"}}, ValueError, "unknown gradient rule 'hrat'"),
        ({"tune": {"hart": "gama"}}, ValueError, r"HART\(gamma=1.0\) has no number 'gama' to tune; it has gamma"),
        ({"tune": {"bptr": "gamma"}}, ValueError, "it has none"),
    ],
)
def test_bad_plans_are_refused(runs, options, error, message):
    with pytest.raises(error, match=message):
        plan(runs, **options)


def test_plans_need_targets_and_a_source_for_each(runs):
    with pytest.raises(ValueError, match="targets is empty"):
        GridPlan(targets=[], rules=("hart",))
    with pytest.raises(ValueError, match=r"sources must be one per target \(1\), got 2"):
        GridPlan(targets=[runs[0]], sources=list(runs), rules=("hart",))


def test_tuning_samples_are_apart_in_the_file_of_samples(runs, tmp_path):
    (cell, *_) = make_cells(plan(runs), tmp_path)
    with np.load(cell.samples.path) as archive:
        assert len(archive["x"]) == 30
        assert len(archive["x_tune"]) == 20
        attacked = {image.tobytes() for image in archive["x"]}
        assert not attacked & {image.tobytes() for image in archive["x_tune"]}


def test_samples_are_stratified_and_apart():
    data = load_digits()
    chosen = choose_samples(data, 100, 50)
    assert np.bincount(chosen["y"]).tolist() == [10] * 10
    attacked = {image.tobytes() for image in chosen["x"]}
    assert not attacked & {image.tobytes() for image in chosen["x_tune"]}
    assert chosen["tuned"] == "tuned on a split of its own"
    whole = choose_samples(data, 450, 50)
    assert whole["tuned"] == "tuned on training samples"
    training = {image.tobytes() for image in data.x_train}
    assert all(image.tobytes() in training for image in whole["x_tune"])


def test_rules_that_are_given_as_values_are_tuned_only_where_the_plan_asks_for_it(runs, tmp_path):
    rules, attacks = ("hart", HART(gamma=0.7)), [FGSM(eps=0.1)]
    cells = make_cells(plan(runs, rules=rules, attacks=attacks), tmp_path)[:2]
    assert [(cell.parameter, cell.choice.value) for cell in cells] == [
        ("gamma", "tuned on a split of its own"),
        ("", "given"),
    ]
    assert cells[1].rule == HART(gamma=0.7)
    asked = make_cells(plan(runs, rules=rules, attacks=attacks, tune={"HART": "gamma"}), tmp_path)[:2]
    assert [cell.parameter for cell in asked] == ["gamma", "gamma"]
