"""What tests of pictures share."""

from __future__ import annotations

import numpy as np
import pytest

from art_snn import PyTorchSNNClassifier
from tests.classifier.classifiers import small_classifier
from tests.conftest import make_network


@pytest.fixture
def small() -> tuple[PyTorchSNNClassifier, np.ndarray]:
    """A classifier of 5 classes with three spiking layers and T = 5, and four inputs."""
    network, x = make_network("plain")
    return small_classifier(network), x.numpy()
