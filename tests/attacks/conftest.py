"""What the tests of the attacks share."""

from __future__ import annotations

import pytest

from tests.attacks.searches import ATTACKS


@pytest.fixture(params=ATTACKS, ids=lambda attack: attack.__name__)
def attack(request: pytest.FixtureRequest) -> type:
    """An attack that keeps its iterates."""
    return request.param
