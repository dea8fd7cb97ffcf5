"""The own files of CIFAR10-DVS, DVS128 Gesture and N-Caltech101, also where SpikingJelly unpacks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from art_snn.data import (
    Framing,
    Recordings,
    load_event_frames,
    read_cifar10_dvs,
    read_dvs_gesture,
    read_ncaltech101,
    source,
    to_frames,
)
from art_snn.errors import DataError
from tests.data.archives import some_recordings, write_cifar10_dvs, write_dvs_gesture, write_ncaltech101, write_nmnist


def same(
    found: Recordings, order: list[int], labels: list[int], classes: int = 2, start: Callable = lambda _: 0
) -> None:
    """Check recordings, event by event."""
    items = some_recordings(classes=classes)
    assert list(found.labels) == labels
    for place, i in enumerate(order):
        part = slice(*found.offsets[place : place + 2])
        for name in ("x", "y", "p"):
            np.testing.assert_array_equal(getattr(found, name)[part], items[i][0][name])
        np.testing.assert_array_equal(found.t[part], items[i][0]["t"] + start(i))


BY_CLASS = [*range(0, 20, 2), *range(1, 20, 2)]


def test_cifar10_dvs_is_read(tmp_path):
    write_cifar10_dvs(tmp_path)
    found = read_cifar10_dvs(tmp_path)
    assert (found.sensor_size, found.is_test) == ((128, 128, 2), None)
    same(found, BY_CLASS, [0] * 10 + [1] * 10)


def test_ncaltech101_is_read(tmp_path):
    write_ncaltech101(tmp_path)
    found = read_ncaltech101(tmp_path)
    assert (found.sensor_size, found.is_test) == ((240, 180, 2), None)
    # The files of N-MNIST are renamed, the "Test" ones of a class first.
    same(found, BY_CLASS, [0] * 10 + [1] * 10)


def test_dvs_gesture_is_read(tmp_path):
    write_dvs_gesture(tmp_path)
    found = read_dvs_gesture(tmp_path)
    assert found.sensor_size == (128, 128, 2)
    assert list(found.is_test) == [False] * 10 + [True] * 10
    names = sorted(str(i) for i in range(11))
    labels = [names.index(str(i % 11)) for i in range(20)]
    same(found, list(range(20)), labels, 11, lambda i: i % 10 * 10**6 + 2**31 * (i % 10 >= 5))


WRITERS = {
    "Caltech101": write_ncaltech101,
    "DvsGesture": write_dvs_gesture,
    "": write_cifar10_dvs,
    "nmnist": write_nmnist,
}


@pytest.mark.parametrize("inner", WRITERS)
@pytest.mark.parametrize("outer", ["root/extract", "root", "root/extract/inner"])
def test_folders_of_files_are_sources(tmp_path, monkeypatch, inner, outer):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "root" / "extract" / (inner if inner[:1].isupper() else "")
    place.mkdir(parents=True)
    WRITERS[inner](place)
    folder = place if outer.endswith("inner") else tmp_path / outer
    found = source(str(folder))
    framing = Framing(time_steps=2, image_size=16)
    split = load_event_frames(folder, framing)
    for array, other in zip(found.load(framing), split, strict=True):
        np.testing.assert_array_equal(array, other)
    assert found.events
    assert len(split.x_train) + len(split.x_test) == 20
    readers = {"Caltech101": read_ncaltech101, "DvsGesture": read_dvs_gesture, "": read_cifar10_dvs}
    if inner in readers:
        frames = to_frames(readers[inner](place), framing)
        assert np.concatenate([split.x_train, split.x_test]).sum() == pytest.approx(frames.sum())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-3], r"is damaged: \d+ bytes after its header, and an event has 8"),
        (lambda raw: b"", "is damaged, or no file of CIFAR10-DVS: it does not begin with #!AER-DAT2.0"),
        (lambda raw: b"#!AER-DAT2.0\r\n#", "is damaged: 0 bytes after its header"),
        (lambda raw: raw.replace(b"DAT2", b"DAT4"), "no file of CIFAR10-DVS"),
        (lambda raw: raw[:-8] + raw[-8:-4] + bytes(4), r"has t going back from \d+ to 0; sort=True sorts the events"),
    ],
)
def test_damaged_files_of_cifar10_dvs_are_named(tmp_path, damage, message):
    write_cifar10_dvs(tmp_path)
    file = next(tmp_path.glob("*/*.aedat"))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=message) as error:
        read_cifar10_dvs(tmp_path)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("user01_led.aedat", lambda raw: raw[:-3], r"is damaged: the packet at byte \d+ is cut off"),
        ("user01_led.aedat", lambda raw: raw[:60], r"is damaged: the packet at byte \d+ is cut off"),
        ("user01_led.aedat", lambda raw: raw.replace(b"END", b"ENT"), "no file of DVS128 Gesture: it has no header"),
        ("user01_led.aedat", lambda raw: raw.replace(b"DAT3.1", b"DAT2.0"), "no file of DVS128 Gesture"),
        ("user00_led_labels.csv", lambda raw: b"", "labels.csv is damaged: it needs rows of class"),
        ("user00_led_labels.csv", lambda raw: raw + b"12,0,5\n", "labels.csv is damaged: it needs rows of class"),
        ("user00_led_labels.csv", lambda raw: raw + b"a,0,5\n", "is missing or damaged: invalid literal"),
        ("user00_led_labels.csv", lambda raw: raw + b"1,7,7\n", "user00_led.aedat, from 7 to 7 us holds no event"),
        ("trials_to_test.txt", lambda raw: b"user02.aedat", "user02.aedat or user02_labels.csv is missing or damaged"),
    ],
)
def test_damaged_files_of_dvs_gesture_are_named(tmp_path, file, damage, message):
    write_dvs_gesture(tmp_path)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read_dvs_gesture(tmp_path)


def test_folders_without_files_are_named(tmp_path):
    for read, message in (
        (read_dvs_gesture, r"has no trials_to_train.txt and trials_to_test.txt; give the folder DvsGesture"),
        (read_cifar10_dvs, r"no \*\.aedat in"),
        (read_ncaltech101, r"no \*\.bin in"),
    ):
        with pytest.raises(DataError, match=message):
            read(Path(tmp_path))
