"""Images: digits, CIFAR's files, folders."""

from __future__ import annotations

import hashlib
import pickle
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from art_snn.__main__ import main
from art_snn.data import load_cifar, load_digits, load_image_folder
from art_snn.errors import DataError
from tests.conftest import train_command


def test_digits_are_real_scaled_and_split_the_same_way():
    data = load_digits()
    assert data.x_train.shape == (1347, 1, 8, 8)
    assert data.x_test.shape == (450, 1, 8, 8)
    assert data.x_train.dtype == np.float32
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    share = np.bincount(data.y_test, minlength=10) / 450 - np.bincount(data.y_train, minlength=10) / 1347
    assert np.abs(share).max() < 0.002
    again = load_digits()
    assert all(np.array_equal(a, b) for a, b in zip(data, again, strict=True))
    rows = {x.tobytes() for x in data.x_train}
    assert sum(x.tobytes() in rows for x in data.x_test) == 0


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
    monkeypatch.setattr("art_snn.data.images.FileLock", lambda _: pytest.fail("what is there needs no lock"))
    load_cifar(name, folder)


def make_images(folder: Path, classes: tuple[str, ...] = ("a", "b"), count: int = 5) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image.new("RGB", (8, 8), (i, 0, 0)).save(folder / name / f"{i}.png")


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "TEST"), ("training", "Testing")])
def test_parts_of_a_folder_may_have_capitals(tmp_path, torchvision, train, test):
    make_images(tmp_path / train)
    with pytest.raises(DataError, match="test' is missing"):
        load_image_folder(tmp_path, image_size=8)
    make_images(tmp_path / test, count=2)
    split, names = load_image_folder(tmp_path, image_size=8)
    assert names == ["a", "b"]
    assert (len(split.x_train), len(split.x_test)) == (10, 4)
    make_images(tmp_path / ("test" if test == "Testing" else "testing"))
    with pytest.raises(DataError, match=r"holds \w+ and \w+; keep one of them$"):
        load_image_folder(tmp_path, image_size=8)


def test_classes_of_a_part_may_keep_images_in_a_folder(tmp_path, torchvision):
    for part in ("train", "test"):
        make_images(tmp_path / part)
        for label in ("a", "b"):
            images = sorted((tmp_path / part / label).iterdir())
            (tmp_path / part / label / "images").mkdir()
            for image in images:
                image.rename(tmp_path / part / label / "images" / image.name)
    split, names = load_image_folder(tmp_path, image_size=8)
    assert names == ["a", "b"]
    assert len(split.x_train) == len(split.x_test) > 0


def test_folders_of_folders_are_no_classes(tmp_path, torchvision):
    make_images(tmp_path, ("a",))
    make_images(tmp_path / "fit")
    with pytest.raises(DataError, match=r"fit' holds folders of images, but no image of its own; give train/<class>"):
        load_image_folder(tmp_path, image_size=8)


@pytest.mark.parametrize("kind", [ValueError, struct.error, "DecompressionBombError"])
def test_images_that_cannot_be_decoded_are_named(tmp_path, torchvision, monkeypatch, kind):
    image = pytest.importorskip("PIL.Image")
    make_images(tmp_path)
    error = getattr(image, kind) if isinstance(kind, str) else kind

    def opened(*_: object) -> None:
        raise error("bad\nbytes")

    monkeypatch.setattr(image, "open", opened)
    with pytest.raises(DataError, match=r"0\.png is no readable image: \w+\('bad") as found:
        load_image_folder(tmp_path, image_size=8)
    assert "\n" not in str(found.value)


def make_shades(folder: Path, classes: dict[str, int], size: int = 16) -> None:
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for shade, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(0, 60, (size, size, 3)) + 90 * shade
            image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i:03}.png")


def test_folder_is_loaded_split_and_trained_on(tmp_path, torchvision, capsys):
    flat, parted = tmp_path / "flat", tmp_path / "parted"
    make_shades(flat, {"dark": 20, "light": 20})
    split, names = load_image_folder(flat, image_size=8)
    assert names == ["dark", "light"]
    assert split.x_train.shape == (32, 3, 8, 8)
    assert split.x_test.shape == (8, 3, 8, 8)
    assert list(np.bincount(split.y_test)) == [4, 4]
    assert split.x_train.dtype == np.float32
    assert 0 <= split.x_train.min() < 0.3
    assert split.x_train[split.y_train == 1].mean() > split.x_train[split.y_train == 0].mean() + 0.3
    again, _ = load_image_folder(flat, image_size=8)
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))
    make_shades(parted / "train", {"dark": 12, "light": 9})
    make_shades(parted / "test", {"dark": 3, "light": 4})
    split, _ = load_image_folder(parted, image_size=16)
    assert (len(split.x_train), len(split.x_test)) == (21, 7)
    out = tmp_path / "run"
    assert main(train_command(out, "--data", str(parted), "--image-size", "16", epochs=2)) == 0
    assert "7 test images" in capsys.readouterr().out
    assert main(["evaluate", "--checkpoint", str(out), "--attacks", "fgsm", "--device", "cpu", "--quiet"]) == 0
    assert "parted SNN (fbf" in capsys.readouterr().out


def test_bad_folders_are_named(tmp_path, torchvision, capsys):
    def message(data: Path) -> str:
        assert main(train_command(tmp_path / "run", "--data", str(data), "--image-size", "8")) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    one = tmp_path / "one"
    make_shades(one, {"alone": 3})
    assert "has 1 class; two or more are needed" in message(one)
    small = tmp_path / "small"
    make_shades(small, {"a": 2, "b": 2})
    assert "has too few images to split" in message(small)
    half = tmp_path / "half"
    make_shades(half / "train", {"a": 2, "b": 2})
    assert "test' is missing" in message(half)
    make_shades(half / "test", {"a": 2, "c": 2})
    assert "do not have the same classes; only in one: b, c" in message(half)
    empty = tmp_path / "empty"
    make_shades(empty, {"a": 6, "b": 6})
    (empty / "c").mkdir()
    assert "c" in message(empty)
    damaged = tmp_path / "damaged"
    make_shades(damaged, {"a": 6, "b": 6})
    (damaged / "b" / "003.png").write_bytes(b"no image")
    assert str(Path("b") / "003.png") + " is no readable image" in message(damaged)
    assert not (tmp_path / "run").exists()
