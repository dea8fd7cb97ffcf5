"""Recordings: the same from every source, put together, checked."""

from __future__ import annotations

import numpy as np
import pytest

from art_snn.data import (
    Framing,
    Recordings,
    from_tonic,
    join,
    load_event_frames,
    read_nmnist,
    read_npz,
    to_frames,
    write_npz,
)
from art_snn.errors import DataError
from tests.data.archives import Tonic, changed, make_npz, some_recordings, write_nmnist


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


@pytest.mark.parametrize("split", [True, False])
def test_halves_are_joined_and_keep_their_split(tmp_path, monkeypatch, split):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    items = some_recordings(20)
    items[17][0]["t"] -= 10**6  # which makes the times of the second half signed
    halves = [
        from_tonic(Tonic(part), is_test=is_test if split else None)
        for part, is_test in ((items[:16], False), (items[16:], True))
    ]
    both, whole = join(*halves), from_tonic(Tonic(items))
    assert halves[0].t.dtype != halves[1].t.dtype
    for name in ("x", "y", "p", "t", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(both, name), getattr(whole, name))
    assert (both.sensor_size, len(both)) == ((34, 34, 2), 20)
    if not split:
        assert both.is_test is None
        return
    write_npz(both, tmp_path / "both.npz")
    framing = Framing(time_steps=3, image_size=None)
    loaded = load_event_frames(tmp_path / "both.npz", framing)
    np.testing.assert_array_equal(loaded.x_test, to_frames(halves[1], framing))
    np.testing.assert_array_equal(loaded.x_train, to_frames(halves[0], framing))


def test_joined_times_are_never_floats():
    one = from_tonic(Tonic(some_recordings(2)))
    unsigned, signed = changed(one, t=one.t.astype(np.uint64) + 2**60), changed(one, t=one.t.astype(np.int64) - 5)
    found = join(unsigned, signed).t
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, np.concatenate([unsigned.t.astype(np.int64), signed.t]))


def test_recordings_that_do_not_belong_together_are_refused():
    one = from_tonic(Tonic(some_recordings(2)))
    with pytest.raises(DataError, match=r"differ in sensor_size: \(34, 34, 2\) and \(40, 34, 2\)"):
        join(one, changed(one, sensor_size=(40, 34, 2)))
    with pytest.raises(DataError, match="differ in is_test: given and missing"):
        join(one, changed(one, is_test=np.array([True, False])))
    with pytest.raises(DataError, match="there are no recordings to join"):
        join()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.array([0, 4, 0])}, "recording 0 has x=4, outside 0 to 3"),
        ({"y": np.array([0, 0, -1])}, "recording 1 has y=-1, outside 0 to 3"),
        ({"p": np.array([0, 0, 2])}, "recording 1 has p=2, outside 0 to 1"),
        ({"t": np.array([5, 4, 0])}, "recording 0 has t going back from 5 to 4"),
        ({"offsets": np.array([0, 3, 3])}, "recording 1 holds no event"),
        ({"offsets": np.array([0, 2, 4])}, r"x of recordings has dtype int64 and shape \(3,\); 4 whole numbers"),
        ({"x": np.array([0, 1.7, 0])}, r"x of recordings has dtype float64 and shape \(3,\); 3 whole numbers"),
        ({"t": np.array([0, 1])}, r"t of recordings has dtype int64 and shape \(2,\); 3 whole numbers"),
    ],
)
def test_recordings_made_by_hand_are_checked(change, message):
    zeros = np.zeros(3, np.int64)
    right = Recordings(zeros, zeros, zeros, zeros, np.array([0, 2, 3]), np.array([0, 1]), None, (4, 4, 2))
    assert to_frames(right, Framing(time_steps=1, image_size=None)).sum() == 3
    with pytest.raises(DataError, match=message):
        to_frames(changed(right, **change), Framing(time_steps=1))
