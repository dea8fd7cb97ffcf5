"""Data sets: splits, augmentation, recordings of event cameras and their frames, CIFAR's files."""

from __future__ import annotations

import hashlib
import logging
import pickle
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from art_snn.data import (
    Recordings,
    Split,
    from_tonic,
    load_cifar,
    load_event_frames,
    load_image_folder,
    read_nmnist,
    read_npz,
    stratified,
    stratified_part,
    to_frames,
    write_npz,
)
from art_snn.data.sets import resolved
from art_snn.errors import DataError
from art_snn.training.augmentation import augment

EVENTS = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "<i1")])


def recording(generator: np.random.Generator, side: int, events: int) -> np.ndarray:
    found = np.empty(events, EVENTS)
    found["x"], found["y"] = generator.integers(0, side, (2, events))
    found["p"] = generator.integers(0, 2, events)
    found["t"] = np.sort(generator.integers(0, 300_000, events))
    return found


def some_recordings(count: int = 20, side: int = 34, *, classes: int = 2) -> list[tuple[np.ndarray, int]]:
    generator = np.random.default_rng(0)
    return [(recording(generator, side, int(generator.integers(40, 90))), i % classes) for i in range(count)]


class Tonic(list):
    """What a data set of tonic looks like."""

    sensor_size = (34, 34, 2)


def make_npz(path: Path, **changes: np.ndarray) -> Path:
    events, labels = zip(*some_recordings(), strict=True)
    joined = np.concatenate(events)
    arrays = {
        "x": joined["x"].astype(np.uint8),
        "y": joined["y"].astype(np.uint8),
        "p": joined["p"].astype(np.uint8),
        "t_us": joined["t"].astype(np.uint32),
        "offsets": np.concatenate([[0], np.cumsum([len(part) for part in events])]),
        "labels": np.array(labels, dtype=np.uint8),
        "is_test": (np.arange(len(labels)) >= 16).astype(np.uint8),
        "sensor_size": np.array([34, 34, 2]),
        **changes,
    }
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_nmnist(folder: Path) -> None:
    """Write recordings as N-MNIST's files: 40 bits an event, and an overflow event at each 2**13 us."""
    for i, (events, label) in enumerate(some_recordings()):
        file = folder / ("Test" if i >= 16 else "Train") / str(label) / f"{i:05}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        out, passed = bytearray(), 0
        for x, y, t, p in events.tolist():
            while t - passed >= 2**13:
                out += bytes([245, 240, 0, 0, 0])
                passed += 2**13
            left = t - passed
            out += bytes([x, y, (p << 7) | (left >> 16), (left >> 8) & 255, left & 255])
        file.write_bytes(out)


def slow_frames(events: np.ndarray, time_steps: int, split_by: str, side: int = 34) -> np.ndarray:
    """Count event by event."""
    frames = np.zeros((time_steps, 2, side, side))
    first, last = int(events["t"][0]), int(events["t"][-1])
    for i, (x, y, t, p) in enumerate(events.tolist()):
        if split_by == "number":
            step = i // (len(events) // time_steps)
        else:
            step = int((t - first) / ((last - first) / time_steps))
        frames[min(step, time_steps - 1), p, y, x] += 1
    return frames


def test_three_sources_give_the_same_recordings(tmp_path):
    write_nmnist(tmp_path)
    from_files, from_archive = read_nmnist(tmp_path), read_npz(make_npz(tmp_path / "events.npz"))
    order = [*range(0, 16, 2), *range(1, 16, 2), *range(16, 20, 2), *range(17, 20, 2)]  # files come by class
    train_first = sorted(range(20), key=lambda i: (i < 16, i % 2, i))  # "Test" sorts before "Train"
    from_library = from_tonic(Tonic(some_recordings()), is_test=None)
    assert order != train_first
    assert list(from_files.labels) == [i % 2 for i in train_first]
    assert list(from_files.is_test) == [i >= 16 for i in train_first]
    for place, i in enumerate(train_first):
        a = slice(*from_files.offsets[place : place + 2])
        for other in (from_archive, from_library):
            b = slice(*other.offsets[i : i + 2])
            for name in ("x", "y", "p", "t"):
                np.testing.assert_array_equal(getattr(from_files, name)[a], getattr(other, name)[b])
    assert from_library.is_test is None
    assert list(from_tonic(Tonic(some_recordings(2)), is_test=True).is_test) == [True, True]


