"""SDA, against a slow re-implementation in float64, and what it may not do."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from art.defences.postprocessor import ClassLabels
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from art_snn import CBA, HART, LIF, STBP, PyTorchSNNClassifier, adapt
from art_snn.attacks import SDASpec, SparseDynamicAttack, flips, make_attack
from art_snn.attacks.sparse import saliency
from art_snn.errors import UnsupportedInputError, UnsupportedRuleError
from art_snn.snn.network import SpikingNetwork
from tests import reference
from tests.attacks.event_networks import (
    Widening,
    classifier_of,
    order_classifier,
    order_task,
    random_frames,
    random_network,
)
from tests.classifier.classifiers import small_classifier

SHAPE = (5, 2, 5, 5)


def random_classifier(rule: str = "stbp") -> PyTorchSNNClassifier:
    return classifier_of(random_network(), SHAPE, 3, rule)


def samples(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = random_frames(number, seed=seed)
    return x, random_classifier().predict(x).argmax(1)


class SlowSDA:
    """The attack on one sample, entry by entry."""

    def __init__(self, network: SpikingNetwork, x: np.ndarray, label: int, seed: int) -> None:
        self.network, self.x, self.label = network, x, label
        self.noise = np.random.default_rng([0, seed])

    def logits(self, x: np.ndarray) -> torch.Tensor:
        return reference.forward(self.network, torch.from_numpy(x[:, None]).double())[0][0]

    def wrong(self, x: np.ndarray) -> bool:
        return int(self.logits(x).argmax()) != self.label

    def loss(self, x: np.ndarray) -> float:
        logits = self.logits(x).tolist()
        return max(0.0, logits[self.label] - max(z for k, z in enumerate(logits) if k != self.label))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        logits = self.logits(x)
        others = logits.clone()
        others[self.label] = -torch.inf
        of_logits = torch.zeros(1, len(logits), dtype=torch.float64)
        of_logits[0, self.label], of_logits[0, others.argmax()] = 1, -1
        x_seq = torch.from_numpy(x[:, None]).double()
        return reference.input_gradient(self.network, x_seq, of_logits, "stbp", detach_reset=True)[:, 0].numpy()

    def flipped(self, entries: list[tuple[int, ...]]) -> np.ndarray:
        made = self.x.copy()
        for entry in entries:
            made[entry] = 1 - made[entry]
        return made

    def run(self, k_init: int, max_iter: int) -> tuple[np.ndarray, int]:
        chosen: list[tuple[int, ...]] = []
        change: dict[tuple[int, ...], float] = {}
        for n in range(max_iter):
            x_adv = self.flipped(chosen)
            gradient = self.gradient(x_adv)
            kept = {e: abs(g) for e, g in np.ndenumerate(gradient) if g and 0 <= x_adv[e] - np.sign(g) <= 1}
            drawn = self.noise.random(gradient.size).reshape(gradient.shape)
            least = min(kept.values(), default=1.0)
            sizes = {e: kept.get(e, drawn[e] * least) for e in np.ndindex(*gradient.shape) if e not in chosen}
            tried = sorted(sizes, key=lambda e: -sizes[e])[: k_init * (n + 1)]
            least = 1e-5 * float(self.logits(x_adv).abs().max())
            for entry in tried:
                difference = self.loss(self.flipped([*chosen, entry])) - self.loss(x_adv)
                change[entry] = round(difference / least) * least
            chosen += [entry for entry in tried if change[entry] <= 0]
            if self.wrong(self.flipped(chosen)):
                return self.flipped(self.fewer(chosen, change)), n + 1
        return self.x, -1

    def fewer(self, chosen: list[tuple[int, ...]], change: dict[tuple[int, ...], float]) -> list[tuple[int, ...]]:
        """Undo the longest part that a binary search finds, of entries in the order of their change."""
        order = sorted(sorted(chosen), key=lambda e: abs(change[e]))
        low, high = 0, len(order) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.wrong(self.flipped(order[middle:])):
                low = middle
            else:
                high = middle - 1
        return order[low:]


@pytest.mark.parametrize(("k_init", "max_iter"), [(10, 4), (2, 6), (60, 4)])
def test_attack_is_that_of_the_formulas(k_init, max_iter):
    x, y = samples(4)
    classifier = random_classifier("hart")  # for which the attack takes STBP with the reset detached
    attack = SparseDynamicAttack(classifier, k_init=k_init, max_iter=max_iter, batch_size=7)
    found = attack.search(x, y)
    for i in range(len(x)):
        slow = SlowSDA(classifier.model.network, x[i], int(y[i]), seed=i)
        x_adv, step = slow.run(k_init, max_iter)
        assert found.step[i] == step
        np.testing.assert_array_equal(found.x_adv[i], x_adv)
    assert found.broken.any()
    np.testing.assert_array_equal(found.broken, found.step > 0)


def test_salient_flips_go_down_the_gradient_and_noise_is_below_them():
    gradient = np.array([3.0, -2.0, 0.0, 4.0, -5.0, 0.5])
    x = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    found = saliency(gradient, x, np.random.default_rng(0))
    assert found[[0, 1, 5]].tolist() == [3.0, 2.0, 0.5]
    noise = np.random.default_rng(0).random(6)
    np.testing.assert_array_equal(found[[2, 3, 4]], 0.5 * noise[[2, 3, 4]])
    np.testing.assert_array_equal(saliency(0 * gradient, x, np.random.default_rng(0)), noise)


def test_order_of_two_events_is_broken():
    x, y = order_task()
    classifier = order_classifier()
    found = SparseDynamicAttack(classifier, k_init=2, max_iter=20).search(x, y)
    assert found.broken.all()
    assert (classifier.predict(found.x_adv).argmax(1) != y).all()
    assert (found.margin <= 0).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.none() | st.integers(1, 12), st.integers(2, 9))
def test_frames_stay_binary_and_the_budget_holds(seed, k_init, most, batch_size):
    classifier = random_classifier()
    x = random_frames(2, seed=seed)
    y = classifier.predict(x).argmax(1)
    attack = SparseDynamicAttack(classifier, k_init=k_init, max_iter=3, max_flips=most, batch_size=batch_size)
    found = attack.search(x, y)
    assert set(np.unique(found.x_adv)) <= {0, 1}
    counts = flips(x, found.x_adv)
    assert most is None or (counts <= most).all()
    np.testing.assert_array_equal(counts > 0, found.broken)
    np.testing.assert_array_equal(found.broken, classifier.predict(found.x_adv).argmax(1) != y)
    assert (found.margin[found.broken] <= 1e-6).all()


def test_budget_decides_who_is_broken_and_nothing_else():
    x, y = samples(6)
    classifier = random_classifier()
    free = SparseDynamicAttack(classifier, max_iter=6).search(x, y)
    counts = flips(x, free.x_adv)
    assert free.broken.all()
    assert counts.min() < counts.max()
    most = int(np.median(counts))
    found = SparseDynamicAttack(classifier, max_iter=6, max_flips=most).search(x, y)
    np.testing.assert_array_equal(found.broken, counts <= most)
    fits = counts <= most
    np.testing.assert_array_equal(found.x_adv, np.where(fits.reshape(-1, 1, 1, 1, 1), free.x_adv, x))
    np.testing.assert_array_equal(found.step, np.where(fits, free.step, -1))


def test_more_entries_than_there_are_may_be_asked_for():
    x, y = order_task()
    found = SparseDynamicAttack(order_classifier(), k_init=1000, max_iter=3).search(x, y)
    assert np.isfinite(found.x_adv).all()
    zero = order_classifier()
    with torch.no_grad():
        for parameter in zero.model.parameters():
            parameter.zero_()
    y = zero.predict(x).argmax(1)
    found = SparseDynamicAttack(zero, k_init=3, max_iter=50).search(x, y)  # all flips change nothing
    assert not found.broken.any()
    np.testing.assert_array_equal(found.x_adv, x)
    assert (found.step == -1).all()


def test_sample_is_treated_alone_as_among_others():
    classifier = random_classifier()
    x, y = samples(5, seed=3)
    x[2] = 0
    y[2] = classifier.predict(x[2:3]).argmax()
    y[4] = (y[4] + 1) % 3
    attack = SparseDynamicAttack(classifier, k_init=4, max_iter=5, batch_size=6)
    seeds = np.array([7, 1, 7, 30, 2])
    found = attack.search(x, y, seeds=seeds)
    for i in range(len(x)):
        alone = attack.search(x[i : i + 1], y[i : i + 1], seeds=seeds[i : i + 1])
        for part, whole in zip(alone, found, strict=True):
            np.testing.assert_array_equal(part[0], whole[i])
    assert (found.step[4], found.forwards[4]) == (0, 1)
    np.testing.assert_array_equal(found.x_adv[4], x[4])


def test_noise_is_that_of_the_seeds():
    x, y = samples(6)
    classifier = random_classifier()

    def found(seeds: list[int], **more: int) -> np.ndarray:
        return SparseDynamicAttack(classifier, k_init=150, max_iter=2, **more).search(x, y, seeds=seeds).x_adv

    first = found([5] * 6)
    np.testing.assert_array_equal(found([5] * 6), first)
    assert not np.array_equal(found([6] * 6), first)
    assert not np.array_equal(found([5] * 6, seed=1), first)


def test_cost_is_counted_in_forward_passes(monkeypatch):
    x, y = samples(1)
    classifier = random_classifier()
    seen = []
    predict = PyTorchSNNClassifier.predict
    gradient = PyTorchSNNClassifier.gradient_and_logits

    def counted(self, x, *args, **kwargs):
        seen.append(len(x))
        return predict(self, x, *args, **kwargs)

    def twice(self, x, *args, **kwargs):
        seen.append(2 * len(x))
        return gradient(self, x, *args, **kwargs)

    monkeypatch.setattr(PyTorchSNNClassifier, "predict", counted)
    monkeypatch.setattr(PyTorchSNNClassifier, "gradient_and_logits", twice)
    found = SparseDynamicAttack(classifier, max_iter=5, batch_size=4).search(x, y)
    filled = 4 - 1  # rows that fill up the batch that judges the inputs
    assert found.forwards[0] == sum(seen) - filled


def test_outputs_that_are_no_logits_are_not_followed():
    x, y = samples(3)
    plain = random_classifier()
    hard = classifier_of(plain.model.network, SHAPE, 3)
    hard.postprocessing_defences = [ClassLabels()]
    expected = SparseDynamicAttack(plain, max_iter=6).search(x, y)
    found = SparseDynamicAttack(hard, max_iter=6).search(x, y)
    assert found.broken.any()
    np.testing.assert_array_equal(found.x_adv, expected.x_adv)
    assert np.isinf(found.margin).all()
    assert len(hard.postprocessing_defences) == 1


def test_rule_that_remembers_has_a_memory_of_the_sample():
    classifier = random_classifier()
    x, y = samples(5, seed=3)
    attack = SparseDynamicAttack(classifier, rule=Widening(), k_init=4, max_iter=5)
    found = attack.search(x, y)
    for i in range(len(x)):
        alone = attack.search(x[i : i + 1], y[i : i + 1])
        np.testing.assert_array_equal(alone.x_adv[0], found.x_adv[i])
    with mock.patch.object(Widening, "remembers", False):
        without = attack.search(x, y)
    assert not np.array_equal(without.x_adv, found.x_adv)


def test_generate_gives_what_the_search_found():
    x, y = samples(3)
    attack, told = SparseDynamicAttack(random_classifier(), max_iter=4), []
    found = attack.search(x, y, progress=told.append)
    assert sum(told) == 3
    np.testing.assert_array_equal(attack.generate(x, y), found.x_adv)
    np.testing.assert_array_equal(attack.generate(x), found.x_adv)
    assert attack.search(x[:0], y[:0]).x_adv.shape == (0, *SHAPE)


def test_rules_without_time_are_refused():
    classifier = random_classifier("hart")
    for rule in ("hart", HART(gamma=0.5), "bptr", CBA()):
        with pytest.raises(UnsupportedRuleError, match=r"SparseDynamicAttack cannot follow .*the same in every frame"):
            SparseDynamicAttack(classifier, rule=rule)
    with pytest.raises(UnsupportedRuleError, match="HART"):
        SDASpec().make(classifier)
    assert SDASpec(max_flips=3).make(classifier.with_rule("stbp"), batch_size=1).rule == STBP()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k_init": 0}, "k_init must be a whole number >= 1, got 0"),
        ({"max_iter": 1.5}, "max_iter must be a whole number >= 1, got 1.5"),
        ({"max_flips": 0}, "max_flips must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number in 0 to"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    for make in (lambda **s: SparseDynamicAttack(random_classifier(), **s), SDASpec):
        with pytest.raises(ValueError, match=message):
            make(**settings)


def test_bad_inputs_are_refused():
    x, y = samples(3)
    attack = SparseDynamicAttack(random_classifier())
    counts = x.copy()
    counts[1, 0, 0, 0, 0] = 2
    with pytest.raises(UnsupportedInputError, match=r"sample 1 holds 2; make them binary, \(x > 0\).*SpikeRetiming"):
        attack.search(counts, y)
    narrow = classifier_of(random_network(), SHAPE, 3, most=0.5)
    with pytest.raises(UnsupportedInputError, match=r"makes entries from 0 to 1, and clip_values are \[0, 0.5\]"):
        SparseDynamicAttack(narrow).search(x, y)
    with pytest.raises(ValueError, match=r"x has shape \(3, 50\), expected \(N, T, 2, 5, 5\)"):
        attack.search(x[:, 0].reshape(3, -1), y)
    with pytest.raises(ValueError, match="3 whole numbers >= 0"):
        attack.search(x, y, seeds=[0, 1, -1])
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 2, got 1"):
        SparseDynamicAttack(random_classifier(), batch_size=1)
    with pytest.raises(UnsupportedInputError, match="DirectEncoder takes inputs without a time axis"):
        SparseDynamicAttack(small_classifier())


class TakesFrames(nn.Module):
    """Take event frames (N, T, ...) as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(2), nn.Linear(50, 16), LIF(), nn.Linear(16, 3))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.layers(frames.transpose(0, 1)).mean(0)


def test_an_adapted_network_that_takes_frames_says_so():
    for network in (adapt(TakesFrames()), adapt(TakesFrames(), lambda model, x: model(x))):
        with pytest.raises(
            UnsupportedInputError, match=r"art_snn.adapt\(model, lambda .*, frames=True\), or take"
        ) as error:
            SparseDynamicAttack(classifier_of(network, SHAPE, 3))
        assert "_Whole" not in str(error.value)
    SparseDynamicAttack(classifier_of(adapt(TakesFrames(), lambda model, x: model(x), frames=True), SHAPE, 3))


def test_settings_are_a_value():
    spec = make_attack("sda", eps=0.1, steps=3, max_flips=200)
    assert spec == SDASpec(max_flips=200)
    assert (spec.eps, spec.title) == (0.0, "SDA")
