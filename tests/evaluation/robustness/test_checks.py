"""Each check fires where it must, and not where it need not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import PyTorchSNNClassifier
from art_snn.attacks import SAPGDSpec
from art_snn.evaluation.robustness import SignNoise, Stage, Verdict, attack_checks, network_checks, strength_checks
from art_snn.evaluation.robustness.flags import Flag, flag, not_run, verdict_of
from art_snn.evaluation.robustness.judging import Judge
from art_snn.evaluation.robustness.probe import Probe
from art_snn.evaluation.robustness.run import CHECKS
from art_snn.evaluation.robustness.store import PieceStore
from art_snn.evaluation.robustness.survey import begin, run_stage
from art_snn.evaluation.robustness.threats import Linf
from tests.evaluation.robustness.networks import GradientKiller, like, poisson
from tests.evaluation.robustness.walks import Walk, small_budget
from tests.pages import ROOT

EPS = 0.1


def probe_of(classifier: PyTorchSNNClassifier, digits: Any, count: int = 16, **options: Any) -> Probe:
    """Return what the checks see after the stages of a small budget."""
    eps = options.pop("eps", EPS)
    shift, budget = options.pop("shift", 0), small_budget(eps, **options)
    x, y = digits.x_test[:count], (digits.y_test[:count] + shift) % 10
    judge, store = Judge(classifier, Linf(eps), 8, 3), PieceStore(None, {})
    survey = begin(judge, x, y, store)
    for number, stage in enumerate(budget.stages):
        run_stage(number, stage, survey, judge, x, y, store)
    return Probe(judge, budget, survey, x, y)


@pytest.fixture
def fine(classifier, digits) -> Probe:
    return probe_of(classifier, digits)


def with_predict(probe: Probe, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Probe:
    """Return a probe whose classifier predicts something else: a function of the inputs and logits."""
    view = probe.classifier.with_rule("hart")
    predict = view.predict
    view.predict = lambda x, **options: change(x, predict(x, **options))
    return replace(probe, judge=Judge(view, probe.judge.threat, probe.judge.batch_size, 1))


def test_no_check_fires_on_an_ordinary_network(fine):
    flags = {name: check(fine) for name, check in CHECKS.items() if name != "samples"}
    assert not [flag.name for flag in flags.values() if flag.fired]
    assert {name for name, flag in flags.items() if flag.value is None} == {"encodings"}


def test_guessing_is_found(classifier, digits):
    found = network_checks.check_clean(probe_of(classifier, digits, 4, shift=1))
    assert found.fired
    assert found.verdict is Verdict.INVALID


@pytest.mark.parametrize(("count", "fires"), [(16, True), (450, False)])
def test_few_samples_are_noted(fine, count, fires):
    found = network_checks.check_samples_count(replace(fine, x=np.zeros((count, 1))))
    assert found.fired == fires
    assert found.verdict is None


def test_inputs_outside_the_clip_values_are_found(fine):
    found = network_checks.check_clip_values(replace(fine, x=fine.x * 1.5))
    assert found.fired
    assert "values from 0 to 1.5" in found.detail


@pytest.mark.parametrize(("clip_values", "fires"), [((0, 255), True), ((0, 99), False), ((-1, 1), False)])
def test_clip_values_of_another_unit_are_found(fine, clip_values, fires):
    assert (fine.x.min(), fine.x.max()) == (0, 1)
    view = fine.classifier.with_rule("hart")
    view.set_params(clip_values=clip_values)
    probe = replace(fine, judge=Judge(view, fine.judge.threat, 8, 1))
    found = network_checks.check_unused_range(probe)
    assert found.fired == fires
    assert found.value == clip_values[1] - clip_values[0]
    assert found.verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("clip_values", "scale", "why"),
    [(None, 1, "no clip values"), ((0, 1), 0, "all inputs are the same"), ((0, np.inf), 1, "have no end")],
)
def test_clip_values_that_say_nothing_are_not_compared(fine, clip_values, scale, why):
    view = fine.classifier.with_rule("hart")
    view._clip_values = clip_values  # ART wants ends
    found = network_checks.check_unused_range(replace(fine, judge=Judge(view, Linf(EPS), 8, 1), x=fine.x * scale))
    assert (found.value, found.fired) == (None, False)
    assert why in found.detail


def test_inputs_of_no_range_have_no_larger_eps(fine):
    view = fine.classifier.with_rule("hart")
    for clip_values, scale in ((None, 0), ((-np.inf, np.inf), 1)):
        view._clip_values = clip_values  # ART wants ends
        found = attack_checks.check_unbounded(
            replace(fine, judge=Judge(view, Linf(EPS), 8, 1), x=fine.x * np.float32(scale))
        )
        assert (found.value, found.fired) == (None, False)
        assert "have a range with ends" in found.detail


@pytest.mark.parametrize(("scale", "fires"), [(1, False), (99, False), (255, True)])
def test_eps_of_another_unit_is_found(fine, scale, fires):
    found = network_checks.check_unit(replace(fine, x=fine.x * scale))
    assert found.fired == fires
    assert found.value == pytest.approx(scale / EPS)
    assert found.verdict is Verdict.UPPER_BOUND


def test_logits_that_drift_are_found(fine):
    calls = iter(range(100))
    found = network_checks.check_repeatable(with_predict(fine, lambda x, z: z + 0.1 * next(calls)))
    assert found.fired
    assert found.verdict is Verdict.INVALID
    assert not network_checks.check_repeatable(with_predict(fine, lambda x, z: z + 0.1)).fired


def test_logits_that_depend_on_the_batch_are_found(fine):
    found = network_checks.check_batch(with_predict(fine, lambda x, z: z + x.mean()))
    assert found.fired
    assert found.verdict is Verdict.INVALID


def test_tied_logits_are_found(fine):
    assert network_checks.check_ties(with_predict(fine, lambda x, z: np.minimum(z, np.sort(z)[:, -2:-1]))).fired


def test_probabilities_are_found(fine):
    def softmax(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)

    assert network_checks.check_probabilities(with_predict(fine, softmax)).fired


def test_a_graph_of_another_function_is_found(fine):
    original = type(fine.classifier).compute_loss
    with pytest.MonkeyPatch.context() as patch:

        def other(self: Any, x: Any, y: Any, **options: Any) -> Any:
            losses = original(self, x, y, **options)
            return losses * 1.01 if isinstance(x, torch.Tensor) else losses

        patch.setattr(type(fine.classifier), "compute_loss", other)
        assert network_checks.check_replay(fine).fired


@pytest.mark.parametrize(("samples", "fires"), [(1, True), (10, False)])
def test_gradients_that_are_mostly_noise_are_found(classifier, digits, samples, fires):
    stages = [Stage(name="noise", attack=SignNoise(eps=EPS, steps=1))]
    probe = probe_of(poisson(classifier, eot_samples=samples), digits, 4, stages=stages)
    assert network_checks.check_encodings(probe).fired == fires
    for check in (network_checks.check_repeatable, network_checks.check_batch):
        assert "random" in check(probe).detail


def test_missing_gradients_are_found(classifier, digits):
    found = attack_checks.check_gradients(probe_of(like(classifier, GradientKiller()), digits, 8))
    assert found.fired
    assert found.value == 1
    assert found.verdict is Verdict.INVALID


def test_gradients_that_are_not_finite_are_found(fine):
    view = fine.classifier.with_rule("hart")
    original = view.with_rule

    def spoilt(*args: Any, **options: Any) -> PyTorchSNNClassifier:
        made = original(*args, **options)
        checked = made._checked_gradient
        made._checked_gradient = lambda grad, x: checked(grad * torch.nan, x)
        return made

    view.with_rule = spoilt
    found = attack_checks.check_gradients(replace(fine, judge=Judge(view, Linf(EPS), 8, 1)))
    assert found.value == 1


def test_an_attack_that_cannot_win_is_found(fine):
    stages = [Stage(name="lost", attack=Walk(eps=EPS, most_eps=EPS), rule="hart")]
    budget = small_budget(stages=stages)
    found = attack_checks.check_unbounded(replace(fine, budget=budget))
    assert found.fired
    assert found.verdict is Verdict.INVALID


def test_an_attack_that_large_eps_confuses_is_found(classifier, digits):
    stages = [Stage(name="lost", attack=Walk(eps=0.2, most_eps=0.2), rule="hart")]
    found = attack_checks.check_monotone(probe_of(classifier, digits, eps=0.2, stages=stages))
    assert found.fired
    assert found.verdict is Verdict.INVALID


def test_steps_that_are_worse_than_one_are_found(classifier, digits):
    probe = probe_of(classifier, digits, 32, eps=0.2, check_steps=1, check_samples=32)
    found = attack_checks.check_steps(probe)
    assert found.fired
    assert found.verdict is Verdict.UPPER_BOUND


def test_queries_find_masked_gradients(classifier, digits):
    masked = like(classifier, GradientKiller())
    found = strength_checks.check_queries(probe_of(masked, digits, eps=0.2, queries=100))
    assert found.fired
    assert "of 16 survivors in 100 queries of Square" in found.detail


@pytest.mark.parametrize("masked", [True, False])
def test_queries_take_inputs_without_a_range_or_a_form(classifier, digits, masked):
    layers = [GradientKiller()] if masked else []
    boundless = like(classifier, *layers, clip_values=None)
    unclipped = strength_checks.check_queries(probe_of(boundless, digits, queries=100))
    flat = digits._replace(x_test=digits.x_test.reshape(-1, 64))
    vectors = like(classifier, nn.Unflatten(1, (1, 8, 8)), *layers, input_shape=(64,))
    formless = strength_checks.check_queries(probe_of(vectors, flat, queries=100))
    for found in (unclipped, formless):
        assert found.fired == masked
        assert "100 queries of random search" in found.detail


def test_queries_say_why_they_do_not_run(classifier, digits):
    assert "no queries" in strength_checks.check_queries(probe_of(classifier, digits, 2, queries=0)).detail
    broken = probe_of(classifier, digits, 2, eps=1.0)
    assert "no sample is left" in strength_checks.check_queries(broken).detail


class Scrambled(nn.Module):
    """The identity, whose gradient has its size and another direction."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Scramble.apply(x)


