"""Event frames, and what of ART cannot take them."""

from __future__ import annotations

import pickle
from contextlib import suppress
from importlib import import_module

import pytest
from art.attacks.evasion import ProjectedGradientDescent, SquareAttack
from art.estimators.certification.randomized_smoothing import NumpyRandomizedSmoothing
from art.estimators.classification import (
    EnsembleClassifier,
    PyTorchClassifier,
    QueryEfficientGradientEstimationClassifier,
)
from art.exceptions import EstimatorError
from torch import nn

from art_snn import UnsupportedInputError
from art_snn.classifier import guard
from tests.classifier.classifiers import small_classifier
from tests.conftest import make_network


def test_the_refused_classes_are_arts():
    for module, name in guard.REFUSED:
        assert isinstance(getattr(import_module(module), name, None), type), f"{module}.{name}"


def test_classes_that_art_lacks_are_passed_over(monkeypatch):
    missing = {
        ("art.attacks.evasion", "GoneAttack"): guard._always("it is gone"),
        ("art.attacks.moved", "SquareAttack"): guard._always("it has moved"),
    }
    monkeypatch.setattr(guard, "REFUSED", {**missing, **guard.REFUSED})
    classifier = small_classifier(make_network("event-frame")[0], input_shape=(5, 2, 8, 8))
    classifier = pickle.loads(pickle.dumps(classifier))
    with pytest.raises(UnsupportedInputError, match="SquareAttack cannot take event frames"):
        SquareAttack(classifier)


def test_modules_that_are_there_and_fail_are_not_passed_over(monkeypatch, tmp_path):
    (tmp_path / "needs_what_is_absent.py").write_text("import absent_package_of_theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(guard, "REFUSED", {("needs_what_is_absent", "Attack"): guard._always("")})
    with pytest.raises(ModuleNotFoundError, match="absent_package_of_theirs"):
        guard.install()


WRAPPERS = {
    "ensemble": lambda c: EnsembleClassifier([c, c], channels_first=True, clip_values=(0.0, 2.0)),
    "query-efficient": lambda c: QueryEfficientGradientEstimationClassifier(c, num_basis=2, sigma=0.1),
    "nested": lambda c: NumpyRandomizedSmoothing(WRAPPERS["ensemble"](c), sample_size=2, scale=0.1),
    "smoothed": lambda c: NumpyRandomizedSmoothing(c, sample_size=2, scale=0.1),
    "plain": lambda c: PyTorchClassifier(
        c.model, nn.CrossEntropyLoss(), c.input_shape, 5, clip_values=(0.0, 2.0), device_type="cpu"
    ),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_event_frames_are_seen_through_arts_wrappers(wrap):
    events = small_classifier(make_network("event-frame")[0], input_shape=(5, 2, 8, 8), clip_values=(0.0, 2.0))
    images = small_classifier(clip_values=(0.0, 2.0))
    for classifier, expected in ((events, True), (images, False)):
        wrapped = wrap(classifier)
        assert guard.takes_event_frames(wrapped) is expected
        if expected:
            with pytest.raises(UnsupportedInputError, match="SquareAttack cannot take event frames"):
                SquareAttack(wrapped)
        else:
            with suppress(EstimatorError):  # ART's own refusal, of wrappers that are no neural network
                SquareAttack(wrapped)
    ProjectedGradientDescent(events, verbose=False)
