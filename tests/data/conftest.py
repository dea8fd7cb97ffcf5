"""torchvision, where it imports."""

from __future__ import annotations

import pytest


@pytest.fixture
def torchvision():
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"CIFAR and folders of images need a torchvision that imports: {error}")
    return torchvision
