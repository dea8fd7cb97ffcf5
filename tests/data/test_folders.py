"""Folders of images."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from art_snn.__main__ import main
from art_snn.data import load_image_folder
from art_snn.errors import DataError
from tests.conftest import train_command


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
    from art_snn.data.folders import load_image_folder

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
