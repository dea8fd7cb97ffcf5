"""Classifiers for the table: spiking and plain ones, for images and for event frames."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from art_snn import LIF, EventFrameEncoder, PyTorchSNNClassifier, SpikingNetwork
from art_snn.data import Split
from tests.compatibility.table import Case
from tests.conftest import one_thread
from tests.spy import spy as spy  # a fixture

SAMPLES = 12
FRAMES = 4


class PlainNet(nn.Module):
    """An ordinary network for images, or, frame by frame, for event frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()
        self.conv2, self.act2 = nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.ReLU()
        self.flat, self.fc = nn.Flatten(), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 5:
            return self.forward(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)
        return self.fc(self.flat(self.act2(self.conv2(self.act1(self.conv1(x))))))


def event_net() -> SpikingNetwork:
    body = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        LIF(decay=0.9),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        LIF(decay=0.9),
        nn.Linear(64, 10),
    )
    return SpikingNetwork(EventFrameEncoder(), body)


def as_events(images: np.ndarray, seed: int) -> np.ndarray:
    """Draw event frames (N, T, 2, H, W): ON events where a digit is bright, OFF events where it is dark."""
    chance = np.concatenate([images, 1 - images], axis=1)[:, None]
    draws = np.random.default_rng(seed).random((len(images), FRAMES, *chance.shape[2:]))
    return (draws < chance).astype(np.float32)


@pytest.fixture(scope="session")
def images(digits: Split) -> Split:
    return digits


@pytest.fixture(scope="session")
def events(digits: Split) -> Split:
    return Split(as_events(digits.x_train, 0), digits.y_train, as_events(digits.x_test, 1), digits.y_test)


def _fit(make: type[PyTorchClassifier], network: nn.Module, data: Split, epochs: int) -> PyTorchClassifier:
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    classifier = make(
        network,
        nn.CrossEntropyLoss(),
        data.x_train.shape[1:],
        10,
        optimizer=optimizer,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    with one_thread():
        classifier.fit(data.x_train, data.y_train, batch_size=64, nb_epochs=epochs)
    return classifier


@pytest.fixture(scope="session")
def _plain_images(images: Split) -> PyTorchClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _fit(PyTorchClassifier, PlainNet(1), images, 6)


@pytest.fixture(scope="session")
def _plain_events(events: Split) -> PyTorchClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _fit(PyTorchClassifier, PlainNet(2), events, 3)


@pytest.fixture(scope="session")
def _spiking_events(events: Split) -> PyTorchClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _fit(PyTorchSNNClassifier, event_net(), events, 3)


def make_case(classifier: PyTorchClassifier, data: Split) -> Case:
    """Return a case on a copy of a classifier, with inputs that it classifies correctly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = copy.deepcopy(classifier)
    for group in own.optimizer.param_groups:
        group["lr"] = 2e-3  # a schedule has brought it to 0
    one_hot = np.eye(10, dtype=np.float32)
    right = np.flatnonzero(own.predict(data.x_test).argmax(1) == data.y_test)[:SAMPLES]
    return Case(
        classifier=own,
        x=data.x_test[right].copy(),
        y=one_hot[data.y_test[right]],
        x_train=data.x_train[:160].copy(),
        y_train=one_hot[data.y_train[:160]],
        x_test=data.x_test[-100:].copy(),
        y_test=one_hot[data.y_test[-100:]],
        events=data.x_test.ndim == 5,
    )


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[[str, str], Case]:
    """Make a case: ("spiking" or "plain", "images" or "events")."""

    def make(kind: str, inputs: str) -> Case:
        spiking_images = kind == "spiking" and inputs == "images"
        name = "_trained" if spiking_images else f"_{kind}_{inputs}"
        return make_case(request.getfixturevalue(name), request.getfixturevalue(inputs))

    return make
