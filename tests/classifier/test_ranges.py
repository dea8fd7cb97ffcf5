"""Inputs outside the clip values or an encoder's range, at every door."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, NewtonFool, UniversalPerturbation
from art.data_generators import NumpyDataGenerator, PyTorchDataGenerator
from art.estimators.certification.randomized_smoothing import NumpyRandomizedSmoothing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from art_snn import LIF, DirectEncoder, GradientWarning, Normalize, PoissonEncoder, PyTorchSNNClassifier, SpikingNetwork
from art_snn.classifier import inputs
from art_snn.errors import InputRangeWarning
from art_snn.evaluation import zero_entries, zero_gradients
from art_snn.rules import rule_names
from tests.benchmarks.clip_values import ATTACKS, EPS

X = np.random.default_rng(0).random((6, 1, 4, 4), dtype=np.float32)
Y = np.arange(6) % 3


def make(encoder=None, *before: nn.Module, clip_values=(0.0, 1.0), **options) -> PyTorchSNNClassifier:
    torch.manual_seed(0)
    body = nn.Sequential(*before, nn.Flatten(), nn.Linear(16, 64), LIF(decay=0.9), nn.Linear(64, 3))
    network = SpikingNetwork(encoder or DirectEncoder(time_steps=6), body)
    return PyTorchSNNClassifier(
        network, nn.CrossEntropyLoss(), (1, 4, 4), 3, clip_values=clip_values, device_type="cpu", **options
    )


DOORS = {
    "predict": lambda classifier, x: classifier.predict(x),
    "loss_gradient": lambda classifier, x: classifier.loss_gradient(x, Y),
    "class_gradient": lambda classifier, x: classifier.class_gradient(x),
    "compute_loss": lambda classifier, x: classifier.compute_loss(x, Y),
    "get_activations": lambda classifier, x: classifier.get_activations(x, 0, batch_size=6),
    "zero_gradients": lambda classifier, x: zero_gradients(classifier, "hart", x, Y),
    "compute_losses": lambda classifier, x: classifier.compute_losses(torch.tensor(x), Y),
    "custom_loss_gradient": lambda classifier, x: classifier.custom_loss_gradient(torch.norm, x, X, 0),
    "activations with a graph": lambda classifier, x: classifier.get_activations(torch.tensor(x), 0, framework=True),
    "an attack": lambda classifier, x: FastGradientMethod(classifier, eps=0.1).generate(x, Y),
}
WRONG = {
    "bytes": (255 * X, "values from .* to 2.*% of them outside"),
    "normalised": ((X - 0.5) / 0.25, "values from -.*% of them outside"),
    "one entry": (np.where(np.arange(96).reshape(X.shape) == 7, 40, X).astype(np.float32), "to 40, 1.04 % of them"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore::art_snn.GradientWarning")
def test_every_door_warns_once_of_values_outside_the_clip_values(door, name):
    classifier, (x, text) = make(), WRONG[name]

    def run():
        DOORS[door](classifier, x)
        classifier.with_rule("stbp").predict(x)
        DOORS[door](classifier, x)

    with pytest.warns(InputRangeWarning, match=text) as caught:
        run()
    assert sum(issubclass(warning.category, InputRangeWarning) for warning in caught) == 1
    assert r"clip_values [0, 1]" in str(caught[0].message)


KINDS = [np.float64, np.float32, np.int64, np.uint8]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.filterwarnings("ignore::art_snn.GradientWarning")
def test_every_door_warns_of_the_values_that_are_outside_and_of_no_others(door):
    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.floats(-3, 3), st.floats(0.125, 4), st.sampled_from(KINDS))
    def check(low, width, kind):
        x = (X * width + low).clip(0 if kind is np.uint8 else None).astype(kind)
        classifier = make(eot_samples=1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InputRangeWarning)
            DOORS[door](classifier, x)
        told = [str(warning.message) for warning in caught if warning.category is InputRangeWarning]
        share = ((x < -1e-5) | (x > 1 + 1e-5)).mean()
        assert len(told) == (share > 0)
        assert all(f"{100 * share:.3g} % of them outside clip_values [0, 1]" in text for text in told)

    check()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("clip_values", [(0.0, 1.0), None, (np.zeros((1, 1, 1)), np.ones((1, 1, 1)))])
def test_no_door_warns_of_values_inside(door, clip_values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DOORS[door](make(clip_values=clip_values), X)


def test_clip_values_of_pixels():
    low, high = np.zeros((1, 4, 4), np.float32), np.full((1, 4, 4), 1, np.float32)
    high[0, 0, 0] = 0.01
    with pytest.warns(InputRangeWarning, match=r"6.25 % of them outside clip_values \[0, 1\] \(arrays"):
        make(clip_values=(low, high)).predict(np.full((4, 1, 4, 4), 0.5, np.float32))


def trainable() -> PyTorchSNNClassifier:
    classifier = make()
    classifier._optimizer = torch.optim.Adam(classifier.model.parameters())
    return classifier


TRAINED = {
    "array": lambda classifier, x: classifier.fit(x, Y, nb_epochs=2),
    "tensor": lambda classifier, x: classifier.fit(torch.from_numpy(x), torch.from_numpy(Y), nb_epochs=2),
    "generator": lambda classifier, x: classifier.fit_generator(NumpyDataGenerator(x, Y, 2, 6), nb_epochs=2),
    "loader": lambda classifier, x: classifier.fit_generator(
        PyTorchDataGenerator(DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(Y)), 2), 6, 2), nb_epochs=2
    ),
}


@pytest.mark.parametrize("door", TRAINED)
def test_training_warns_once_of_values_outside_the_clip_values(door):
    classifier = trainable()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TRAINED[door](classifier, X)
    with pytest.warns(InputRangeWarning, match=r"of them outside clip_values \[0, 1\]") as caught:
        TRAINED[door](classifier, 255 * X)
    assert sum(warning.category is InputRangeWarning for warning in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.predict(255 * X)


def test_copies_warn_anew():
    classifier = make()
    with pytest.warns(InputRangeWarning):
        classifier.predict(255 * X)
    with pytest.warns(InputRangeWarning):
        copy.deepcopy(classifier).predict(255 * X)


def test_values_outside_an_encoders_range_are_warned_of_with_what_to_do():
    classifier = make(PoissonEncoder(time_steps=6), preprocessing=(0.5, 0.25))
    text = r"PoissonEncoder got values from -.* \[0, 1\].*leave out the norm"
    with pytest.warns(InputRangeWarning, match=text) as caught:
        twice(classifier, X, Y)
    assert len(caught) == 1


def twice(classifier, x, y):
    for _ in range(2):
        classifier.loss_gradient(x, y)


def test_a_constructor_s_trial_is_no_input_of_the_users():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(PoissonEncoder(time_steps=6)).predict(X)


class Clip(nn.Module):
    def forward(self, x):
        return x.clamp(0.4, 0.6)


@pytest.mark.filterwarnings("ignore:.*all zero for some samples")
def test_pixels_without_a_gradient_are_seen_where_samples_have_one():
    classifier = make(None, Clip())
    x, y = np.random.default_rng(1).random((30, 1, 4, 4), dtype=np.float32), np.arange(30) % 3
    text = r"is zero for \d+% of the entries of x, among them all whose values are outside \[0.4"
    with pytest.warns(GradientWarning, match=text) as caught:
        twice(classifier, x, y)
    assert sum("entries of x" in str(warning.message) for warning in caught) == 1
    shares = zero_entries(classifier, "hart", x, y)
    inside = (x >= 0.4) & (x <= 0.6)
    moved = ~zero_gradients(classifier, "hart", x, y)
    assert moved.sum() > 20
    np.testing.assert_allclose(shares[moved], 1 - inside.reshape(30, -1).mean(1)[moved], atol=1e-6)


@pytest.mark.parametrize("rule", rule_names())
def test_a_network_without_faults_is_not_accused(rule):
    classifier = make(None, Normalize([0.5], [0.25]))
    classifier.gradient_rule = rule
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*entries of x")
        warnings.filterwarnings("ignore", message=".*all zero")
        classifier.loss_gradient(X, Y)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.filterwarnings("ignore::art_snn.InputRangeWarning", "ignore::art_snn.GradientWarning")
def test_attacks_do_to_values_outside_what_the_docs_say(attack):
    x = 4 * np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32) - 2
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), LIF(decay=0.9), nn.Linear(32, 10))
    classifier = PyTorchSNNClassifier(
        SpikingNetwork(DirectEncoder(time_steps=4), body),
        nn.CrossEntropyLoss(),
        (1, 8, 8),
        10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    examples = ATTACKS[attack](classifier).generate(x, classifier.predict(x).argmax(1))
    changed = (examples != x).reshape(4, -1).any(1)  # Square leaves a sample where its first stripes gain nothing
    assert changed.any()
    x, examples = x[changed], examples[changed]
    distance = np.maximum(-x, x - 1)  # to the range
    outside = distance > 0
    moved = np.where(x > 1, x - examples, examples - x)[outside]
    if attack in ("Square", "DeepFool"):
        assert (moved >= distance[outside] - 1e-5).all()
        assert ((examples >= 0) & (examples <= 1)).all()
    else:
        far = distance[outside] >= EPS
        np.testing.assert_allclose(moved[far], EPS, rtol=1e-4)
        assert (moved[~far] >= distance[outside][~far] - 1e-4).all()


def smoothed(classifier, x):
    NumpyRandomizedSmoothing(classifier, 8, scale=0.5).predict(x, verbose=False)


ON_THEIR_WAY = {
    "NumpyRandomizedSmoothing": smoothed,
    "NewtonFool": lambda c, x: NewtonFool(c, max_iter=3, verbose=False).generate(x),
    "UniversalPerturbation": lambda c, x: UniversalPerturbation(c, max_iter=1, verbose=False).generate(x),
}


@pytest.mark.parametrize("name", ON_THEIR_WAY)
@pytest.mark.filterwarnings("ignore::art_snn.GradientWarning")
def test_what_leaves_the_range_on_its_way_is_not_taken_for_the_inputs(name, monkeypatch):
    seen = []
    monkeypatch.setattr(inputs, "_given", lambda x, origin=inputs._given: seen.append(x) or origin(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputRangeWarning)
        ON_THEIR_WAY[name](make(), X)
    assert seen  # it did leave the range
    with pytest.warns(InputRangeWarning, match=r"values from 0.* to 2.9"):  # those given, not those on the way
        ON_THEIR_WAY[name](make(), 3 * X)