@pytest.mark.parametrize("is_test", [None, True])
def test_written_recordings_are_read_again(tmp_path, is_test):
    recordings = from_tonic(Tonic(some_recordings()), is_test=is_test)
    file = tmp_path / "new" / "events.npz"
    write_npz(recordings, file)
    write_npz(recordings, file)
    again = read_npz(file)
    assert list(file.parent.iterdir()) == [file]
    assert again.sensor_size == recordings.sensor_size
    for name in ("x", "y", "p", "t", "offsets", "labels", "is_test"):
        np.testing.assert_array_equal(getattr(again, name), getattr(recordings, name))
    assert [array.dtype for array in again[:4]] == [array.dtype for array in recordings[:4]]
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        write_npz(recordings, tmp_path / "events.zip")


def test_a_stopped_writing_leaves_the_older_archive(tmp_path, monkeypatch):
    recordings, file = from_tonic(Tonic(some_recordings())), tmp_path / "events.npz"
    write_npz(recordings, file)
    before = file.read_bytes()

    def stopped(path: Path, **_: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy.savez", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_npz(recordings, file)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == before


def test_tonic_reads_the_same_files(tmp_path):
    io = pytest.importorskip("tonic.io", reason="tonic is not installed (extra 'events')")
    write_nmnist(tmp_path)
    ours = read_nmnist(tmp_path)
    files = sorted(tmp_path.glob("T*/[0-9]/*.bin"))
    for i, file in enumerate(files):
        theirs = io.read_mnist_file(str(file), dtype=EVENTS)
        part = slice(*ours.offsets[i : i + 2])
        for name in ("x", "y", "p", "t"):
            np.testing.assert_array_equal(getattr(ours, name)[part], theirs[name])


@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("time_steps", [1, 4, 10])
def test_frames_are_counts_of_events(split_by, time_steps):
    items = some_recordings(70)  # more than are resized at once
    frames = to_frames(from_tonic(Tonic(items)), time_steps=time_steps, split_by=split_by)
    assert frames.shape == (70, time_steps, 2, 34, 34)
    assert frames.dtype == np.float32
    for frame, (events, _) in zip(frames, items, strict=True):
        np.testing.assert_array_equal(frame, slow_frames(events, time_steps, split_by))


def test_resized_frames_keep_the_places_of_events():
    items = some_recordings(3)
    recordings = from_tonic(Tonic(items))
    plain, larger = (to_frames(recordings, time_steps=2, image_size=size) for size in (34, 68))
    assert larger.shape == (3, 2, 2, 68, 68)
    assert (larger >= 0).all()
    # Twice the side: a block of 2x2 has the mean of its surroundings, the total grows fourfold but for the edges.
    blocks = larger.reshape(3, 2, 2, 34, 2, 34, 2).sum((4, 6))
    assert np.corrcoef(blocks.ravel(), plain.ravel())[0, 1] > 0.75
    assert larger.sum() == pytest.approx(4 * plain.sum(), rel=0.05)
    smaller = to_frames(recordings, time_steps=2, image_size=17)
    assert smaller.sum() == pytest.approx(plain.sum() / 4, rel=0.05)


def test_frames_of_few_events_or_one_moment():
    one = Recordings(*(np.zeros(1, np.int64),) * 4, np.array([0, 1]), np.array([0]), None, (4, 4, 2))
    for split_by in ("number", "time"):
        frames = to_frames(one, time_steps=3, split_by=split_by)
        assert frames.sum() == 1
        assert frames[0, 0, 0, 0, 0] == 1


def test_event_frames_are_split_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    path = make_npz(tmp_path / "events.npz")
    split = load_event_frames(path, time_steps=3, image_size=16)
    assert split.x_train.shape == (16, 3, 2, 16, 16)
    assert split.x_test.shape == (4, 3, 2, 16, 16)
    (kept,) = (tmp_path / "cache").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr("art_snn.data.frames._one_by_one", lambda *_: pytest.fail("the cache was not used"))
        again = load_event_frames(path, time_steps=3, image_size=16)
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))
    anew = load_event_frames(path, time_steps=3, image_size=16, test_share=0.5)
    assert list(np.bincount(anew.y_test)) == [5, 5]
    for damage in (kept.read_bytes()[:500], b"", b"no array"):
        kept.unlink()  # a file that is mapped must not shrink
        kept.write_bytes(damage)
        healed = load_event_frames(path, time_steps=3, image_size=16)
        np.testing.assert_array_equal(healed.x_train, split.x_train)
    load_event_frames(path, time_steps=4, image_size=16)
    load_event_frames(path, time_steps=3, image_size=16, split_by="time")
    assert len(list((tmp_path / "cache").iterdir())) == 4
    other = load_event_frames(make_npz(tmp_path / "open.npz", is_test=None), time_steps=3, image_size=16)
    assert list(np.bincount(other.y_test)) == [2, 2]


