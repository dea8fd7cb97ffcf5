"""CIFAR's files."""

from __future__ import annotations

import hashlib
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from art_snn.data import load_cifar
from art_snn.errors import DataError


def test_cifar_is_read_from_torchvisions_files(tmp_path, torchvision, monkeypatch):
    """A small CIFAR-10 in the real file format; torchvision checks its digests, so they are those of these files."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)
    pixels = {}

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    for name in ("data_batch_1", "test_batch"):
        pixels[name] = generator.integers(0, 256, (6, 3072), dtype=np.uint8)
    known = torchvision.datasets.CIFAR10
    lists = SimpleNamespace(
        train=[write("data_batch_1", {"data": pixels["data_batch_1"], "labels": [0, 1, 2, 3, 4, 5]})],
        test=[write("test_batch", {"data": pixels["test_batch"], "labels": [5, 4, 3, 2, 1, 0]})],
    )
    name, digest = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(known, "train_list", lists.train)
    monkeypatch.setattr(known, "test_list", lists.test)
    monkeypatch.setattr(known, "meta", {"filename": name, "key": "label_names", "md5": digest})
    split = load_cifar("cifar10", tmp_path, download=False)
    np.testing.assert_allclose(split.x_train, pixels["data_batch_1"].reshape(6, 3, 32, 32) / 255, rtol=1e-6)
    assert split.x_train.dtype == np.float32
    assert list(split.y_test) == [5, 4, 3, 2, 1, 0]
    (folder / "test_batch").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cifar10 is not in"):
        load_cifar("cifar10", tmp_path, download=False)
    with pytest.raises(ValueError, match="name must be 'cifar10' or 'cifar100', got 'cifar20'"):
        load_cifar("cifar20", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_downloaded_by_one_process_at_a_time(tmp_path, torchvision, monkeypatch, name):
    folder, at_work, downloads = tmp_path / "new", threading.Lock(), []

    class Known:
        data, targets = np.zeros((2, 32, 32, 3), np.uint8), (0, 1)

        def __init__(self, root: str, *, train: bool, download: bool) -> None:
            file = Path(root) / "whole"
            if file.exists():
                return
            if not download:
                raise RuntimeError("not found")
            assert at_work.acquire(blocking=False), "two download at once"
            downloads.append(train)
            time.sleep(0.2)
            file.touch()
            at_work.release()

    monkeypatch.setattr(torchvision.datasets, name.upper(), Known)
    with ThreadPoolExecutor(3) as pool:
        splits = list(pool.map(lambda _: load_cifar(name, folder), range(3)))
    assert [len(split.x_train) for split in splits] == [2, 2, 2]
    assert downloads == [True]
    with pytest.raises(DataError, match="not found"):
        load_cifar(name, tmp_path / "none", download=False)
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("art_snn.data.cifar.FileLock", lambda _: pytest.fail("what is there needs no lock"))
    load_cifar(name, folder)
