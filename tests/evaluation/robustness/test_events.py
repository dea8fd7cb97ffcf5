"""Robustness of networks on event frames: flips, and events that move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from art_snn import UnsupportedInputError, robustness
from art_snn.attacks import RetimingSpec, SDASpec, flips, retimed
from art_snn.evaluation.robustness import Budget, Flips, Linf, Shifts, Stage
from art_snn.evaluation.robustness.budgets import budget_of
from art_snn.evaluation.robustness.noise import RandomFlips, RandomShifts
from art_snn.rules import ASSG
from tests.attacks.event_networks import classifier_of, order_classifier, order_task, random_frames, random_network


@pytest.fixture(scope="module")
def events():
    classifier = classifier_of(random_network(), (5, 2, 5, 5), 3)
    x = random_frames(24)
    return classifier, x, classifier.predict(x).argmax(1)


def short(threat, name="standard", steps=8) -> Budget:
    """Return the budget of a name with few steps and small checks."""
    full = budget_of(name, threat)
    sizes = {"max_iter": steps, "steps": steps}
    stages = [
        replace(stage, attack=replace(stage.attack, **{k: v for k, v in sizes.items() if k in vars(stage.attack)}))
        for stage in full.stages
    ]
    return replace(full, stages=stages, check_samples=6, check_steps=4, unbounded_steps=40, longer_steps=10)


class TestThreats:
    def test_flips_allow_binary_frames_with_few_differences(self):
        x = random_frames(3)
        made = x.copy()
        made[0].reshape(-1)[:4] = 1 - made[0].reshape(-1)[:4]
        made[1].reshape(-1)[:5] = 1 - made[1].reshape(-1)[:5]
        made[2, 0, 0, 0, 0] = 0.5
        assert Flips(4).allows(x, made, (0, 1)).tolist() == [True, False, False]
        assert not Flips(4).allows(x, np.full_like(x, np.nan), None).any()

    def test_shifts_allow_events_that_moved(self):
        x = np.zeros((4, 4, 1, 1, 2), np.float32)
        x[:, 0, ..., 0] = 1
        x[:, 1, ..., 1] = 2
        made = x.copy()
        made[1, :2, 0, 0, 0] = 0, 1  # by one frame
        made[2, :3, 0, 0, 0] = 0, 0, 1  # by two
        made[3, 0, ..., 0] = 0  # lost
        assert Shifts(1).allows(x, made, None).tolist() == [True, True, False, False]
        assert Shifts(2).allows(x, made, None).tolist() == [True, True, True, False]
        made[1, 1:3, 0, 0, 1] = 0, 2  # three events in all
        assert Shifts(2, moved=2).allows(x, made, None).tolist() == [True, False, True, False]
        half = x.copy()
        half[0, :2, ..., 0] = 0.5
        assert Shifts(2).allows(x, half, None).tolist() == [False, True, True, True]

    def test_sizes(self):
        assert Linf(0.1).sized(0.3) == Linf(0.3)
        assert Flips(8).sized(2.0) == Flips(2)
        assert Flips(1).sized(0.25) == Flips(1)
        assert Flips(8).sized(np.inf).count > 1e15
        assert Shifts(1, moved=7).sized(4.0) == Shifts(4, moved=7)
        assert Shifts(1).sized(np.inf) is None

    def test_words(self):
        assert list(map(str, (Linf(0.1), Flips(20), Shifts(1), Shifts(2, 9)))) == [
            "eps=0.1",
            "20 flips",
            "events moved by up to 1 frame",
            "9 events moved by up to 2 frames",
        ]

    @pytest.mark.parametrize(
        ("make", "name"),
        [
            (lambda: Linf(0), "eps"),
            (lambda: Flips(0), "flips"),
            (lambda: Shifts(0.5), "shift"),
            (lambda: Shifts(1, 0), "moved"),
        ],
    )
    def test_bad_sizes(self, make, name):
        with pytest.raises(ValueError, match=name):
            make()

    def test_stages_keep_to_the_threat_of_their_budget(self):
        stage = Stage(name="few", attack=SDASpec(max_flips=5), rule="stbp")
        assert Budget(name="own", stages=[stage], threat=Flips(5)).allowed == Flips(5)
        with pytest.raises(ValueError, match="must have one max_flips, got 6 and 5"):
            Budget(name="own", stages=[stage], threat=Flips(6))
        with pytest.raises(ValueError, match=r"changes events; give threat=Flips\(\.\.\.\)"):
            Budget(name="own", stages=[stage])
        with pytest.raises(ValueError, match="must have one max_shift, got 2 and 1"):
            Budget(name="own", stages=[Stage(name="x", attack=RetimingSpec(), rule="stbp")], threat=Shifts(2))


class TestNoise:
    def test_flips_at_random(self):
        x, source = random_frames(1)[0], np.random.default_rng(0)
        made = RandomFlips(max_flips=7).noisy(x, source)
        assert flips(x[None], made[None]).tolist() == [7]
        assert set(np.unique(made)) <= {0, 1}
        everything = RandomFlips(max_flips=10**6).noisy(x, source)
        np.testing.assert_array_equal(everything, 1 - x)

    @pytest.mark.parametrize("moved", [None, 5])
    def test_moves_at_random(self, moved):
        x = random_frames(1, most=3)[0]
        noise, source = RandomShifts(max_shift=2, max_moved=moved), np.random.default_rng(0)
        made = np.stack([noise.noisy(x, source) for _ in range(10)])
        found = retimed(np.repeat(x[None], 10, 0), made)
        assert 0 < found.shift.max() <= 2
        assert 0 < found.moved.max() <= (x.sum() if moved is None else moved)


@pytest.mark.parametrize("threat", [Flips(6), Shifts(1, 1), Shifts(2, 2)], ids=str)
def test_what_is_found_is_inside_the_budget_and_confirmed(events, threat):
    classifier, x, y = events
    asked = {"flips": 6} if isinstance(threat, Flips) else {"shift": threat.frames, "moved": threat.moved}
    result = robustness(classifier, x, y, **asked, budget=short(threat), batch_size=8)
    assert result.threat == threat
    assert threat.allows(x, result.x_adv, classifier.clip_values).all()
    assert 0 < result.broken.sum() < len(x)
    np.testing.assert_array_equal(classifier.predict(result.x_adv).argmax(1) != y, result.broken)
    assert result.clip_only.value == 1.0
    flags = {flag.name: flag for flag in result.flags}
    assert not flags["examples that are not allowed"].fired
    for name in ("one step against several", "gradients that point nowhere"):
        assert flags[name].value is None
        assert "events change" in flags[name].detail
    assert (flags["robust accuracy at an eps of the whole range"].value is None) == isinstance(threat, Shifts)
    document = result.to_json()
    assert document["eps"] is None
    assert document["threat"]["name"] == type(threat).__name__


def test_frames_may_be_more_than_those_of_the_input_shape(events):
    classifier, x, y = events
    longer = np.concatenate([x[:6], np.zeros_like(x[:6, :2])], axis=1)
    y = classifier.predict(longer).argmax(1)
    budget = replace(short(Flips(1)), check_samples=1, check_steps=1, unbounded_steps=1)
    result = robustness(classifier, longer, y, flips=1, budget=budget, batch_size=8)
    assert result.clean.value == 1
    assert Flips(1).allows(longer, result.x_adv, classifier.clip_values).all()
    assert "at 1 flip, " in str(result)


@pytest.mark.parametrize("threat", [Flips(6), Shifts(1)], ids=str)
def test_a_sample_has_one_result_alone_and_in_any_batch(events, threat):
    classifier, x, y = events
    asked = {"flips": 6} if isinstance(threat, Flips) else {"shift": 1}
    budget = replace(short(threat), check_samples=1, check_steps=1, unbounded_steps=1)
    together = robustness(classifier, x, y, **asked, budget=budget, batch_size=8)
    for i in [int(np.flatnonzero(together.stage == number)[0]) for number in set(together.stage)]:
        alone = robustness(classifier, x[i : i + 1], y[i : i + 1], **asked, budget=budget, batch_size=8)
        for name in ("broken", "stage", "step", "margin", "forwards", "x_adv"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[i], err_msg=name)


@pytest.mark.parametrize("threat", [Flips(6), Shifts(1)], ids=str)
def test_goes_on_where_it_was_stopped(events, threat, tmp_path):
    classifier, x, y = events
    asked = {"flips": 6} if isinstance(threat, Flips) else {"shift": 1}
    first = robustness(classifier, x, y, **asked, budget=short(threat), batch_size=8, folder=tmp_path)
    for piece in sorted(tmp_path.glob("stage-02*")):
        piece.unlink()
    again = robustness(classifier, x, y, **asked, budget=short(threat), batch_size=8, folder=tmp_path)
    for name in ("broken", "stage", "step", "margin", "forwards", "x_adv"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name), err_msg=name)


def test_flips_without_end_reach_every_sample(events):
    classifier, x, y = events
    result = robustness(classifier, x[:8], y[:8], flips=6, budget=short(Flips(6), steps=40), batch_size=8)
    flags = {flag.name: flag for flag in result.flags}
    assert flags["robust accuracy at an eps of the whole range"].value == 0


def test_timing_that_rate_rules_cannot_see_is_attacked_through_time():
    classifier = order_classifier("hart")  # the classifier's own rule has one gradient for all frames
    x, y = order_task()
    assert (classifier.predict(x).argmax(1) == y).all()
    gradient = classifier.loss_gradient(x, y)
    assert np.abs(gradient).max() > 0
    assert (gradient == gradient[:, :1]).all()
    stage = Stage(name="retiming", attack=RetimingSpec(max_shift=2), rule="assg")  # without noise before
    alone = robustness(classifier, x, y, shift=2, budget=Budget(name="own", stages=[stage], threat=Shifts(2)))
    assert alone.broken.sum() >= 6
    assert np.array_equal(x.sum(1), alone.x_adv.sum(1))
    nearer = robustness(classifier, x, y, shift=1, budget="quick", batch_size=4)
    assert 0 < nearer.robust_accuracy.value < 1
    assert nearer.verdict != "invalid"


def test_nothing_left_needs_no_more_steps(events):
    classifier, x, y = events
    result = robustness(classifier, x[:8], y[:8], flips=60, budget=short(Flips(60), steps=40), batch_size=8)
    assert result.robust_accuracy.value == 0
    (settled,) = [flag for flag in result.flags if flag.name == "fall in the last doubling"]
    assert not settled.fired
    assert settled.detail == "no sample is left, and fewer cannot be"


def test_a_run_that_starts_where_its_attack_cannot_is_refused(events):
    attack = SDASpec(max_flips=3)
    budget = Budget(name="own", stages=[Stage(name="sda", attack=attack, rule="stbp", warm=True)], threat=Flips(3))
    with pytest.raises(TypeError, match="cannot start at a point; leave warm False in stage 'sda'"):
        robustness(*events, flips=3, budget=budget)


def test_a_rule_that_sees_no_timing_is_refused():
    x, y = order_task()
    budget = Budget(name="own", stages=[Stage(name="x", attack=RetimingSpec(), rule="hart")], threat=Shifts(1))
    with pytest.raises(ValueError, match="gradient is the same in every frame"):
        robustness(order_classifier(), x, y, shift=1, budget=budget)


class TestBadInput:
    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({}, "give one of eps, flips and shift, got none"),
            ({"eps": 0.1, "flips": 3}, "got eps, flips"),
            ({"flips": 3, "shift": 1}, "got flips, shift"),
            ({"flips": 3, "moved": 2}, "give shift, too"),
            ({"flips": 0}, "flips must be a whole number"),
            ({"shift": 1.5}, "shift must be a whole number"),
            ({"shift": 1, "moved": -1}, "moved must be a whole number"),
        ],
    )
    def test_threats(self, events, asked, said):
        with pytest.raises(ValueError, match=said):
            robustness(*events, **asked)

    def test_counts_have_no_flips(self, events):
        classifier, x, y = events
        with pytest.raises(UnsupportedInputError, match="binary event frames"):
            robustness(classifier, 2 * x, y, flips=3)

    def test_parts_of_events_do_not_move(self, events):
        classifier, x, y = events
        with pytest.raises(UnsupportedInputError, match="moves whole events"):
            robustness(classifier, x / 2, y, shift=1)

    def test_images_have_no_events(self, classifier, digits):
        with pytest.raises(UnsupportedInputError, match="event frames"):
            robustness(classifier, digits.x_test[:4], digits.y_test[:4], flips=3)

    def test_eps_on_counts_names_the_threats_of_events(self, events):
        with pytest.raises(UnsupportedInputError, match="give flips=N"):
            robustness(*events, eps=0.1)

    def test_a_budget_of_another_threat(self, events):
        with pytest.raises(ValueError, match="9 flips is asked for, but the stages of the budget have 6 flips"):
            robustness(*events, flips=9, budget=short(Flips(6)))


def test_more_budget_takes_more():
    for threat in (Flips(10), Shifts(1)):
        sizes = [len(budget_of(name, threat).stages) for name in ("quick", "standard", "plus")]
        assert sizes == sorted(set(sizes))
    rules = [stage.rule for stage in budget_of("plus", Flips(10)).stages]
    assert ASSG() in rules