@pytest.mark.parametrize("share", [None, 0.3])
def test_split_frames_are_those_of_the_recordings(tmp_path, monkeypatch, share):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    path = make_npz(tmp_path / "events.npz", is_test=np.arange(20) % 3 == 0)
    recordings = read_npz(path)
    frames = to_frames(recordings, time_steps=3, image_size=16)
    marks = recordings.is_test
    if share is None:
        expected = Split(frames[~marks], recordings.labels[~marks], frames[marks], recordings.labels[marks])
    else:
        expected = stratified(frames, recordings.labels, share)
    found = load_event_frames(path, time_steps=3, image_size=16, test_share=share)
    for array, other in zip(found, expected, strict=True):
        assert type(array) is np.ndarray
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)
    found.x_train[:] = 0  # changes neither the file nor what is loaded next
    again = load_event_frames(path, time_steps=3, image_size=16, test_share=share)
    np.testing.assert_array_equal(again.x_train, expected.x_train)


def peak(call: Callable[[], object]) -> tuple[int, object]:
    """Return the most bytes that a call's arrays needed, and its result."""
    tracemalloc.start()
    try:
        found = call()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


def test_loading_holds_neither_frames_nor_wide_events(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    write_nmnist(tmp_path / "nmnist")
    for _ in ("made", "kept"):
        bytes_made, split = peak(lambda: load_event_frames(tmp_path / "nmnist", time_steps=50))
        assert bytes_made < (split.x_train.nbytes + split.x_test.nbytes) / 4
    generator = np.random.default_rng(0)
    events = [(recording(generator, 34, 5000), 0) for _ in range(40)]
    wide = 4 * 8 * 5000 * len(events)
    bytes_read, found = peak(lambda: from_tonic(Tonic(events)))
    assert bytes_read < wide / 2
    assert [array.dtype for array in found[:4]] == [np.uint8, np.uint8, np.uint8, np.uint32]
    joined = np.concatenate([item for item, _ in events])
    for name in ("x", "y", "p", "t"):
        np.testing.assert_array_equal(getattr(found, name), joined[name])


def test_late_and_negative_times_are_kept():
    items = some_recordings(4)
    items[1][0]["t"] += 2**40
    items[2][0]["t"] -= 10**6
    found = from_tonic(Tonic(items))
    assert found.t.dtype == np.int64
    np.testing.assert_array_equal(found.t, np.concatenate([events["t"] for events, _ in items]))


def test_frames_that_cannot_be_kept_are_still_loaded(tmp_path, monkeypatch, caplog):
    path = make_npz(tmp_path / "events.npz")
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    expected = load_event_frames(path, time_steps=3, image_size=16)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "art_snn.data.frames"):
        found = load_event_frames(path, time_steps=3, image_size=16)
    assert "the frames are not kept (ART_SNN_CACHE names another folder)" in caplog.text
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_frames_too_large_to_be_writable_are_read_only(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    path, true_map = make_npz(tmp_path / "events.npz"), np.lib.format.open_memmap

    def refusing(file: Path, mode: str) -> np.ndarray:
        if mode == "c":
            raise OSError(12, "Cannot allocate memory")
        return true_map(file, mode=mode)

    monkeypatch.setattr("numpy.lib.format.open_memmap", refusing)
    split = load_event_frames(path, time_steps=3, image_size=16)
    assert not split.x_train.flags.writeable
    batch = split.x_train[[2, 0]]
    assert batch.flags.writeable


def test_a_stopped_loading_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    path = make_npz(tmp_path / "events.npz")

    def stopped(*_: object) -> Iterator[np.ndarray]:
        yield np.zeros((3, 2, 16, 16), np.float32)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("art_snn.data.frames._one_by_one", stopped)
        with pytest.raises(KeyboardInterrupt):
            load_event_frames(path, time_steps=3, image_size=16)
    assert not list((tmp_path / "cache").iterdir())


def test_options_are_refused_before_anything_is_read(tmp_path):
    for options in ({"time_steps": 0}, {"split_by": "space"}, {"image_size": 0}, {"test_share": 1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            load_event_frames(tmp_path / "none.npz", **options)


def changed(name: str, place: int, value: int, dtype: type = np.int64) -> Callable[[dict], dict]:
    def change(arrays: dict) -> dict:
        out = arrays[name].astype(dtype)
        out[place] = value
        return {name: out}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"t_us": None}, "events.npz lacks the arrays t_us"),
        *((lambda a, n=n: {n: a[n][:3]}, f"{n} has 3 entries, and x has [0-9]+$") for n in ("y", "p", "t_us")),
        (lambda a: {"x": a["x"][:3]}, "y has [0-9]+ entries, and x has 3$"),
        (lambda _: {"is_test": np.zeros(7, bool)}, "is_test has 7 entries, and labels has 20$"),
        (lambda a: {"offsets": a["offsets"][:-1]}, "offsets has 20 entries, and 20 labels need 21$"),
        (lambda a: {"labels": a["labels"][:-1]}, "offsets has 21 entries, and 19 labels need 20$"),
        *(
            (lambda a, n=n: {n: a[n].astype(float)}, f"{n} has dtype float64 and shape .*; whole numbers")
            for n in ("x", "y", "p", "t_us", "offsets", "labels", "is_test")
        ),
        (lambda a: {"x": a["x"][:, None]}, r"x has dtype uint8 and shape \([0-9]+, 1\)"),
        (lambda _: {"labels": np.array(3)}, r"labels has dtype int64 and shape \(\)"),
        (lambda a: {"y": a["y"].astype(str)}, "y has dtype <U[0-9]+"),
        (lambda a: {"p": a["p"].astype(object)}, "p cannot be read: ValueError"),
        (lambda _: {"sensor_size": np.array([34, 34])}, r"sensor_size is \[34, 34\]; width, height"),
        (lambda _: {"sensor_size": np.array([34, 34, 3])}, r"sensor_size is \[34, 34, 3\]"),
        (lambda _: {"sensor_size": np.array([34, 0, 2])}, r"sensor_size is \[34, 0, 2\]"),
        (lambda _: {"sensor_size": np.array([10**9, 34, 2])}, r"sensor_size is \[1000000000, 34, 2\]"),
        (lambda _: {"sensor_size": np.array([34.0, 34, 2])}, r"sensor_size is \[34.0, 34.0, 2.0\]"),
        (lambda _: {"sensor_size": np.array([20, 34, 2])}, "recording 0 has x=[0-9]+, outside 0 to 19$"),
        (changed("x", -1, 34), "recording 19 has x=34, outside 0 to 33$"),
        (changed("y", 0, -1), "recording 0 has y=-1, outside 0 to 33$"),
        (changed("p", -1, 2), "recording 19 has p=2, outside 0 to 1$"),
        (changed("p", -1, -1), "recording 19 has p=-1, outside 0 to 1$"),
        (changed("labels", 4, -1), "labels has -1 for recording 4; classes are counted from 0$"),
        (changed("is_test", 4, 3), "is_test has entries other than 0 and 1$"),
        (changed("offsets", 0, 1), "offsets go from 1 to [0-9]+, not from 0"),
        (changed("offsets", -1, 2), "offsets go from 0 to 2, not from 0 to the [0-9]+ events$"),
        (changed("offsets", 5, 2), "offsets do not rise from [0-9]+ to 2, for recording 4$"),
        (changed("offsets", 5, 10**9), "offsets do not rise from 1000000000 to [0-9]+, for recording 5$"),
        (lambda a: {"t_us": a["t_us"][::-1]}, "recording 0 has t_us going back from [0-9]+ to [0-9]+$"),
        (changed("t_us", -1, 2**63 - 1), "recording 19 has t_us from [0-9]+ to 9223372036854775807, longer than"),
        (changed("t_us", 0, -(2**62)), "recording 0 has t_us from -4611686018427387904 to [0-9]+, longer than"),
        (
            lambda _: (
                {name: np.zeros(0, int) for name in ("x", "y", "p", "t_us", "labels", "is_test")}
                | {"offsets": np.zeros(1, int)}
            ),
            "labels is empty, there are no recordings$",
        ),
    ],
)
def test_damaged_arrays_are_named_with_their_file(tmp_path, change, message):
    with np.load(make_npz(tmp_path / "right.npz")) as archive:
        arrays = dict(archive)
    file = make_npz(tmp_path / "events.npz", **change(arrays))
    with pytest.raises(DataError, match=message) as error:
        read_npz(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_bytes_never_give_another_error(tmp_path, save):
    with np.load(make_npz(tmp_path / "right.npz")) as archive:
        arrays = dict(archive)
    file = tmp_path / "events.npz"
    save(file, **arrays)
    whole, generator = file.read_bytes(), np.random.default_rng(0)
    messages = []
    for _ in range(300):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            damaged[place] = generator.integers(256)
        file.write_bytes(damaged[: generator.integers(len(whole))] if generator.random() < 0.2 else damaged)
        try:
            read_npz(file)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert all(str(file) in message and "\n" not in message for message in messages)


def test_other_whole_numbers_and_missing_classes_are_fine(tmp_path):
    with np.load(make_npz(tmp_path / "right.npz")) as archive:
        arrays = dict(archive)
    wide = {name: arrays[name].astype(np.uint64) for name in ("x", "y", "t_us", "offsets", "labels")}
    wide |= {"p": arrays["p"].astype(bool), "is_test": arrays["is_test"].astype(bool), "more": np.array("text")}
    wide["labels"] *= 7
    plain, other = read_npz(tmp_path / "right.npz"), read_npz(make_npz(tmp_path / "events.npz", **wide))
    np.testing.assert_array_equal(plain.labels * 7, other.labels)
    np.testing.assert_array_equal(to_frames(plain, time_steps=2), to_frames(other, time_steps=2))


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no event file"):
        read_npz(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("text", "empty", "array"):
        with pytest.raises(DataError, match=rf"{name}.npz is no readable NumPy archive"):
            read_npz(tmp_path / f"{name}.npz")
    whole = make_npz(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"half.npz is no readable NumPy archive"):
        read_npz(tmp_path / "half.npz")
    with pytest.raises(DataError, match="no N-MNIST recordings"):
        read_nmnist(tmp_path)
    write_nmnist(tmp_path)
    file = tmp_path / "Train" / "0" / "00002.bin"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"00002.bin is damaged: \d+ bytes"):
        read_nmnist(tmp_path)
    file.write_bytes(bytes([245, 240, 0, 0, 0]))
    with pytest.raises(DataError, match=r"00002.bin holds no event"):
        read_nmnist(tmp_path)
    file.write_bytes(bytes([40, 3, 0, 0, 0]))
    with pytest.raises(DataError, match=r"00002.bin is damaged: it has x=40, outside 0 to 33"):
        read_nmnist(tmp_path)
    file.write_bytes(bytes([4, 3, 0, 0, 9, 4, 3, 0, 0, 7]))
    with pytest.raises(DataError, match=r"00002.bin is damaged: it has t going back from 9 to 7"):
        read_nmnist(tmp_path)
    with pytest.raises(DataError, match="Tonic is empty"):
        from_tonic(Tonic())
    with pytest.raises(DataError, match=r"Tonic\[0\] has no events with x, y, t, p"):
        from_tonic(Tonic([(np.zeros((3, 4)), 0)]))
    with pytest.raises(DataError, match=r"Tonic\[1\] holds no event"):
        from_tonic(Tonic([*some_recordings(1), (np.zeros(0, EVENTS), 0)]))
    with pytest.raises(DataError, match=r"Tonic\[0\] has x=\d+, outside 0 to 33"):
        from_tonic(Tonic(some_recordings(1, side=500)))
    with pytest.raises(DataError, match=r"Tonic\[0\] has x of dtype float64; whole numbers are needed"):
        from_tonic(Tonic([(np.zeros(3, [(name, float) for name in "xytp"]), 0)]))
    for label in (-1, None, "nine"):
        with pytest.raises(DataError, match=rf"Tonic\[0\] has the label {label!r}; a whole number >= 0 is needed"):
            from_tonic(Tonic([(some_recordings(1)[0][0], label)]))
    sizeless = Tonic(some_recordings(1))
    sizeless.sensor_size = None
    with pytest.raises(DataError, match="Tonic: sensor_size is None; width, height"):
        from_tonic(sizeless)
    with pytest.raises(DataError, match="'no/such' is neither 'digits', 'cifar10', 'cifar100', nor a folder"):
        resolved("no/such")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_steps": 0}, "time_steps must be"),
        ({"split_by": "space"}, "split_by must be 'number' or 'time', got 'space'"),
        ({"image_size": 0}, "image_size must be >= 1, got 0"),
    ],
)
def test_bad_frame_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        to_frames(from_tonic(Tonic(some_recordings(1))), **{"time_steps": 2, **options})