class Scramble(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        signs = torch.rand(gradient.shape, generator=torch.Generator().manual_seed(1)) < 0.5
        return gradient.abs() * (2 * signs.to(gradient) - 1)


def test_gradients_that_point_nowhere_are_found(classifier, digits):
    stages = [Stage(name="walk", attack=Walk(eps=EPS, steps=1), rule=rule) for rule in ("hart", "stbp")]
    found = {
        layer: strength_checks.check_direction(
            probe_of(like(classifier, layer()), digits, 48, stages=stages, check_samples=48)
        )
        for layer in (Scrambled, GradientKiller, nn.Identity)
    }
    assert {layer: flag.fired for layer, flag in found.items()} == {
        Scrambled: True,
        GradientKiller: True,
        nn.Identity: False,
    }
    assert found[GradientKiller].value == 0.5
    assert found[nn.Identity].value <= 0.15
    assert found[Scrambled].verdict is Verdict.UPPER_BOUND


def test_more_steps_that_break_more_are_found(classifier, digits):
    stages = [Stage(name="walk", attack=SAPGDSpec(eps=EPS, steps=1), rule="hart")]
    few = {"stages": stages, "check_samples": 32}
    found = strength_checks.check_longer(probe_of(classifier, digits, 32, longer_steps=30, **few))
    assert found.fired
    assert "survivors in 30 steps" in found.detail
    few["stages"] = [replace(stages[0], attack=SAPGDSpec(eps=EPS, steps=30))]
    assert not strength_checks.check_longer(probe_of(classifier, digits, 32, longer_steps=2, **few)).fired
    everything = probe_of(classifier, digits, 4, eps=1.0, stages=[replace(stages[0], attack=SAPGDSpec(eps=1.0))])
    assert "no sample is left" in strength_checks.check_longer(everything).detail


def test_an_evaluation_without_a_gradient_is_found(classifier, digits):
    noise = [Stage(name="noise", attack=SignNoise(eps=EPS))]
    assert strength_checks.check_rule(probe_of(classifier, digits, 3, stages=noise)).fired
    assert not strength_checks.check_rule(probe_of(classifier, digits, 3)).fired


@pytest.mark.parametrize("count", [1, 2, 3])
def test_missing_gradients_are_found_at_few_samples(classifier, digits, count):
    probe = probe_of(like(classifier, GradientKiller()), digits, 8, check_samples=count)
    assert attack_checks.check_gradients(probe).fired
    assert not attack_checks.check_gradients(probe_of(classifier, digits, 8, check_samples=count)).fired


def test_noise_that_breaks_samples_is_noted(classifier, digits):
    found = attack_checks.check_noise(probe_of(classifier, digits, eps=0.4))
    assert found.fired
    assert found.verdict is None


def test_examples_that_are_not_allowed_are_found(classifier, digits):
    stages = [Stage(name="spoilt", attack=Walk(eps=EPS, spoil=lambda x: x + 1), rule="hart")]
    assert attack_checks.check_refused(probe_of(classifier, digits, stages=stages)).fired


def test_examples_that_do_not_stand_are_found(fine):
    confirmed = attack_checks.confirm(fine)
    np.testing.assert_array_equal(confirmed, fine.survey.stage >= 0)
    assert confirmed.any()
    assert not attack_checks.check_confirmed(fine, confirmed).fired
    right = with_predict(fine, lambda x, z: np.eye(10)[np.zeros(len(z), int)])
    right = replace(right, y=np.zeros_like(fine.y))
    assert attack_checks.check_confirmed(right, attack_checks.confirm(right)).fired


def test_examples_that_do_not_stand_are_judged_as_the_documentation_says(classifier, digits):
    page = (ROOT / "docs" / "how_to" / "report_robustness.md").read_text(encoding="utf-8")
    row = re.search(r"^\| examples that do not stand \|.*$", page, flags=re.MULTILINE)[0]
    noise = [Stage(name="noise", attack=SignNoise(eps=0.4, steps=1))]
    random = probe_of(poisson(classifier), digits, 2, eps=0.4, stages=noise)
    for probe, share, verdict in ((probe_of(classifier, digits, 2), 1, "invalid"), (random, 5, "upper bound only")):
        count = 1000
        many = replace(probe, survey=replace(probe.survey, stage=np.zeros(count, int)))
        found = attack_checks.check_confirmed(many, np.ones(count, bool))
        assert found.threshold == share / 100
        assert found.verdict is Verdict(verdict)
        assert f"more than {share} %" in row
        assert verdict in row


def test_checks_without_samples_or_rules_say_so(classifier, digits):
    nobody = probe_of(classifier, digits, 3, shift=1)
    ruleless = probe_of(classifier, digits, 3, stages=[Stage(name="noise", attack=SignNoise(eps=EPS))])
    for name in ("gradients", "unbounded", "monotone", "steps", "direction"):
        assert "no sample is classified correctly" in CHECKS[name](nobody).detail
        assert "no stage has a rule" in CHECKS[name](ruleless).detail
        assert not CHECKS[name](nobody).fired


def test_a_verdict_is_the_worst_that_fired():
    def made(verdict: Verdict | None, value: float) -> Flag:
        return flag("name", value, 1.0, verdict, "meaning")

    assert verdict_of([made(Verdict.INVALID, 1.0), made(None, 2.0)]) is Verdict.RELIABLE
    assert verdict_of([made(Verdict.UPPER_BOUND, 1.1), made(Verdict.INVALID, 0.9)]) is Verdict.UPPER_BOUND
    assert verdict_of([made(Verdict.UPPER_BOUND, 1.1), made(Verdict.INVALID, np.nan)]) is Verdict.INVALID
    assert verdict_of([not_run("name", 1.0, Verdict.INVALID, "meaning", "why")]) is Verdict.RELIABLE


def test_a_flag_is_written_and_read():
    for each in (flag("a", 2, 1, Verdict.INVALID, "b", "c"), not_run("a", 1, None, "b", "c")):
        assert Flag.from_json(each.to_json()) == each
    assert str(flag("a", 2, 1, None, "b", "c")) == "a: 2 (at most 1), FIRED; c"
    assert str(not_run("a", 1, None, "b", "c")) == "a: not run; c"
