"""Data sets by name or folder."""

from __future__ import annotations

import pytest

from art_snn.data.sets import resolved
from art_snn.errors import DataError


@pytest.mark.parametrize(("name", "files"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_folders_of_cifar_are_told_from_images(tmp_path, monkeypatch, name, files):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / files).mkdir()
    for folder in (tmp_path, tmp_path / files):
        with pytest.raises(DataError, match=f"write '{name}', which reads '.*{files}'$"):
            resolved(str(folder))
