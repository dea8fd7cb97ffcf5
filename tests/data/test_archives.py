"""Archives of recordings: reading, writing, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from art_snn.data import Framing, from_tonic, read_npz, to_frames, write_npz
from art_snn.errors import DataError
from tests.data.archives import Tonic, make_npz, some_recordings


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
        (
            lambda a: {"t_us": a["t_us"][::-1]},
            "recording 0 has t_us going back from [0-9]+ to [0-9]+; sort=True sorts the events$",
        ),
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
    framing = Framing(time_steps=2)
    np.testing.assert_array_equal(to_frames(plain, framing), to_frames(other, framing))


def test_times_that_go_back_are_sorted_on_demand(tmp_path):
    with np.load(make_npz(tmp_path / "right.npz")) as archive:
        arrays = dict(archive)
    order = np.arange(len(arrays["x"]))
    order[[3, 4, 7]] = order[[4, 7, 3]]  # all of the first recording
    mixed = {name: arrays[name][order] for name in ("x", "y", "p", "t_us")}
    file = make_npz(tmp_path / "events.npz", **mixed)
    with pytest.raises(DataError, match=r"recording 0 has t_us going back .*; sort=True sorts the events"):
        read_npz(file)
    for found, right in zip(read_npz(file, sort=True), read_npz(tmp_path / "right.npz"), strict=True):
        np.testing.assert_array_equal(found, right)


def test_a_sensor_size_that_is_missing_can_be_given(tmp_path):
    right, file = read_npz(make_npz(tmp_path / "right.npz")), make_npz(tmp_path / "events.npz", sensor_size=None)
    with pytest.raises(
        DataError, match=r"lacks the arrays sensor_size; give sensor_size=\(width, height, polarities\)"
    ):
        read_npz(file)
    for found, expected in zip(read_npz(file, sensor_size=(34, 34, 2)), right, strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(DataError, match=r"recording [0-9]+ has x=[0-9]+, outside 0 to 19"):
        read_npz(file, sensor_size=(20, 34, 2))
    with pytest.raises(DataError, match=r"sensor_size is \[34, 34\]; width, height .* and polarities"):
        read_npz(file, sensor_size=(34, 34))


def test_a_file_of_one_recording_is_no_archive(tmp_path):
    np.savez(tmp_path / "user00_0.npz", **dict.fromkeys("txyp", np.zeros(3, np.int64)))
    with pytest.raises(
        DataError, match="lacks the arrays t_us, offsets, labels, sensor_size; of one recording alone, give"
    ):
        read_npz(tmp_path / "user00_0.npz")


def test_missing_and_damaged_archives_are_named(tmp_path):
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