# --- splits and augmentation -----------------------------------------------------------------------------------------


def test_part_is_stratified_and_always_the_same():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    part = stratified_part(labels, 10)
    assert list(np.bincount(labels[part])) == [5, 3, 2]
    np.testing.assert_array_equal(part, stratified_part(labels, 10))
    assert not np.array_equal(part, stratified_part(labels, 10, seed=1))
    np.testing.assert_array_equal(stratified_part(labels, 100), np.arange(100))
    with pytest.raises(ValueError, match="must be >= 1, got 0"):
        stratified_part(labels, 0)


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ([101] * 5 + [100] * 5, 1000),  # fewer samples are left than there are classes
        ([50, 30, 1], 20),  # a class has one sample
        ([4] * 10, 5),  # fewer are asked for than there are classes
        ([1] * 30, 29),
        ([7, 0, 3], 1),
        ([1, 1], 1),
    ],
)
def test_part_is_as_stratified_as_can_be_where_classes_are_small(counts, size):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    part = stratified_part(labels, size)
    assert len(part) == size
    assert (np.diff(part) > 0).all()
    taken = np.bincount(labels[part], minlength=len(counts))
    assert np.abs(taken - size * np.array(counts) / len(labels)).max() < 1
    np.testing.assert_array_equal(part, stratified_part(labels, size))
    others = [stratified_part(labels, size, seed=seed) for seed in range(1, 6)]
    assert any(not np.array_equal(part, other) for other in others)


