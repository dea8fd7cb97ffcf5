"""Stages, budgets, noise and judging, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_snn import (
    HART,
    LIF,
    EventFrameEncoder,
    PyTorchSNNClassifier,
    SpikingNetwork,
    UnsupportedInputError,
    adapt,
    get_rule,
    robustness,
)
from art_snn.attacks import FGSM, SAPGDSpec
from art_snn.evaluation.robustness import Budget, SignNoise, Stage
from art_snn.evaluation.robustness.card import model_card
from art_snn.evaluation.robustness.flags import Flag, Verdict
from art_snn.evaluation.robustness.judging import Judge, sample_seeds, seeded
from art_snn.evaluation.robustness.noise import margins
from art_snn.evaluation.robustness.result import last_doubling
from art_snn.evaluation.robustness.threats import Linf
from tests.evaluation.robustness.networks import poisson
from tests.evaluation.robustness.walks import Walk, small_budget


def test_a_stage_takes_a_rule_by_its_name():
    stage = Stage(name="walk", attack=Walk(eps=0.1), rule="hart")
    assert stage.rule == HART()
    assert (stage.steps, stage.rule_title) == (4, "HART")
    assert Stage(name="noise", attack=SignNoise()).rule_title == ""


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Stage(name="a", attack="walk"), TypeError, "attack must be an Attack"),
        (lambda: Stage(name="a", attack=Walk(), rule="hartt"), ValueError, "did you mean 'hart'"),
        (lambda: small_budget(stages=[]), ValueError, "stages is empty"),
        (lambda: small_budget(stages=[Walk()]), TypeError, "stages must hold Stage"),
        (lambda: small_budget(queries=-1), ValueError, "queries must be"),
        (lambda: small_budget(check_steps=0), ValueError, "check_steps must be"),
        (lambda: SignNoise(eps=0), ValueError, "eps must be"),
        (lambda: SignNoise(steps=0), ValueError, "steps must be"),
    ],
)
def test_wrong_stages_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_stages_of_several_eps_are_refused():
    stages = [Stage(name="a", attack=Walk(eps=0.1)), Stage(name="b", attack=Walk(eps=0.2))]
    with pytest.raises(ValueError, match=r"one eps, got 0\.1 and 0\.2"):
        Budget(name="both", stages=stages)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eps": 0}, ValueError, "eps must be a finite number > 0, got 0"),
        (
            {"eps": 0.2, "budget": small_budget(0.1)},
            ValueError,
            r"eps=0\.2 is asked for, but the stages of the budget have eps=0\.1",
        ),
        ({"budget": "huge"}, ValueError, "budget must be .* got 'huge'"),
        ({"budget": 3}, TypeError, "budget must be a name or a Budget"),
        ({"draws": 0}, ValueError, "draws must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"card": ["PGD"]}, TypeError, r"card must map names to texts, .* got \['PGD'\]"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(classifier, digits, tmp_path, options, error, message):
    options = {"eps": 0.1, "budget": small_budget(0.1), **options}
    with pytest.raises(error, match=message):
        robustness(classifier, digits.x_test[:2], digits.y_test[:2], folder=tmp_path / "pieces", **options)
    with pytest.raises(ValueError, match="x is empty"):
        robustness(classifier, digits.x_test[:0], digits.y_test[:0], eps=0.1, budget=small_budget(0.1))
    assert not (tmp_path / "pieces").exists()


def test_samples_may_have_every_form_that_predict_takes(classifier, digits):
    x, y = digits.x_test[:3], digits.y_test[:3]
    budget = small_budget(check_samples=1, queries=0)
    expected = robustness(classifier, x, y, eps=0.1, budget=budget, batch_size=4).x_adv
    for given, labels in ((x.tolist(), y.tolist()), (x.astype(np.float64), np.eye(10)[y]), (torch.from_numpy(x), y)):
        result = robustness(classifier, given, labels, eps=0.1, budget=budget, batch_size=np.int64(4))
        np.testing.assert_array_equal(result.x_adv, expected)


def frames() -> tuple[PyTorchSNNClassifier, np.ndarray, np.ndarray]:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), LIF(decay=0.9), nn.Linear(16, 4))
    network = SpikingNetwork(EventFrameEncoder(), body)
    options = {"input_shape": (3, 2, 4, 4), "nb_classes": 4, "clip_values": (0, 3), "device_type": "cpu"}
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), **options)
    x = np.random.default_rng(0).integers(0, 4, (6, 3, 2, 4, 4)).astype(np.float32)
    return classifier, x, classifier.predict(x).argmax(1)


def test_event_frames_are_refused_with_the_names_of_their_attacks():
    classifier, x, y = frames()
    with pytest.raises(UnsupportedInputError, match=r"flips=N.*shift=D.*linf_on_counts=True"):
        robustness(classifier, x, y, eps=0.5, budget=small_budget(0.5))


def test_event_frames_are_attacked_on_request_beside_their_control():
    classifier, x, y = frames()
    result = robustness(classifier, x, y, eps=0.5, budget=small_budget(0.5), linf_on_counts=True, batch_size=4)
    clipped = classifier.predict(x.clip(0, 1)).argmax(1) == y
    assert result.clip_only.hits == clipped.sum()
    assert result.clean.value == 1
    assert next(flag for flag in result.flags if flag.name == "one step against several").value is not None


def test_noise_is_the_samples_own(classifier, digits):
    x, y = digits.x_test[:6], digits.y_test[:6]
    attack = SignNoise(eps=0.3, steps=4).make(classifier, batch_size=4)
    seeds = sample_seeds(x, y)
    found = attack.search(x, y, seeds=seeds)
    again = attack.search(x[4:5], y[4:5], seeds=seeds[4:5])
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one[4:5], other)
    assert np.abs(found.x_adv - x).max() <= 0.3 * (1 + 1e-5)
    assert 0 <= found.x_adv.min() <= found.x_adv.max() <= 1
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
    np.testing.assert_allclose(margins(classifier.predict(found.x_adv), y), found.margin, atol=1e-5)
    np.testing.assert_array_equal(found.forwards, np.where(found.broken, found.step + 1, 4))
    assert not np.array_equal(found.x_adv, SignNoise(eps=0.3, seed=1).make(classifier).search(x, y, seeds=seeds).x_adv)


def test_seeds_follow_from_samples_and_labels(digits):
    x, y = digits.x_test[:5], digits.y_test[:5]
    seeds = sample_seeds(x, y)
    assert len(set(seeds)) == 5
    np.testing.assert_array_equal(sample_seeds(x[::-1], y[::-1]), seeds[::-1])
    assert (sample_seeds(x, y + 1) != seeds).all()


def test_margins_are_those_of_the_definition():
    logits = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0], [1.0, 0.0, -1.0]])
    np.testing.assert_array_equal(margins(logits, np.array([0, 1, 2])), [1.0, 0.0, -2.0])


def test_a_judge_takes_the_majority_of_draws(classifier, digits):
    network = poisson(classifier, time_steps=1)
    x, y = digits.x_test[:40], digits.y_test[:40]
    with seeded(network, 0):
        shares = Judge(network, Linf(0.1), 16, 9).wrong_share(x, y)
    assert ((shares > 0) & (shares < 1)).any()
    with seeded(network, 0):
        np.testing.assert_array_equal(Judge(network, Linf(0.1), 16, 9).wrong(x, y), shares > 0.5)
    assert Judge(classifier, Linf(0.1), 16, 9).draws == 1


def test_the_last_doubling_counts_what_broke_after_half_of_the_cost():
    forwards = np.array([100.0, 50.0, 51.0, 80.0, 10.0])
    assert last_doubling(forwards, np.array([False, True, True, True, True])) == pytest.approx(2 / 5)
    assert last_doubling(forwards, np.zeros(5, bool)) == 0


def test_a_card_says_what_is_read_from_the_network(classifier):
    card = model_card(classifier)
    assert card["neurons"] == "LIF(decay=0.9, threshold=1, reset=hard)"
    assert card["time-steps"] == 4
    assert card["encoder is random"] == "no"
    assert model_card(poisson(classifier, eot_samples=5))["encodings averaged for a gradient"] == 5


def test_a_card_of_an_adapted_network_claims_nothing_of_its_encoder():
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.neuron, self.last = nn.Linear(16, 8), LIF(decay=0.9), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.neuron(self.first(x.flatten(1)).expand(3, -1, -1))).mean(0)

    network = adapt(Loop().eval(), lambda model, x: model(x))
    options = {"input_shape": (1, 4, 4), "nb_classes": 4, "clip_values": (0, 1), "device_type": "cpu"}
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), **options)
    card = model_card(classifier)
    assert card["network"] == "Loop"
    assert card["neurons"] == "LIF(decay=0.9, threshold=1, reset=hard)"
    assert card["encoder"] == card["readout"] == "the network's own"
    x = np.random.default_rng(0).random((6, 1, 4, 4), dtype=np.float32)
    y = classifier.predict(x).argmax(1)
    result = robustness(classifier, x, y, eps=0.1, budget=small_budget(0.1), batch_size=4)
    assert result.clean.value == 1
    assert result.draws == 1


def test_a_search_without_a_rule_is_refused():
    with pytest.raises(ValueError, match=r"SAPGDSpec\(eps=0.1.* follows a gradient; give the stage a rule"):
        Stage(name="x", attack=SAPGDSpec(eps=0.1))


def test_a_network_that_is_no_classifier_of_ours_is_refused(classifier, digits):
    other = PyTorchClassifier(classifier.model, nn.CrossEntropyLoss(), (1, 8, 8), 10, device_type="cpu")
    with pytest.raises(TypeError, match="must be a PyTorchSNNClassifier around the network, got PyTorchClassifier"):
        robustness(other, digits.x_test[:2], digits.y_test[:2], eps=0.1)


def test_another_shape_is_refused_before_a_folder_is_made(classifier, digits, tmp_path):
    folder = tmp_path / "evaluation"
    with pytest.raises(ValueError, match=r"shape"):
        robustness(classifier, digits.x_test[:2].reshape(2, 64), digits.y_test[:2], eps=0.1, folder=folder)
    assert not folder.exists()


def test_a_number_that_more_steps_change_is_said(classifier, digits):
    def fell(steps: int) -> Flag:
        stages = [Stage(name="run", attack=SAPGDSpec(eps=0.1, steps=steps), rule="hart")]
        budget = small_budget(0.1, stages=stages, check_samples=1, queries=0)
        x, y = digits.x_test[:32], digits.y_test[:32]
        return robustness(classifier, x, y, eps=0.1, budget=budget, batch_size=16).flags[-1]

    assert fell(6).name == "fall in the last doubling"
    assert fell(6).fired
    assert fell(6).verdict is Verdict.UPPER_BOUND
    assert not fell(40).fired


def test_an_attack_without_search_is_refused(classifier, digits):
    stages = [Stage(name="fgsm", attack=FGSM(eps=0.1), rule=get_rule("hart"))]
    with pytest.raises(TypeError, match=r"FGSM.* has no search"):
        robustness(classifier, digits.x_test[:2], digits.y_test[:2], eps=0.1, budget=small_budget(stages=stages))
