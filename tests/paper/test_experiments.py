"""The paper's experiments: settings, training, plans."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from art_snn.data import Split, load_digits
from art_snn.paper import experiments as paper
from art_snn.paper.experiments import Experiment, experiments, plans, train_all
from art_snn.paper.published import hart_iclr2024
from art_snn.training import checkpoints
from art_snn.training.recipe import Recipe


def test_small_and_full_sizes_are_the_papers_settings():
    small = experiments("small", images="cifar10", events=None)
    assert [one.name for one in small] == [f"vgg_small-T4-lambda{decay}" for decay in ("0.9", "0.5", "1")]
    assert {one.recipe.optimizer for one in small} == {"sgd"}
    assert [one.surrogate().recipe.seed for one in small] == [1, 1, 1]
    assert all(one.surrogate().name == f"{one.name}-surrogate" for one in small)
    assert small[0].eps == (2 / 255, 4 / 255, 8 / 255)
    robust = experiments("small", images="cifar10", robust=True)[-1].recipe
    assert (robust.defence, robust.eps, robust.decay) == ("fgsm", 2.55 / 255, 0.9)
    full = experiments("full", images="cifar10")
    have = {(one.recipe.architecture, one.recipe.time_steps, one.recipe.decay, one.recipe.defence) for one in full}
    for number in hart_iclr2024():
        if number.dataset == "CIFAR-10" and number.table > 1:
            defence = "fgsm" if number.robust_target else "none"
            assert (number.architecture, number.time_steps, number.decay, defence) in have
    with pytest.raises(ValueError, match="size must be 'small' or 'full', got 'tiny'"):
        experiments("tiny", images="cifar10")
    with pytest.raises(ValueError, match="neither images nor events"):
        experiments("small", images=None)


def test_networks_that_another_process_trains_are_left_to_it(tmp_path, monkeypatch):
    full = load_digits()
    data = Split(full.x_train[:32], full.y_train[:32], full.x_test[:16], full.y_test[:16])
    loaded = []
    monkeypatch.setattr(paper, "load_data", lambda recipe, **_: loaded.append(recipe.seed) or data)
    one = Experiment(name="one", recipe=Recipe(defence="none", epochs=1, time_steps=2))
    (tmp_path / "one").mkdir()
    other = ExitStack()
    other.enter_context(checkpoints.locked(tmp_path / "one"))
    waited = []

    def sleep(_: float) -> None:
        assert checkpoints.newest(tmp_path / "one") is None
        assert checkpoints.newest(tmp_path / "one-surrogate") is not None
        waited.append(1)
        if len(waited) == 3:
            other.close()

    monkeypatch.setattr(paper.time, "sleep", sleep)
    train_all([one], tmp_path)
    assert len(waited) == 3
    assert loaded == [1, 0]
    assert checkpoints.read_checkpoint(tmp_path / "one").epoch == 1


def test_settings_reach_recipes_and_plans(tmp_path):
    (one, *_) = experiments("small", images="digits", lr=0.02)
    assert one.recipe.lr == 0.02
    events = experiments("small", images=None, events="recordings.npz", test_share=0.5)
    assert {network.recipe.test_share for network in events} == {0.5}
    assert {network.recipe.test_share for network in experiments("small", images=None, events="r.npz")} == {0.3}
    assert {network.recipe.test_share for network in experiments("full", images=None, events="r.npz")} == {None}
    for sweep in (False, True):
        (plan,) = plans([one], tmp_path, samples=10, tuning_samples=5, tune_on_test=False, sweep=sweep)
        assert plan.sweep is sweep
