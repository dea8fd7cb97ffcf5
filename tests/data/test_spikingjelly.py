"""Folders of events that SpikingJelly made."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from art_snn.data import from_tonic, load_event_frames, read_spikingjelly
from art_snn.errors import DataError
from tests.data.archives import Tonic, by_class, some_recordings, spikingjelly_files, write_events_np


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))


def test_the_order_of_reading_is_another_one(tmp_path):
    assert by_class(tmp_path) != list(range(20))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "dtypes",
    [
        {},
        dict.fromkeys("txyp", np.uint32),  # N-MNIST and N-Caltech101
        {"t": ">u4", "x": np.uint32, "y": np.uint32, "p": np.int64},  # CIFAR10-DVS
        {"t": np.uint64, "x": np.int16, "y": np.int16, "p": bool},
    ],
)
@pytest.mark.parametrize("root", [True, False])
def test_events_are_read_with_their_split(tmp_path, save, dtypes, root):
    folder = tmp_path / "events_np"
    write_events_np(folder, save=save, dtypes=dtypes)
    found = read_spikingjelly(tmp_path if root else folder, sensor_size=(34, 34, 2))
    order = by_class(folder)
    expected = from_tonic(Tonic([some_recordings()[i] for i in order]), is_test=[i >= 16 for i in order])
    for array, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, other)


def test_events_without_parts_have_no_split(tmp_path):
    write_events_np(tmp_path / "events_np", parts=False)
    found = read_spikingjelly(tmp_path / "events_np")
    assert found.is_test is None
    assert list(np.bincount(found.labels)) == [10, 10]


def test_classes_are_numbered_by_name_as_spikingjelly_does(tmp_path):
    names = tuple(str(i) for i in range(11))
    write_events_np(tmp_path / "events_np", parts=False, classes=names)
    (tmp_path / "events_np" / ".ipynb_checkpoints").mkdir()
    found = read_spikingjelly(tmp_path)
    assert sorted(names)[2] == "10"
    for label, name in enumerate(sorted(names)):
        file = min((tmp_path / "events_np" / name).iterdir())
        first = found.offsets[list(found.labels).index(label)]
        with np.load(file) as events:
            assert (found.x[first], found.t[first]) == (events["x"][0], events["t"][0])


@pytest.mark.parametrize(
    ("corner", "sensor"),
    [
        ((33, 33), (34, 34)),
        ((34, 0), (128, 128)),
        ((239, 179), (240, 180)),
        ((0, 180), (304, 240)),
        ((700, 3), (1280, 720)),
    ],
)
def test_a_sensor_is_the_smallest_that_has_all_events(tmp_path, caplog, corner, sensor):
    write_events_np(tmp_path / "events_np")
    file = next((tmp_path / "events_np").glob("train/0/*"))
    np.savez(file, t=[1], x=corner[:1], y=corner[1:], p=[0])
    with caplog.at_level(logging.WARNING, "art_snn.data.spikingjelly"):
        found = read_spikingjelly(tmp_path)
    assert found.sensor_size == (*sensor, 2)
    assert f"a sensor of {sensor[0]}x{sensor[1]} pixels" in caplog.text
    assert (found.x.dtype, found.y.dtype) == tuple(np.min_scalar_type(side - 1) for side in sensor)
    assert (found.x.max(), found.y.max()) == tuple(max(33, place) for place in corner)
    with pytest.raises(DataError, match=r"user\d\d_0.npz has [xy]=\d+, outside 0 to 9"):
        read_spikingjelly(tmp_path, sensor_size=(10, 10, 2))


def test_events_beyond_every_sensor_need_its_size(tmp_path):
    write_events_np(tmp_path / "events_np")
    np.savez(next((tmp_path / "events_np").glob("train/0/*")), t=[1], x=[2000], y=[3], p=[0])
    with pytest.raises(
        DataError, match="events reach x=2000 and y=33, beyond the sensors that are known; give sensor_size"
    ):
        read_spikingjelly(tmp_path)
    assert read_spikingjelly(tmp_path, sensor_size=(2048, 1024, 2)).x.max() == 2000


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": None}, r"events in one dimension \(no y\), as SHD and SSC do"),
        ({"y": None, "p": None}, r"events in one dimension \(no y\), as SHD and SSC do"),
        ({"t": None}, "lacks the arrays t; it has x, y, p"),
        ({"p": [0, 1, 2]}, "has p=2, outside 0 to 1"),
        ({"t": [3, 2, 4]}, "has t going back from 3 to 2; sort=True sorts the events"),
        ({"t": [0.1, 0.2, 0.3]}, "has t of dtype float64; whole numbers are needed: round times to microseconds"),
        ({"t": [1, 2]}, r"has t of shape \(2,\); x, y, p and t are one number for each event"),
        ({"x": [1, 34, 2]}, "has x=34, outside 0 to 33"),
        ({"y": [1, -1, 2]}, "has y=-1, outside 0 to 33"),
        ({"x": [[1], [2], [3]]}, r"has x of shape \(3, 1\)"),
        ({name: [] for name in "xypt"}, "of dtype float64; whole numbers"),
        ({name: np.zeros(0, int) for name in "xypt"}, "holds no event"),
    ],
)
def test_files_that_are_no_events_are_named(tmp_path, arrays, message):
    write_events_np(tmp_path / "events_np")
    file = spikingjelly_files(tmp_path / "events_np")[3]
    right = {"t": [1, 2, 3], "x": [1, 2, 3], "y": [1, 2, 3], "p": [0, 1, 1]}
    np.savez(file, **{name: values for name, values in (right | arrays).items() if values is not None})
    with pytest.raises(DataError, match=message) as error:
        read_spikingjelly(tmp_path, sensor_size=(34, 34, 2))
    assert str(file) in str(error.value)


def test_damaged_files_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*none'; give SpikingJelly's events_np"):
        read_spikingjelly(tmp_path / "none")
    with pytest.raises(DataError, match=r"no \*\.npz in"):
        read_spikingjelly(tmp_path)
    with pytest.raises(
        DataError, match=r"no event recordings in .*; give the files of N-MNIST, .*or what SpikingJelly"
    ):
        load_event_frames(tmp_path)
    write_events_np(tmp_path / "events_np")
    file = spikingjelly_files(tmp_path / "events_np")[0]
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"{file.name} is no readable NumPy archive"):
        load_event_frames(tmp_path)
    file.unlink()
    file.symlink_to(tmp_path / "moved.npz")  # as CIFAR10DVSTEBNSplit makes them
    with pytest.raises(DataError, match=rf"{file.name} is no readable NumPy archive: FileNotFoundError"):
        read_spikingjelly(tmp_path)
    (tmp_path / "events_np" / "test" / "2").mkdir()
    with pytest.raises(DataError, match=r"train/ and test/ of .* do not have the same classes; only in one: 2"):
        read_spikingjelly(tmp_path)


def test_events_out_of_order_are_sorted_on_demand(tmp_path):
    write_events_np(tmp_path / "events_np")
    file, right = spikingjelly_files(tmp_path / "events_np")[0], read_spikingjelly(tmp_path)
    with np.load(file) as archive:
        np.savez(file, **{name: np.roll(values, 5) for name, values in archive.items()})
    with pytest.raises(DataError, match="sort=True sorts the events"):
        load_event_frames(tmp_path)
    for found, expected in zip(read_spikingjelly(tmp_path, sort=True), right, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert load_event_frames(tmp_path, sort=True).x_train.shape == (16, 10, 2, 48, 48)
