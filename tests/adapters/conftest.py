from __future__ import annotations

import pytest

from art_snn.adapters import register_reader
from art_snn.snn import readers
from tests.adapters import nodes


@pytest.fixture
def known(monkeypatch):
    """Nodes that a reader knows, for the time of a test."""
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    register_reader(nodes.read)
