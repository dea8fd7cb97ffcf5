"""The networks of the paper's evaluation, and their attacks."""

from __future__ import annotations

import pytest

from art_snn.attacks import FGSM, PGD
from art_snn.errors import DataError
from art_snn.paper.experiments import paper_experiments
from art_snn.paper.published import hart_iclr2024


@pytest.fixture
def events(tmp_path):
    """An archive, as far as its name says."""
    file = tmp_path / "recordings.npz"
    file.touch()
    return str(file)


def test_small_size_is_for_two_cores():
    small = paper_experiments("small", images="cifar10")
    assert [experiment.name for experiment in small] == [f"vgg_small-T4-lambda{decay}" for decay in ("0.9", "0.5", "1")]
    assert {experiment.recipe.optimizer for experiment in small} == {"sgd"}
    assert small[0].eps == (2 / 255, 4 / 255, 8 / 255)
    robust = paper_experiments("small", images="cifar10", robust=True)[-1].recipe
    assert (robust.defence, robust.eps, robust.decay) == ("fgsm", 2.55 / 255, 0.9)


def test_full_size_has_the_papers_settings():
    recipes = [experiment.recipe for experiment in paper_experiments("full", images="cifar10")]
    have = {(recipe.architecture, recipe.time_steps, recipe.decay, recipe.defence) for recipe in recipes}
    for number in hart_iclr2024():
        if number.dataset == "CIFAR-10" and number.table > 1:
            defence = "fgsm" if number.robust_target else "none"
            assert (number.architecture, number.time_steps, number.decay, defence) in have


def test_twin_has_the_next_seed():
    for experiment in paper_experiments("small", images="cifar10", seed=7):
        assert experiment.twin.recipe.seed == 8
        assert experiment.twin.name == f"{experiment.name}-twin"
        assert experiment.twin.attacks == experiment.attacks


def test_steps_of_pgd_are_the_papers_on_images_and_parts_of_eps_on_events(events):
    images, *_ = paper_experiments("small", images="cifar10")
    assert images.attacks[:2] == (FGSM(eps=2 / 255), PGD(eps=2 / 255, eps_step=2 / 255, steps=7))
    frames, *_ = paper_experiments("small", events=events)
    assert frames.attacks[-1] == PGD(eps=0.25, eps_step=0.0625, steps=7)


def test_settings_reach_the_recipes(events):
    assert paper_experiments("small", images="digits", lr=0.02)[0].recipe.lr == 0.02
    assert {experiment.recipe.epochs for experiment in paper_experiments("small", images="digits", epochs=3)} == {3}
    for size, given, share in (("small", 0.5, 0.5), ("small", None, 0.3), ("full", None, None), ("full", 0.2, 0.2)):
        recipes = [e.recipe for e in paper_experiments(size, images="digits", events=events, test_share=given)]
        assert {recipe.test_share for recipe in recipes if recipe.events} == {share}
        assert {recipe.test_share for recipe in recipes if not recipe.events} == {None}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"size": "tiny", "images": "digits"}, ValueError, "size must be 'small' or 'full', got 'tiny'"),
        ({}, ValueError, "neither images nor events"),
        ({"images": "digits", "lr": 0.0}, ValueError, "lr must be a finite number > 0, got 0.0"),
        ({"images": "digits", "epochs": 0}, ValueError, "epochs must be a whole number >= 1, got 0"),
        ({"images": "digits", "test_share": 1.0}, ValueError, r"test_share must be in \(0, 1\), got 1.0"),
        ({"images": "digits", "seed": 2**32 - 1}, ValueError, "seed must be a whole number in 0 to 4294967294"),
        ({"images": "no/folder"}, DataError, "'no/folder' is neither"),
        ({"events": "digits"}, DataError, "'digits' holds images, not events"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        paper_experiments(**{"size": "small", **settings})


def test_events_are_no_images(events):
    with pytest.raises(DataError, match=r"recordings.npz' holds events, not images"):
        paper_experiments("small", images=events)
