"""Robust accuracy over eps, and losses over steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from art_snn import robustness
from art_snn.attacks import FGSM, PGD
from art_snn.attacks.losses import LOSSES
from art_snn.evaluation import Proportion, evaluate_rules, wilson_interval
from art_snn.evaluation.robustness import Budget, SignNoise, Stage
from art_snn.plots import attack_losses, loss_curves, robust_accuracy
from art_snn.rules import HART
from tests.attacks.searches import ATTACKS, clipped, correct, watched_iterates


def drawn(figure):
    (axes,) = figure.axes
    return {line.get_label(): [list(values) for values in line.get_data()] for line in axes.lines}


def test_curves_rise_in_eps_and_have_their_bands():
    points = {eps: wilson_interval(hits, 20) for eps, hits in ((0.2, 3), (0.1, 12))}
    figure = robust_accuracy({"HART": list(points.items()), "best of all": [(0.1, (0.2, 0.1, 0.3))]}, title="digits")
    (axes,) = figure.axes
    assert drawn(figure) == {"HART": [[0.1, 0.2], [60.0, 15.0]], "best of all": [[0.1], [20.0]]}
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(100 * points[0.2].low)
    assert band.max() == pytest.approx(100 * points[0.1].high)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["HART", "best of all"]
    assert "units of the input" in axes.get_xlabel()
    assert axes.get_title() == "digits"


def test_rows_are_curves_from_the_clean_accuracy_on(small):
    classifier, x = small
    y = correct(classifier, x)
    rules = [HART(gamma=0.5), HART(gamma=1.0), "stbp"]
    rows = list(evaluate_rules(classifier, x, y, rules=rules, attacks=[PGD(eps=0.2), PGD(eps=0.1)]))
    curves = drawn(robust_accuracy(rows))
    assert list(curves) == ["HART(gamma=0.5)", "HART(gamma=1.0)", "STBP"]
    for label, rule in zip(curves, rules, strict=True):
        mine = {row.eps: row.robust_accuracy.value for row in rows if rule in (row.rule, HART(gamma=row.gamma or 1))}
        if label != "STBP":
            mine = {row.eps: row.robust_accuracy.value for row in rows if row.rule_repr == label}
        assert curves[label] == [[0.0, 0.1, 0.2], [100.0, 100 * mine[0.1], 100 * mine[0.2]]]
    both = [*rows, *evaluate_rules(classifier, x, y, rules=["stbp"], attacks=[FGSM(eps=0.1)])]
    assert "STBP, FGSM" in drawn(robust_accuracy(both))
    with pytest.raises(ValueError, match=r"curves\['STBP'\] has two points at eps 0.1"):
        robust_accuracy([*rows, replace(rows[-1], attack_repr="PGD(eps=0.1, steps=9)")])


def test_a_legend_of_long_labels_is_below_the_axes():
    long = "plain autograd, arctangent of slope 10"
    figure = robust_accuracy({long: [(0.1, (0.2, 0.1, 0.3))], "HART": [(0.1, (0.2, 0.1, 0.3))]})
    assert figure.axes[0].get_legend() is None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [long, "HART"]


@pytest.mark.parametrize("curves", [{}, []])
def test_nothing_to_draw_is_an_error(curves):
    with pytest.raises(ValueError, match="curves is empty"):
        robust_accuracy(curves)


def test_points_that_are_none_are_named():
    share = Proportion(0.5, 0.4, 0.6, 5, 10)
    with pytest.raises(TypeError, match=r"curves\['a'\] must hold pairs \(eps, share\)"):
        robust_accuracy({"a": [(0.1, 0.5)]})
    with pytest.raises(TypeError, match=r"curves\['a'\] must hold pairs"):
        robust_accuracy({"a": [share]})
    with pytest.raises(ValueError, match=r"curves\['a'\] is empty"):
        robust_accuracy({"a": []})
    with pytest.raises(TypeError, match="curves must be rows of evaluate_rules, or map labels to points, got float"):
        robust_accuracy([0.5])
    with pytest.raises(TypeError, match=r"or map labels to points, got float"):
        robust_accuracy(0.5)


def test_results_of_robustness_are_drawn_as_the_error_says(small):
    classifier, x = small
    y = correct(classifier, x)
    results = []
    for eps in (0.2, 0.1):
        stages = [Stage(name="noise", attack=SignNoise(eps=eps))]
        budget = Budget(name="noise", stages=stages, check_samples=1, unbounded_steps=1, queries=0)
        results.append(robustness(classifier, x, y, eps=eps, budget=budget))
    for given in (results, results[0]):
        with pytest.raises(TypeError, match="got Robustness; give") as refused:
            robust_accuracy(given)
    curves = eval(str(refused.value).partition("; give ")[2], {"results": results})
    left = [100 * result.robust_accuracy.value for result in reversed(results)]
    assert drawn(robust_accuracy(curves)) == {"network": [[0.1, 0.2], left]}


@pytest.mark.parametrize("attack", ATTACKS)
def test_losses_are_those_at_the_iterates(attack):
    classifier, x = clipped()
    y = correct(classifier, x)
    y[0] = (y[0] + 1) % 5  # misclassified from the beginning
    made = attack(classifier, eps=0.02, steps=6, batch_size=4, loss="margin")
    with watched_iterates() as seen:
        losses = attack_losses(made, x, y)
    assert losses.shape == (4, 6)
    assert np.isnan(losses[0]).all()
    assert np.isfinite(losses[1:]).all()
    found = made.search(x, y)
    for step, batch in enumerate(seen):
        for row, sample in enumerate((1, 2, 3)):
            if found.step[sample] == -1 or step <= found.step[sample]:
                logits, label = classifier.predict(batch[row : row + 1])[0], y[sample]
                margin = np.delete(logits, label).max() - logits[label]
                assert losses[sample, step] == pytest.approx(margin, rel=1e-4, abs=1e-5)
    assert len(LOSSES) == 2


def test_the_last_loss_of_a_sample_stands_in_later_columns():
    classifier, x = clipped()
    y = correct(classifier, x)
    made = ATTACKS[0](classifier, eps=0.3, steps=8, batch_size=2)
    found = made.search(x, y)
    quick = np.flatnonzero(found.broken & (found.step < 7))
    assert len(quick)
    losses = attack_losses(made, x, y)
    for sample in quick:
        assert len(set(losses[sample, found.step[sample] :])) == 1


def test_curves_of_losses_are_mean_and_quartiles():
    rng = np.random.default_rng(0)
    table = np.concatenate([rng.random((9, 5)), np.full((1, 5), np.nan)])
    figure = loss_curves({"HART": table, "STBP": rng.random((3, 2))})
    (axes,) = figure.axes
    np.testing.assert_allclose(drawn(figure)["HART"], [range(5), table[:9].mean(0)])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(np.quantile(table[:9], 0.25, axis=0).min())
    assert band.max() == pytest.approx(np.quantile(table[:9], 0.75, axis=0).max())
    assert axes.get_ylabel().endswith("(cross-entropy, nats)")


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        ([1.0], TypeError, "losses must map labels to arrays"),
        ({}, ValueError, "losses is empty"),
        ({"a": np.zeros(3)}, ValueError, r"losses\['a'\] has shape \(3,\), expected \(N, steps\)"),
        ({"a": np.full((2, 3), np.nan)}, ValueError, "all rows are NaN"),
        ({"a": np.array([[0.0, np.nan]])}, ValueError, "holds NaN beside numbers"),
    ],
)
def test_losses_that_are_none_are_named(losses, error, message):
    with pytest.raises(error, match=message):
        loss_curves(losses)


def test_losses_of_other_attacks_are_refused(small):
    classifier, x = small
    with pytest.raises(TypeError, match="attack must be SAPGD"):
        attack_losses(PGD().make(classifier), x, correct(classifier, x))
