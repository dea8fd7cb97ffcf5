"""Recipes reach optimizer, precision and network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from art_snn import LIF
from art_snn.attacks import PGD
from art_snn.errors import TrainingError
from art_snn.snn.surrogates import ATan, Sigmoid, Triangle
from art_snn.training.build import make_classifier
from art_snn.training.losses import DEFENCES, STEPPED
from art_snn.training.recipe import Recipe
from art_snn.training.run import train
from tests.training.runs import TINY


def test_recipe_reaches_optimizer_precision_and_network(few, tmp_path, monkeypatch):
    from art_snn.training import losses as defences

    seen = []
    inner = torch.nn.functional.cross_entropy

    def spy(logits, labels):
        seen.append(logits.dtype)
        return inner(logits, labels)

    monkeypatch.setattr(defences.nn.functional, "cross_entropy", spy)
    weights = []
    for options in (
        {},
        {"mixed_precision": True},
        {"optimizer": "sgd", "lr": 0.1},
        {"weight_decay": 0.1},
        {"surrogate": "atan"},
    ):
        recipe = Recipe(**{**TINY, "epochs": 1, "defence": "none", **options})
        classifier, _ = train(recipe, few, tmp_path / str(len(weights)), device_type="cpu")
        weights.append(next(classifier.model.parameters()).detach().clone())
    assert set(seen) == {torch.float32}
    assert all(not torch.equal(weights[0], other) for other in weights[1:])
    classifier = make_classifier(
        Recipe(architecture="resnet17", optimizer="sgd", weight_decay=0.25), (3, 8, 8), 4, "cpu"
    )
    assert classifier.optimizer.defaults["momentum"] == 0.9
    assert classifier.optimizer.defaults["weight_decay"] == 0.25
    assert "Residual" in repr(classifier.model)
    convolutions = [module for module in classifier.model.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(one.weight.is_contiguous(memory_format=torch.channels_last) for one in convolutions)
    mean = [0.4914, 0.4822, 0.4465]
    assert classifier.model.network.body[0].mean.flatten().tolist() == pytest.approx(mean)
    hundred = make_classifier(Recipe(architecture="resnet17", data="cifar100"), (3, 32, 32), 100, "cpu")
    assert hundred.model.network.body[0].mean.flatten().tolist() == pytest.approx([0.5071, 0.4865, 0.4409])
    for name, slope in (("triangle", Triangle()), ("atan", ATan()), ("sigmoid", Sigmoid())):
        own = make_classifier(Recipe(surrogate=name), (1, 8, 8), 10, "cpu")
        assert {module.surrogate for module in own.model.modules() if isinstance(module, LIF)} == {slope}
    with pytest.raises(ValueError, match="surrogate must be 'triangle', 'atan' or 'sigmoid', got 'step'"):
        Recipe(surrogate="step")
    assert classifier.nb_classes == 4
    with pytest.raises(TrainingError, match=r"vgg_dvs takes event frames, not images \(3, 8, 8\)"):
        make_classifier(Recipe(architecture="vgg_dvs"), (3, 8, 8), 4, "cpu")


@pytest.mark.parametrize("architecture", ["vgg11", "resnet17"])
def test_papers_networks_take_other_numbers_of_channels(architecture):
    recipe = Recipe(architecture=architecture, time_steps=2)
    for channels, mean in ((1, 0.5), (3, 0.4914)):
        classifier = make_classifier(recipe, (channels, 8, 8), 4, "cpu")
        assert classifier.model.network.body[0].mean.flatten()[0] == pytest.approx(mean)
        assert classifier.predict(np.zeros((2, channels, 8, 8), dtype=np.float32)).shape == (2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be"),
        ({"decay": 0.0}, "decay"),
        ({"reset": "no"}, "reset"),
        ({"schedule": "steps"}, "schedule"),
        ({"binary": True}, "binary frames are of event recordings, and 'digits' are images"),
    ],
)
def test_bad_recipes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_binary_frames_are_another_training_and_counts_the_one_they_were():
    counts = Recipe(model="nets.py:make", events=True)
    assert replace(counts, binary=True).digest != counts.digest
    assert replace(counts, binary=True).framing == replace(counts.framing, binary=True)
    before = {name: value for name, value in asdict(Recipe()).items() if name not in ("model", "binary")}
    text = json.dumps(before | {"version": 2}, sort_keys=True)
    assert Recipe().digest == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_paths_and_numbers_of_numpy_are_kept_as_plain_ones(tmp_path):
    recipe = Recipe(data=tmp_path, epochs=np.int64(2), lr=np.float32(0.5))
    assert (recipe.data, type(recipe.epochs), type(recipe.lr)) == (str(tmp_path), int, float)


def test_model_stands_in_the_place_of_an_architecture(tmp_path):
    own = Recipe(model="nets.py:make")
    assert (own.architecture, own.time_steps, Recipe().time_steps) == (None, None, 4)
    assert Recipe(model="nets.py:make", events=True).time_steps == 4
    assert len({recipe.digest for recipe in (Recipe(), own, replace(own, model="nets.py:other"))}) == 3
    assert Recipe().digest == "7e5357acd2499cae"  # so that what was trained before is found
    with pytest.raises(ValueError, match=r"a recipe has a model or an architecture, got 'nets\.py:make' and 'vgg11'"):
        replace(own, architecture="vgg11")
    with pytest.raises(ValueError, match=r"nets\.py:make has no width to choose, got width=4"):
        replace(own, width=4)
    with pytest.raises(TrainingError, match=r"the recipe is of nets\.py:make; give that function as make_network"):
        make_classifier(own, (1, 8, 8), 10, "cpu")


@pytest.mark.parametrize("defence", DEFENCES)
def test_attacks_take_the_steps_that_a_training_has(defence):
    recipe = Recipe(defence=defence, eps=0.2, max_iter=4)
    settings, other = recipe.attack_settings(), recipe.attack_settings(0.1)
    own = replace(recipe, eps_step=0.03).attack_settings(0.1)
    if defence in STEPPED:
        assert settings == {"eps": 0.2, "eps_step": 0.1, "steps": 4}
        assert other == {"eps": 0.1, "eps_step": 0.05, "steps": 4}
        assert own == {"eps": 0.1, "eps_step": 0.03, "steps": 4}
    else:
        assert (settings, other, own) == ({"eps": 0.2}, {"eps": 0.1}, {"eps": 0.1})


@pytest.mark.filterwarnings("ignore::art_snn.errors.GradientWarning")
@pytest.mark.parametrize("defence", DEFENCES)
def test_trainings_that_have_steps_are_those_that_make_pgds_examples(few, monkeypatch, defence):
    made = []
    monkeypatch.setattr("art_snn.training.losses.PGD", lambda **settings: made.append(settings) or PGD(**settings))
    classifier = make_classifier(Recipe(), (1, 8, 8), 10, "cpu")
    DEFENCES[defence](classifier, few.x_train[:2], few.y_train[:2], Recipe(max_iter=2).loss_settings)
    assert [{"steps": 2}] * len(made) == [{"steps": settings["steps"]} for settings in made]
    assert bool(made) == (defence in STEPPED)
