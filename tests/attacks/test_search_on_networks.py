"""Searches on networks, encoders, defences and classes of ART."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.attacks.evasion import AutoAttack
from art.defences.preprocessor import FeatureSqueezing
from art.defences.trainer import AdversarialTrainer
from art.estimators.classification import PyTorchClassifier
from art.exceptions import EstimatorError
from torch import nn

from art_snn import LIF, DirectEncoder, SpikingNetwork, adapt
from art_snn.attacks import judging, slots
from art_snn.rules import HART
from tests.attacks.searches import (
    LOSSES,
    RULES,
    clipped,
    correct,
)
from tests.classifier.classifiers import small_classifier
from tests.compatibility.probabilities import Softmax
from tests.conftest import make_network
from tests.test_contracts import assert_same, snapshot


@pytest.mark.parametrize("kind", ["plain", "event-frame", "residual", "poisson"])
def test_nothing_of_the_model_is_touched(attack, kind):
    network, x = make_network(kind)
    classifier = small_classifier(network, input_shape=tuple(x.shape[1:]), clip_values=(0, float(x.max())))
    classifier.model.train()
    inputs, y = x.numpy().copy(), correct(classifier, x.numpy())
    numpys, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()
    before = snapshot(classifier.model)
    attack(classifier, eps=0.1, steps=3, batch_size=3).search(inputs, y)
    assert_same(before, snapshot(classifier.model))
    np.testing.assert_array_equal(inputs, x.numpy())
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)
    assert torch.equal(torch.get_rng_state(), torchs)


def test_defences_before_the_network_are_attacked_through(attack):
    defence = FeatureSqueezing(clip_values=(0, 1), bit_depth=2)
    bare, x = clipped()
    defended = small_classifier(bare.model.network, clip_values=(0, 1), preprocessing_defences=defence)
    y = correct(defended, x)
    found = attack(defended, eps=0.3, steps=8, batch_size=4).search(x, y)
    np.testing.assert_array_equal(defended.predict(found.x_adv).argmax(1) != y, found.broken)
    assert found.broken.any()
    unguarded = attack(bare, eps=0.3, steps=8, batch_size=4).search(x, y)
    assert (found.x_adv != unguarded.x_adv).any()


def test_defences_behind_the_network_judge_but_give_no_margins(classifier, digits, attack):
    x, y = digits.x_test[:12], digits.y_test[:12]
    guarded = small_classifier(
        classifier.model.network,
        input_shape=(1, 8, 8),
        nb_classes=10,
        clip_values=(0, 1),
        postprocessing_defences=Softmax(),
    )
    found = attack(guarded, eps=0.1, steps=6, batch_size=4).search(x, y)
    np.testing.assert_array_equal(guarded.predict(found.x_adv).argmax(1) != y, found.broken)
    bare = attack(classifier, eps=0.1, steps=6, batch_size=4).search(x, y)
    walked = ~found.broken & ~bare.broken
    assert walked.any()
    assert (found.margin[walked] >= bare.margin[walked] - 1e-6).all()  # those of gradients' passes, in logits


def test_random_encoders_are_broken_by_most_of_their_draws(attack, monkeypatch):
    network, x = make_network("poisson")
    classifier = small_classifier(network, clip_values=(0, 1), eot_samples=2)
    inputs = x.numpy()
    y = np.stack([classifier.predict(inputs) for _ in range(20)]).mean(0).argmax(1)
    found = attack(classifier, eps=1.0, steps=15, batch_size=4).search(inputs, y)
    assert found.broken.any()
    wrong = np.mean([classifier.predict(found.x_adv).argmax(1) != y for _ in range(60)], axis=0)
    assert (wrong[found.broken] > 0.3).all()
    assert (found.forwards >= judging.DRAWS).all()
    flips = iter([0, 0, 1] * 7)
    answers = np.eye(5, dtype=np.float32)

    def predict(x: np.ndarray, batch_size: int) -> np.ndarray:
        return answers[np.full(len(x), next(flips))]

    monkeypatch.setattr(classifier, "predict", predict)
    broken, margins = judging.judge(classifier, inputs, np.array([0, 1, 2, 3]), 4)
    assert broken.tolist() == [False, True, True, True]
    np.testing.assert_allclose(margins[:2], [13 / 20 - 7 / 20 + 1 / 20, -8 / 20], atol=0.06)


@pytest.mark.parametrize(("again", "broken"), [(0.6, True), (0.5, False)])
def test_a_few_draws_more_than_half_do_not_end_a_search(attack, monkeypatch, again, broken):
    network, x = make_network("poisson")
    classifier = small_classifier(network, clip_values=(0, 1), eot_samples=2)
    inputs, steps = x.numpy(), 15
    y = np.stack([classifier.predict(inputs) for _ in range(20)]).mean(0).argmax(1)
    asked = []

    def of_the_network(shares: float, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(shares)
        return np.full(len(x), shares), np.zeros(len(x), np.float32)

    def shares(_: object, x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        return of_the_network(0.6, x)

    def judged(_: object, x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        made, margins = of_the_network(again if asked else 0.0, x)  # the first question is of the inputs
        return made > 1 / 2, margins

    monkeypatch.setattr(slots, "wrong_shares", shares)
    monkeypatch.setattr(slots, "judge", judged)
    found = attack(classifier, eps=1.0, steps=steps, batch_size=4).search(inputs, y)
    went_on = len(asked)
    assert asked[-1] == again
    assert (found.broken == broken).all()
    monkeypatch.setattr(slots, "wrong_shares", lambda _, x, y, size: of_the_network(slots.SURE, x))
    asked.clear()
    found = attack(classifier, eps=1.0, steps=steps, batch_size=4).search(inputs, y)
    assert set(asked) == {0.0, slots.SURE}
    assert len(asked) < went_on
    assert found.broken.all()


def test_a_classifier_keeps_its_rule_and_labels_may_be_its_own(classifier, digits, attack):
    view = classifier.with_rule(RULES[1])
    x = digits.x_test[:8]
    search = attack(view, eps=0.1, steps=4, batch_size=8, verbose=True)
    y = view.predict(x).argmax(1)
    np.testing.assert_array_equal(search.generate(x), search.search(x, np.eye(10)[y]).x_adv)
    assert view.gradient_rule == RULES[1]
    assert isinstance(classifier.gradient_rule, HART)


def test_adapted_networks_are_attacked(attack):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(2), nn.Linear(128, 24), LIF(decay=0.9), nn.Linear(24, 5))
    classifier = small_classifier(adapt(layers, time_steps=4), clip_values=(0, 1))
    x = np.random.default_rng(0).random((6, 2, 8, 8), dtype=np.float32)
    y = correct(classifier, x)
    found = attack(classifier, eps=0.3, steps=8, batch_size=4).search(x, y)
    assert found.broken.any()
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
    assert found.forwards.max() <= 1 + 8 * 2 + 1  # a judgement is one prediction: nothing is random


def test_art_trains_with_them_and_takes_them_into_its_own_list(attack):
    classifier, x = clipped()
    y = np.eye(5, dtype=np.float32)[correct(classifier, x)]
    search = attack(classifier, eps=0.3, steps=6, batch_size=4)
    alone = search.generate(x, y)
    together = AutoAttack(classifier, eps=0.3, eps_step=0.1, attacks=[search], batch_size=4).generate(x, y)
    broken = correct(classifier, alone) != y.argmax(1)
    assert broken.any()
    np.testing.assert_array_equal(together[broken], alone[broken])
    before = classifier.predict(x)
    AdversarialTrainer(classifier, attacks=search).fit(x, y, batch_size=4, nb_epochs=1)
    assert (classifier.predict(x) != before).any()


def test_another_estimator_is_refused(attack):
    plain = PyTorchClassifier(nn.Flatten(), nn.CrossEntropyLoss(), (2,), 2)
    with pytest.raises(EstimatorError):
        attack(plain)


def test_event_frames_with_counts(attack):
    network, x = make_network("event-frame")
    counts = x.numpy()
    most = float(counts.max())
    for clip_values in ((0.0, most), None):
        classifier = small_classifier(network, input_shape=counts.shape[1:], clip_values=clip_values)
        for steps in (5, 3):  # the number of frames is free
            part = counts[:, :steps]
            y = correct(classifier, part)
            found = attack(classifier, eps=0.5, steps=6, batch_size=3).search(part, y)
            assert found.x_adv.shape == part.shape
            np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
            assert (np.abs(found.x_adv - part) <= 0.5 * (1 + 1e-6)).all()
            assert (found.x_adv != part).any()
            inside = clip_values is None or (found.x_adv.min() >= 0 and found.x_adv.max() <= most)
            assert inside
            survivor = found.step == -1
            np.testing.assert_allclose(found.forwards[survivor], 1 + 6 * (1 + 1 / steps) + 1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_and_tied_logits(attack, loss, classes):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 24), LIF(decay=0.9), nn.Linear(24, classes))
    options = {"input_shape": (3, 2, 2), "nb_classes": classes, "clip_values": (0, 1)}
    classifier = small_classifier(SpikingNetwork(DirectEncoder(time_steps=3), body), **options)
    classifier = classifier.with_rule("hart", warn=False)  # equal logits have no gradient
    x = np.random.default_rng(0).random((6, 3, 2, 2), dtype=np.float32)
    search = attack(classifier, eps=0.3, steps=6, loss=loss, batch_size=4)
    y = correct(classifier, x)
    found = search.search(x, y)
    assert found.broken.any()
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
    with torch.no_grad():
        for values in (body[-1].weight, body[-1].bias):
            values[-1] = values[0]  # the first class and the last are equal; accuracy, and NumPy, take the first
    tied = search.search(x, np.full(6, classes - 1))
    assert tied.broken.all()
    assert (tied.margin <= 0).all()
    y = correct(classifier, x)
    found = search.search(x, y)
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, found.broken)
    assert not (found.broken & (y == 0) & (classes == 2)).any()
