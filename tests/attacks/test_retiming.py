"""Spike retiming, against a slow re-implementation in float64, on a task of timing alone, and what it may not do."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_snn import CBA, HART, STBP, PyTorchSNNClassifier, rule_names
from art_snn.attacks import RetimingSpec, SpikeRetiming, make_attack, retimed
from art_snn.attacks.packets import Packets
from art_snn.attacks.retiming import Retimings, shift_gradient
from art_snn.errors import UnsupportedInputError, UnsupportedRuleError
from art_snn.rules import get_rule
from art_snn.rules.base import TemporalRule
from tests import reference
from tests.attacks.event_networks import (
    Widening,
    classifier_of,
    order_classifier,
    order_task,
    random_frames,
    random_network,
)
from tests.attacks.test_packets import slowly_moved
from tests.classifier.classifiers import small_classifier

SHAPE = (5, 2, 5, 5)


def random_classifier(rule: str = "stbp", most: float = 3.0) -> PyTorchSNNClassifier:
    return classifier_of(random_network(), SHAPE, 3, rule, most)


def slow_penalty(share: torch.Tensor, places: list[tuple[int, int]], size: tuple[int, int]) -> torch.Tensor:
    """``20 mean(max(0, occupancy - 1)**2)`` of shares (E, K), bin by bin."""
    shift = share.shape[1] // 2
    total = torch.zeros((), dtype=torch.float64)
    for t in range(size[0]):
        for p in range(size[1]):
            coming = sum(
                (share[e, t - at + shift] for e, (at, q) in enumerate(places) if q == p and abs(t - at) <= shift),
                torch.zeros((), dtype=torch.float64),
            )
            total = total + max(coming - 1, 0 * coming) ** 2
    return 20 * total / (size[0] * size[1])


def slow_step(frames: np.ndarray, phi: torch.Tensor, gradient: np.ndarray) -> torch.Tensor:
    """Gradient of ``<gradient, x_soft> - penalty`` with respect to phi (E, K), by autograd through the formulas."""
    places = [tuple(place) for place in np.argwhere(frames)]
    shift = phi.shape[1] // 2
    phi = phi.clone().requires_grad_()
    share = torch.softmax(phi, 1)
    total = torch.zeros((), dtype=torch.float64)
    for e, (t, p) in enumerate(places):
        for k in range(2 * shift + 1):
            if 0 <= t + k - shift < len(frames):
                total = total + share[e, k] * float(frames[t, p]) * float(gradient[t + k - shift, p])
    return torch.autograd.grad(total - slow_penalty(share, places, frames.shape), phi)[0]


def first_logits(frames: np.ndarray, shift: int) -> torch.Tensor:
    phi = [
        [4.0 * (abs(d) <= 1) if 0 <= t + d < len(frames) else -np.inf for d in range(-shift, shift + 1)]
        for t, _ in np.argwhere(frames)
    ]
    return torch.tensor(phi, dtype=torch.float64)


def slow_attack(classifier: PyTorchSNNClassifier, x: np.ndarray, label: int, attack: SpikeRetiming) -> tuple:
    """Retime one sample (T, ...); return the frames that were found, or the last ones, and after which step."""
    network, frames, shift = classifier.model.network, x.reshape(len(x), -1), attack.max_shift
    phi = first_logits(frames, shift)
    places = [tuple(place) for place in np.argwhere(frames)]
    gains = np.zeros(phi.shape)
    now = frames.copy()
    for step in range(attack.steps + 1):
        x_seq = torch.from_numpy(now.reshape(len(x), 1, *x.shape[1:])).double()
        logits, _ = reference.forward(network, x_seq)
        if logits.argmax() != label or step == attack.steps:
            return now.reshape(x.shape), step if logits.argmax() != label else -1
        grad_logits = reference.cross_entropy_gradient(logits, torch.tensor([label]))
        gradient = reference.input_gradient(network, x_seq, grad_logits, "stbp", detach_reset=True)
        gradient = gradient.reshape(frames.shape).numpy()
        phi = (phi + slow_step(frames, phi, gradient).sign()).clamp(-10, 10).where(phi > -torch.inf, -torch.inf)
        gain = np.zeros(phi.shape)
        for e, (t, p) in enumerate(places):
            for k in range(2 * shift + 1):
                if 0 <= t + k - shift < len(frames):
                    gain[e, k] = frames[t, p] * gradient[t + k - shift, p]
        gains = 0.9 * gains + gain / np.abs(gain).max()
        wanted, worth = np.zeros(frames.shape, dtype=int), np.zeros(frames.shape)
        for e, place in enumerate(places):
            row = phi[e].tolist()
            best = min((k for k in range(len(row)) if row[k] == max(row)), key=lambda k: (abs(k - shift), k))
            wanted[place], worth[place] = best - shift, gains[e, best] - gains[e, shift]
        now = slowly_moved(frames, wanted, worth, attack.budget)
    raise AssertionError


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_gradient_of_shifts_is_that_of_the_formulas(shift):
    generator = torch.Generator().manual_seed(shift)
    frames = torch.randint(0, 3, (2, 5, 3), generator=generator)
    gradient = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    packets = Packets.of(frames)
    size = (*packets.frame.shape, 2 * shift + 1)
    logits = torch.randn(size, generator=generator, dtype=torch.float64)
    logits = logits.where(packets.is_inside(shift), -torch.inf)
    found = shift_gradient(packets, logits, gradient, shift)
    for i in range(2):
        number = int((frames[i] != 0).sum())
        slow = slow_step(frames[i].numpy(), logits[i, :number], gradient[i].numpy())
        np.testing.assert_allclose(found[i, :number], slow, rtol=1e-9, atol=1e-12)
        assert not found[i, number:].any()


@pytest.mark.parametrize(
    "settings", [{"max_shift": 1}, {"max_shift": 3, "max_moved": 8}, {"max_shift": 2, "max_delay": 6}]
)
def test_attack_is_that_of_the_formulas(settings):
    classifier = random_classifier()
    x = random_frames(5, most=2)
    y = classifier.predict(x).argmax(1)
    attack = SpikeRetiming(classifier, rule=STBP(detach_reset=True), steps=5, batch_size=3, **settings)
    found = attack.search(x, y)
    for i in range(len(x)):
        frames, step = slow_attack(classifier, x[i], int(y[i]), attack)
        assert found.step[i] == step
        assert found.broken[i] == (step >= 0)
        if step >= 0:
            np.testing.assert_array_equal(found.x_adv[i], frames)
    assert 0 < found.broken.sum() < len(x)


def test_order_of_two_events_is_broken_by_a_rule_through_time():
    x, y = order_task()
    classifier = order_classifier()
    assert (classifier.predict(x).argmax(1) == y).all()
    found = SpikeRetiming(classifier, max_shift=3, rule=STBP(detach_reset=True)).search(x, y)
    early = x[:, 0, 0].reshape(-1) == 1  # the events of these end in one frame, the first, which is a tie
    np.testing.assert_array_equal(found.broken, ~early)
    np.testing.assert_array_equal(found.step > 0, ~early)
    np.testing.assert_array_equal(classifier.predict(found.x_adv).argmax(1) != y, ~early)
    assert (retimed(x, found.x_adv).moved[~early] > 0).all()
    assert (found.margin[early] == 0).all()


@pytest.mark.parametrize("name", [name for name in rule_names() if not isinstance(get_rule(name), TemporalRule)])
def test_order_of_two_events_is_nothing_that_other_rules_see(name):
    x, y = order_task()
    gradient = order_classifier(name).loss_gradient(x, y).astype(np.float64)
    assert np.abs(gradient).max() > 0
    assert (gradient == gradient[:, :1]).all()
    packets = Packets.of(torch.from_numpy(x).flatten(2))
    walks = Retimings(torch.from_numpy(x), SpikeRetiming(order_classifier(), max_shift=3).budget)
    alone = shift_gradient(packets, walks.logits, torch.from_numpy(gradient).flatten(2), 3)
    without = shift_gradient(packets, walks.logits, torch.zeros(len(x), 4, 2, dtype=torch.float64), 3)
    assert not without.any()  # no crowd: each pixel has one event
    assert not alone.any()


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.integers(1, 4),
    st.none() | st.integers(1, 20),
    st.none() | st.integers(1, 20),
)
def test_no_event_is_lost_or_made_and_the_budget_holds(seed, most, shift, delay, moved):
    classifier = random_classifier()
    x = random_frames(3, most, seed=seed)
    y = classifier.predict(x).argmax(1)
    attack = SpikeRetiming(classifier, max_shift=shift, max_delay=delay, max_moved=moved, steps=3, batch_size=2)
    found = attack.search(x, y)
    changes = retimed(x, found.x_adv)  # raises where events are lost or made
    assert (changes.shift <= shift).all()
    assert delay is None or (changes.delay <= delay).all()
    assert moved is None or (changes.moved <= moved).all()
    assert np.array_equal(np.sort(found.x_adv.reshape(3, -1)), np.sort(x.reshape(3, -1)))
    assert np.array_equal(found.broken, classifier.predict(found.x_adv).argmax(1) != y)


def test_sample_is_treated_alone_as_among_others():
    classifier = random_classifier()
    x = random_frames(7, most=2, seed=5)
    x[3] = 0
    y = classifier.predict(x).argmax(1)
    y[5] = (y[5] + 1) % 3
    attack = SpikeRetiming(classifier, max_shift=2, steps=5, batch_size=3)
    found = attack.search(x, y)
    for i in range(len(x)):
        alone = attack.search(x[i : i + 1], y[i : i + 1])
        for part, whole in zip(alone, found, strict=True):
            np.testing.assert_array_equal(part[0], whole[i])
    assert (found.step[5], found.forwards[5]) == (0, 1)
    np.testing.assert_array_equal(found.x_adv[[3, 5]], x[[3, 5]])


def test_rule_that_remembers_has_a_memory_of_the_sample():
    classifier = random_classifier()
    x = random_frames(5, most=2, seed=5)
    y = classifier.predict(x).argmax(1)
    attack = SpikeRetiming(classifier, rule=Widening(), max_shift=2, steps=6, batch_size=2)
    found = attack.search(x, y)
    for i in range(len(x)):
        alone = attack.search(x[i : i + 1], y[i : i + 1])
        np.testing.assert_array_equal(alone.x_adv[0], found.x_adv[i])
    with mock.patch.object(Widening, "remembers", False):
        without = attack.search(x, y)
    assert not np.array_equal(without.x_adv, found.x_adv)


def test_generate_gives_what_the_search_found():
    classifier = random_classifier()
    x = random_frames(4)
    y = classifier.predict(x).argmax(1)
    attack, told = SpikeRetiming(classifier, max_shift=2, steps=5), []
    found = attack.search(x, y, progress=told.append)
    assert sum(told) == 4
    np.testing.assert_array_equal(attack.generate(x, y), found.x_adv)
    np.testing.assert_array_equal(attack.generate(x), found.x_adv)
    np.testing.assert_array_equal(attack.generate(x, np.eye(3)[y]), found.x_adv)
    assert attack.search(x[:0], y[:0]).x_adv.shape == (0, *SHAPE)


def test_rule_is_the_classifiers_if_that_goes_through_time():
    x = random_frames(6, most=2, seed=1)
    classifier = random_classifier()
    y = classifier.predict(x).argmax(1)
    sharp = STBP(gamma=0.3)
    found = {
        name: SpikeRetiming(random_classifier(own), rule=asked, max_shift=2, steps=4).search(x, y).x_adv
        for name, own, asked in [
            ("own", sharp, None),
            ("asked", "hart", sharp),
            ("default", "hart", None),
            ("written", sharp, STBP(detach_reset=True)),
        ]
    }
    np.testing.assert_array_equal(found["own"], found["asked"])
    np.testing.assert_array_equal(found["default"], found["written"])
    assert not np.array_equal(found["own"], found["default"])


def test_rules_without_time_are_refused():
    classifier = random_classifier("hart")
    for rule in ("hart", HART(gamma=0.5), "rga", CBA()):
        message = r"SpikeRetiming cannot follow .*the same in every frame.*such as STBP\(gamma=1.0, detach_reset=True\)"
        with pytest.raises(UnsupportedRuleError, match=message):
            SpikeRetiming(classifier, rule=rule)
    with pytest.raises(UnsupportedRuleError, match="HART"):
        RetimingSpec().make(classifier)
    assert RetimingSpec(max_shift=2).make(classifier.with_rule("stbp")).max_shift == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_shift": 0}, "max_shift must be a whole number >= 1, got 0"),
        ({"max_delay": 0.5}, "max_delay must be a whole number >= 1, got 0.5"),
        ({"max_moved": -1}, "max_moved must be a whole number >= 1, got -1"),
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"loss": "hinge"}, "loss must be 'cross-entropy' or 'margin', got 'hinge'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SpikeRetiming(random_classifier(), **settings)
    with pytest.raises(ValueError, match=message):
        RetimingSpec(**settings)
    attack = SpikeRetiming(random_classifier())
    with pytest.raises(ValueError, match=message):
        attack.set_params(**settings)


def test_bad_inputs_are_refused():
    attack = SpikeRetiming(random_classifier())
    x, y = random_frames(3), np.zeros(3, dtype=int)
    half, below = x.copy(), x.copy()
    half[2, 0, 0, 0, 0], below[1, 0, 0, 0, 0] = 0.5, -1
    for frames, message in [
        (half, r"moves whole events, and sample 2 holds 0.5; give frames of counts.*image_size=None"),
        (below, "moves whole events, and sample 1 holds -1"),
        (4 * x, r"SpikeRetiming makes entries from 0 to 4, and clip_values are \[0, 3\]"),
        (x[:, :1], "SpikeRetiming needs several frames, got one"),
    ]:
        with pytest.raises(UnsupportedInputError, match=message):
            attack.search(frames, y)
    for frames, labels, seeds, message in [
        (x[:, :, :1], y, None, r"x has shape \(3, 5, 1, 5, 5\), expected \(N, T, 2, 5, 5\)"),
        (np.where(x > 0, np.nan, x), y, None, "NaN or inf in 3 of 3 samples"),
        (x, y + 3, None, "labels must be classes in 0 to 2"),
        (x, y, [0, 1], "seeds must be 3 whole numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            attack.search(frames, labels, seeds=seeds)
    with pytest.raises(TypeError, match="generate takes x and y, got mask, too"):
        attack.generate(x, y, mask=x)
    with pytest.raises(UnsupportedInputError, match="DirectEncoder takes inputs without a time axis"):
        SpikeRetiming(small_classifier(), rule="stbp")


def test_settings_are_a_value():
    spec = make_attack("retiming", eps=0.1, steps=3, max_shift=2, max_moved=5)
    assert spec == RetimingSpec(max_shift=2, max_moved=5, steps=3)
    assert (spec.eps, spec.title) == (0.0, "retiming")
    attack = spec.make(random_classifier(), batch_size=4)
    assert (attack.max_shift, attack.max_moved, attack.steps, attack.rule) == (2, 5, 3, STBP())
    assert attack.batch_size == 4