def test_part_is_scikit_learns_wherever_that_can_choose():
    generator = np.random.default_rng(0)
    chosen = 0
    for seed in range(100):
        labels = generator.integers(0, generator.integers(1, 6), generator.integers(2, 24))
        size = int(generator.integers(1, len(labels)))
        part = stratified_part(labels, size, seed)
        assert len(set(part.tolist())) == size
        try:
            expected, _ = train_test_split(np.arange(len(labels)), train_size=size, stratify=labels, random_state=seed)
        except ValueError:
            continue
        np.testing.assert_array_equal(part, np.sort(expected))
        chosen += 1
    assert 20 < chosen < 100


@pytest.mark.parametrize("shape", [(40, 3, 20, 24), (40, 5, 2, 20, 24)])
def test_augmentation_moves_flips_and_cuts_whole_samples(shape):
    np.random.seed(0)
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    before = x.copy()
    cropped = augment(x, "crop")
    middle = []
    for sample, out in zip(x, cropped, strict=True):
        padded = np.pad(sample, [(0, 0)] * (x.ndim - 3) + [(4, 4), (4, 4)])
        places = [
            (top, left)
            for top in range(9)
            for left in range(9)
            if np.array_equal(padded[..., top : top + 20, left : left + 24], out)
        ]
        assert len(places) == 1
        middle += places
    assert len(set(middle)) > 10
    np.random.seed(0)
    flipped = augment(x, "crop-flip")
    assert flipped.dtype == np.float32
    np.random.seed(0)
    turned = [not np.array_equal(a, b) for a, b in zip(augment(x, "crop"), flipped, strict=True)]
    assert 8 < sum(turned) < 32
    np.random.seed(0)
    holes = augment(x, "crop-flip-cutout")
    cut = (holes == 0) & (flipped != 0)
    assert cut.any(axis=tuple(range(1, x.ndim))).mean() > 0.9
    assert cut.reshape(40, -1, 20 * 24).sum(-1).max() <= 16 * 16
    np.testing.assert_array_equal(holes[~cut], flipped[~cut])
    np.testing.assert_array_equal(x, before)
    assert augment(x, "none") is x
    with pytest.raises(ValueError, match="unknown augmentation 'blur'"):
        augment(x, "blur")


# --- CIFAR -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def torchvision():
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"CIFAR needs a torchvision that imports: {error}")
    return torchvision


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
    with pytest.raises(ValueError, match="unknown data set 'cifar20'"):
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


@pytest.mark.parametrize(("name", "files"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_folders_of_cifar_are_told_from_images(tmp_path, monkeypatch, name, files):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / files).mkdir()
    for folder in (tmp_path, tmp_path / files):
        with pytest.raises(DataError, match=f"write '{name}', which reads '.*{files}'$"):
            resolved(str(folder))


# --- folders of images -----------------------------------------------------------------------------------------------


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
