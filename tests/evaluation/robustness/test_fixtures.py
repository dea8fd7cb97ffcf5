"""Networks and samples that an evaluation must not be taken in by, and the verdict of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator
from torch import nn

from art_snn import HART, LIF, STBP, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork, robustness
from art_snn.attacks import PGD, SAPGD, SAPGDSpec
from art_snn.attacks.found import Found
from art_snn.evaluation import attack_through
from art_snn.evaluation.robustness import Robustness, SignNoise, Stage, survey
from art_snn.evaluation.robustness.budgets import budget_of
from art_snn.evaluation.robustness.threats import Linf
from tests.conftest import one_thread
from tests.evaluation.robustness.networks import GradientKiller, Guard, like, poisson, small_digits, train_guarded
from tests.evaluation.robustness.walks import SmallWalk, Walk, small_budget

EPS = 0.1


def evaluate(classifier, digits, count=24, **options) -> Robustness:
    options = {"budget": small_budget(**options.pop("small", {})), "batch_size": 16, "eps": EPS} | options
    return robustness(classifier, digits.x_test[:count], digits.y_test[:count], **options)


def fired(result: Robustness) -> set[str]:
    return {flag.name for flag in result.flags if flag.fired}


def test_an_ordinary_network_has_a_number_that_no_check_doubts(classifier, digits):
    stages = [Stage(name="noise", attack=SignNoise(eps=0.05)), Stage(name="walk", attack=Walk(eps=0.05), rule="hart")]
    stages.append(Stage(name="long walk", attack=Walk(eps=0.05, steps=20), rule=STBP()))
    result = evaluate(classifier, digits, 40, eps=0.05, small={"stages": stages})
    assert fired(result) <= {"half interval"}
    assert result.verdict == "reliable"
    assert result.clean.value > result.robust_accuracy.value > 0
    logits = classifier.predict(result.x_adv)
    np.testing.assert_array_equal(logits.argmax(1) == digits.y_test[:40], result.robust)
    assert np.abs(result.x_adv - digits.x_test[:40]).max() <= 0.05 * (1 + 1e-4)
    assert classifier.gradient_rule == HART()


def test_a_network_without_gradients_is_invalid_and_square_breaks_it(classifier, digits):
    small = {"eps": 0.2, "queries": 60, "check_samples": 24}
    result = evaluate(like(classifier, GradientKiller()), digits, eps=0.2, small=small)
    assert result.verdict == "invalid"
    assert {"inputs without a gradient", "gain without gradients"} <= fired(result)
    assert all(row.broken == 0 for row in result.stages[1:])


def test_samples_without_a_gradient_are_not_broken_by_nothing(classifier, digits):
    x = digits.x_test[:24]
    network = like(classifier, GradientKiller(least=float(np.median(x.mean((1, 2, 3))))))
    result = evaluate(network, digits)
    dead = x.mean((1, 2, 3)) >= np.median(x.mean((1, 2, 3)))
    walked = result.broken & (result.stage > 0)
    assert walked.any()
    assert not walked[dead].any()
    assert np.isfinite(result.x_adv).all()
    assert result.verdict == "invalid"


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_what_an_attack_may_not_make_is_no_success(classifier, digits, value):
    stages = [Stage(name="spoilt", attack=Walk(eps=EPS, spoil=lambda x: np.full_like(x, value)), rule="hart")]
    result = evaluate(classifier, digits, small={"stages": stages})
    assert not result.broken.any()
    assert result.robust_accuracy == result.clean
    assert "examples that are not allowed" in fired(result)
    assert result.verdict != "reliable"
    np.testing.assert_array_equal(result.x_adv, digits.x_test[:24])


def test_a_random_network_is_judged_by_most_draws(classifier, digits):
    network = poisson(classifier, time_steps=1, eot_samples=4)
    stages = [Stage(name="noise", attack=SignNoise(eps=0.02, steps=2))]
    few = {"queries": 0, "check_samples": 2, "check_steps": 1, "unbounded_steps": 1, "longer_steps": 1}
    budget = small_budget(0.02, stages=stages, **few)
    lucky, judged = (evaluate(network, digits, 48, eps=0.02, draws=draws, budget=budget) for draws in (1, 20))
    assert judged.draws == 20
    assert lucky.draws == 1
    assert judged.robust_accuracy.value > lucky.robust_accuracy.value + 0.05
    assert "logits that change between calls" not in fired(judged)
    assert judged.verdict != "reliable"  # nothing but noise was tried


class Shy(SmallWalk):
    """An attack that is never sure."""

    def search(self, *args: Any, **kwargs: Any) -> Found:
        found = super().search(*args, **kwargs)
        return found._replace(broken=np.zeros_like(found.broken), step=np.full_like(found.step, -1))


@dataclass(frozen=True, kw_only=True)
class ShyWalk(Walk):
    def make(self, classifier: BaseEstimator, *, batch_size: int = 128) -> EvasionAttack:
        return Shy(classifier, self, batch_size)


def test_a_stage_ends_where_many_draws_are_sure(classifier, digits):
    network = poisson(classifier, time_steps=2, eot_samples=2)
    few = {"queries": 0, "check_samples": 2, "check_steps": 1, "unbounded_steps": 1, "longer_steps": 1}
    stages = [Stage(name="shy walk", attack=ShyWalk(eps=0.3), rule="hart")]
    stages.append(replace(stages[0], name="again", attack=ShyWalk(eps=0.3, steps=1)))
    result = evaluate(network, digits, 24, eps=0.3, draws=5, small={"eps": 0.3, "stages": stages, **few})
    first = result.stage == 0
    assert first.any()
    assert (result.step[first] == 4).all()  # the walk did not say where
    share = np.stack([network.predict(result.x_adv).argmax(1) != digits.y_test[:24] for _ in range(200)]).mean(0)
    assert (share[first] > 0.35).all()  # 25 draws of which 15 are wrong
    assert result.after_steps(0)[-1] == result.stages[0].robust_accuracy.value


def test_what_no_stage_was_sure_of_is_judged_by_many_draws_in_the_end(classifier, digits, monkeypatch):
    monkeypatch.setattr(survey, "SURELY", 2)
    network = poisson(classifier, time_steps=2, eot_samples=2)
    few = {"queries": 0, "check_samples": 2, "check_steps": 1, "unbounded_steps": 1, "longer_steps": 1}
    stages = [Stage(name="shy walk", attack=ShyWalk(eps=0.3), rule="hart")]
    result = evaluate(network, digits, 24, eps=0.3, draws=5, small={"eps": 0.3, "stages": stages, **few})
    assert result.broken.any()
    assert set(result.stage[result.broken]) == {1}
    assert [(row.name, row.attacked, row.broken) for row in result.stages] == [
        ("shy walk", int(result.correct.sum()), 0),
        ("nearest points judged again", int(result.correct.sum()), int(result.broken.sum())),
    ]
    assert result.last_doubling == 0
    draws = np.stack([network.predict(result.x_adv).argmax(1) != digits.y_test[:24] for _ in range(200)]).mean(0)
    assert (draws[result.broken] > 0.3).all()  # 25 draws of which most are wrong
    assert (draws[result.robust] < 0.7).all()
    one = evaluate(network, digits, 24, eps=0.3, draws=1, small={"eps": 0.3, "stages": stages, **few})
    assert sum(row.broken for row in one.stages) == one.broken.sum() > 0
    steady = evaluate(classifier, digits, 24, eps=0.3, small={"eps": 0.3, "stages": stages, **few})
    assert not steady.broken.any()  # what an attack says of a network that is not random stands


@pytest.mark.parametrize(
    ("clip_values", "eps", "said"),
    [((0, 1), 8, r"eps is 8, and the clip values \[0, 1\] a range of 1"), (None, 1.5, "inputs have a range of 1")],
)
def test_an_eps_beyond_the_range_is_refused(classifier, digits, clip_values, eps, said):
    network = like(classifier, clip_values=clip_values)
    with pytest.raises(ValueError, match=said):
        robustness(network, digits.x_test[:8], digits.y_test[:8], eps=eps, budget="quick")


def test_an_eps_of_the_whole_range_is_none_too_many(classifier, digits):
    few = {"queries": 0, "check_samples": 2, "check_steps": 1, "unbounded_steps": 1, "longer_steps": 1}
    assert evaluate(classifier, digits, 2, eps=1.0, small={"eps": 1.0, **few}).broken.any()


def test_gradients_of_one_draw_make_an_upper_bound(classifier, digits):
    stages = [Stage(name="walk", attack=Walk(eps=EPS, steps=1), rule="hart")]
    small = {"stages": stages, "queries": 0, "check_samples": 2, "check_steps": 1, "unbounded_steps": 1}
    one = evaluate(poisson(classifier), digits, 8, draws=3, small=small)
    ten = evaluate(poisson(classifier, eot_samples=10), digits, 8, draws=3, small=small)
    assert "share of the gradient's noise" in fired(one) - fired(ten)
    assert one.verdict != "reliable"


def test_a_sample_has_one_result_alone_and_in_any_batch(classifier, digits):
    x, y = digits.x_test[:48], digits.y_test[:48]
    budget = small_budget(queries=0, check_samples=1, check_steps=1, unbounded_steps=1)
    together = robustness(classifier, x, y, eps=EPS, budget=budget, batch_size=8)
    mixed = robustness(classifier, x[::-1], y[::-1], eps=EPS, budget=budget, batch_size=8)
    assert set(together.stage[together.broken]) >= {1, 2}
    for i in (0, *[int(np.flatnonzero(together.stage == number)[0]) for number in (-1, 1, 2)]):
        alone = robustness(classifier, x[i : i + 1], y[i : i + 1], eps=EPS, budget=budget, batch_size=8)
        for name in ("broken", "stage", "step", "margin", "forwards", "x_adv"):
            expected = getattr(together, name)[i]
            np.testing.assert_array_equal(getattr(alone, name)[0], expected)
            np.testing.assert_array_equal(getattr(mixed, name)[47 - i], expected)


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 48])
def test_no_result_depends_on_the_order(classifier, digits, size):
    x, y = digits.x_test[:48], digits.y_test[:48]
    order = np.random.default_rng(0).permutation(48)
    few = {"check_samples": 1, "check_steps": 1, "unbounded_steps": 1, "longer_steps": 1, "queries": 0}
    budget = replace(budget_of("standard", Linf(EPS)), **few)
    one = robustness(classifier, x, y, eps=EPS, budget=budget, batch_size=size)
    other = robustness(classifier, x[order], y[order], eps=EPS, budget=budget, batch_size=size)
    assert len(set(one.stage)) > 2
    for name in ("broken", "stage", "step", "margin", "forwards", "x_adv"):
        np.testing.assert_array_equal(getattr(one, name)[order], getattr(other, name), err_msg=name)


def test_one_sample_is_enough(classifier, digits):
    result = evaluate(classifier, digits, 1)
    assert result.robust_accuracy.total == 1
    assert "half interval" in fired(result)
    assert result.verdict != "invalid"
    masked = evaluate(like(classifier, GradientKiller()), digits, 1)
    assert masked.verdict == "invalid"


def test_misclassified_samples_are_not_attacked_and_invalid(classifier, digits):
    x, y = digits.x_test[:6], (digits.y_test[:6] + 1) % 10
    result = robustness(classifier, x, y, eps=EPS, budget=small_budget(), batch_size=4)
    assert result.clean.value == result.robust_accuracy.value == 0
    assert not result.broken.any()
    assert (result.forwards == 1).all()
    assert fired(result) == {"clean error", "half interval"}
    assert result.verdict == "invalid"
    np.testing.assert_array_equal(result.x_adv, x)


def three_classes(tied: bool) -> tuple[PyTorchSNNClassifier, np.ndarray, np.ndarray]:
    torch.manual_seed(2)  # with others, some weights give all inputs one class
    last = nn.Linear(12, 3)
    if tied:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), LIF(decay=0.9), last)
    classifier = PyTorchSNNClassifier(
        SpikingNetwork(DirectEncoder(time_steps=4), body),
        nn.CrossEntropyLoss(),
        (1, 4, 4),
        3,
        clip_values=(0, 1),
        device_type="cpu",
    )
    x = np.random.default_rng(0).random((9, 1, 4, 4), dtype=np.float32)
    return classifier, x, classifier.predict(x).argmax(1)


def test_three_classes_are_enough():
    classifier, x, y = three_classes(tied=False)
    result = robustness(classifier, x, y, eps=0.5, budget=small_budget(0.5), batch_size=4)
    assert result.clean.value == 1
    assert "tied largest logits" not in fired(result)
    assert result.verdict != "invalid"


def test_tied_logits_are_said():
    classifier, x, y = three_classes(tied=True)
    result = robustness(classifier, x, y, eps=0.5, budget=small_budget(0.5), batch_size=4)
    assert "tied largest logits" in fired(result)
    assert result.verdict == "invalid"  # no input has a gradient, either


def one_step(width: float) -> PyTorchSNNClassifier:
    """Return a network of one time-step that finds the brightest quarter, with potentials away from the threshold.

    It computes the same function for every width; slopes that end at one threshold are zero from a width of 1 on.
    """
    torch.manual_seed(0)
    quarters = torch.zeros(4, 1, 4, 4)
    for k in range(4):
        quarters[k, 0, 2 * (k // 2) : 2 * (k // 2) + 2, 2 * (k % 2) : 2 * (k % 2) + 2] = 1
    first, last = nn.Linear(16, 64), nn.Linear(64, 4)
    with torch.no_grad():
        levels = torch.linspace(0.5, 3.5, 16).repeat(4)
        first.weight.copy_(quarters.flatten(1).repeat_interleave(16, 0))
        first.bias.copy_(1 - levels)
        last.weight.copy_(torch.eye(4).repeat_interleave(16, 1))
        last.bias.zero_()
    body = nn.Sequential(nn.Flatten(), first, Guard(width), LIF(decay=0.9), last)
    options = {"input_shape": (1, 4, 4), "nb_classes": 4, "clip_values": (0, 1), "device_type": "cpu"}
    return PyTorchSNNClassifier(SpikingNetwork(DirectEncoder(time_steps=1), body), nn.CrossEntropyLoss(), **options)


def test_potentials_out_of_the_reach_of_a_slope_are_found():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.8, (24, 1, 4, 4)).astype(np.float32)
    plain, guarded = one_step(0.0), one_step(1.5)
    y = plain.predict(x).argmax(1)
    np.testing.assert_array_equal(plain.predict(x), guarded.predict(x))
    stages = [Stage(name="walk", attack=Walk(eps=0.2, steps=6), rule="hart")]
    budget = small_budget(0.2, stages=stages, queries=200, check_samples=24)
    seen, blind = (robustness(each, x, y, eps=0.2, budget=budget, batch_size=8) for each in (plain, guarded))
    assert blind.robust_accuracy.value == 1 > seen.robust_accuracy.value
    assert "inputs without a gradient" not in fired(seen)
    assert {"inputs without a gradient", "gain without gradients"} <= fired(blind)
    assert blind.verdict == "invalid"


def test_slopes_that_adapt_are_not_taken_in_by_potentials_out_of_reach():
    x = np.random.default_rng(0).uniform(0.2, 0.8, (40, 1, 4, 4)).astype(np.float32)
    plain, guarded = one_step(0.0), one_step(1.5)
    y = plain.predict(x).argmax(1)
    for rule in (HART(), STBP()):
        fixed = guarded.with_rule(rule, warn=False)
        assert np.abs(fixed.loss_gradient(x, y)).max() == 0
        assert SAPGD(fixed, eps=0.05, steps=30, batch_size=8).search(x, y).broken.mean() <= 0.1  # by the random start
    seen, sharp = (robustness(each, x, y, eps=0.05, budget="quick", batch_size=8) for each in (plain, guarded))
    assert seen.robust_accuracy.value < 0.5
    assert abs(sharp.robust_accuracy.value - seen.robust_accuracy.value) <= 0.05
    assert "inputs without a gradient" not in fired(sharp)
    assert sharp.verdict != "invalid"


@pytest.fixture(scope="module")
def pair(digits) -> list[PyTorchSNNClassifier]:
    """A plain network, and one trained on from it with potentials out of the reach of slopes of a fixed width."""
    plain, guarded = small_digits(), small_digits()
    with one_thread():
        train_guarded(plain.model.network, digits, epochs=5)
        guarded.model.network.load_state_dict(plain.model.network.state_dict())
        train_guarded(guarded.model.network, digits, epochs=20, guard=4.0, weight=4.0)
    return [plain, guarded]


def test_a_network_that_learnt_to_hide_its_gradients_fools_fixed_slopes_and_not_the_number(pair, digits):
    x, y = digits.x_test[150:230], digits.y_test[150:230]
    results = [robustness(each, x, y, eps=EPS, budget="quick", batch_size=80) for each in pair]
    assert min(result.clean.value for result in results) >= 0.85
    left = [result.robust_accuracy.value for result in results]
    assert results[1].verdict != "invalid"
    for rule, attack in product((HART(), STBP()), (PGD(eps=EPS), SAPGDSpec(eps=EPS, steps=30))):
        plain, guarded = (attack_through(each, rule, attack, x, y) for each in pair)
        assert plain.zero_gradients <= 0.05
        assert guarded.zero_gradients >= 0.3
        reported = guarded.robust_accuracy.value
        assert reported >= left[1] + 0.2, f"{attack!r} through {rule!r} sees what adaptive slopes see"
        assert reported - plain.robust_accuracy.value >= left[1] - left[0] + 0.15  # most of the gain is not there
