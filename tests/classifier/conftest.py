"""Inputs for the classifiers of these tests."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import make_network


@pytest.fixture
def x() -> np.ndarray:
    return make_network("plain")[1].numpy()
