"""Event frames: counts, sizes, the cache, memory."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from art_snn.data import Framing, Recordings, Split, from_tonic, load_event_frames, read_npz, stratified, to_frames
from tests.data.archives import Tonic, make_npz, recording, some_recordings, write_nmnist


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


@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("time_steps", [1, 4, 10])
def test_frames_are_counts_of_events(split_by, time_steps):
    items = some_recordings(70)  # more than are resized at once
    frames = to_frames(from_tonic(Tonic(items)), Framing(time_steps=time_steps, split_by=split_by, image_size=None))
    assert frames.shape == (70, time_steps, 2, 34, 34)
    assert frames.dtype == np.float32
    for frame, (events, _) in zip(frames, items, strict=True):
        np.testing.assert_array_equal(frame, slow_frames(events, time_steps, split_by))


def test_resized_frames_keep_the_places_of_events():
    items = some_recordings(3)
    recordings = from_tonic(Tonic(items))
    plain, larger = (to_frames(recordings, Framing(time_steps=2, image_size=size)) for size in (34, 68))
    assert larger.shape == (3, 2, 2, 68, 68)
    assert (larger >= 0).all()
    # Twice the side: a block of 2x2 has the mean of its surroundings, the total grows fourfold but for the edges.
    blocks = larger.reshape(3, 2, 2, 34, 2, 34, 2).sum((4, 6))
    assert np.corrcoef(blocks.ravel(), plain.ravel())[0, 1] > 0.75
    assert larger.sum() == pytest.approx(4 * plain.sum(), rel=0.05)
    smaller = to_frames(recordings, Framing(time_steps=2, image_size=17))
    assert smaller.sum() == pytest.approx(plain.sum() / 4, rel=0.05)


def test_frames_of_few_events_or_one_moment():
    one = Recordings(*(np.zeros(1, np.int64),) * 4, np.array([0, 1]), np.array([0]), None, (4, 4, 2))
    for split_by in ("number", "time"):
        frames = to_frames(one, Framing(time_steps=3, split_by=split_by, image_size=None))
        assert frames.sum() == 1
        assert frames[0, 0, 0, 0, 0] == 1


def test_event_frames_are_split_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    path = make_npz(tmp_path / "events.npz")
    split = load_event_frames(path, Framing(time_steps=3, image_size=16))
    assert split.x_train.shape == (16, 3, 2, 16, 16)
    assert split.x_test.shape == (4, 3, 2, 16, 16)
    (kept,) = (tmp_path / "cache").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr("art_snn.data.event_frames.count_events", lambda *_: pytest.fail("the cache was not used"))
        again = load_event_frames(path, Framing(time_steps=3, image_size=16))
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))
    anew = load_event_frames(path, Framing(time_steps=3, image_size=16), test_share=0.5)
    assert list(np.bincount(anew.y_test)) == [5, 5]
    for damage in (kept.read_bytes()[:500], b"", b"no array"):
        kept.unlink()  # a file that is mapped must not shrink
        kept.write_bytes(damage)
        healed = load_event_frames(path, Framing(time_steps=3, image_size=16))
        np.testing.assert_array_equal(healed.x_train, split.x_train)
    load_event_frames(path, Framing(time_steps=4, image_size=16))
    load_event_frames(path, Framing(time_steps=3, image_size=16, split_by="time"))
    assert len(list((tmp_path / "cache").iterdir())) == 4
    other = load_event_frames(make_npz(tmp_path / "open.npz", is_test=None), Framing(time_steps=3, image_size=16))
    assert list(np.bincount(other.y_test)) == [2, 2]


@pytest.mark.parametrize("share", [None, 0.3])
def test_split_frames_are_those_of_the_recordings(tmp_path, monkeypatch, share):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    path = make_npz(tmp_path / "events.npz", is_test=np.arange(20) % 3 == 0)
    recordings = read_npz(path)
    frames = to_frames(recordings, Framing(time_steps=3, image_size=16))
    marks = recordings.is_test
    if share is None:
        expected = Split(frames[~marks], recordings.labels[~marks], frames[marks], recordings.labels[marks])
    else:
        expected = stratified(frames, recordings.labels, share)
    found = load_event_frames(path, Framing(time_steps=3, image_size=16), test_share=share)
    for array, other in zip(found, expected, strict=True):
        assert type(array) is np.ndarray
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)
    found.x_train[:] = 0  # changes neither the file nor what is loaded next
    again = load_event_frames(path, Framing(time_steps=3, image_size=16), test_share=share)
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
        bytes_made, split = peak(lambda: load_event_frames(tmp_path / "nmnist", Framing(time_steps=50)))
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


def test_frames_that_cannot_be_kept_are_still_loaded(tmp_path, monkeypatch, caplog):
    path = make_npz(tmp_path / "events.npz")
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    expected = load_event_frames(path, Framing(time_steps=3, image_size=16))
    (tmp_path / "file").touch()
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "art_snn.data.frame_cache"):
        found = load_event_frames(path, Framing(time_steps=3, image_size=16))
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
    split = load_event_frames(path, Framing(time_steps=3, image_size=16))
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
        patched.setattr("art_snn.data.event_frames.count_events", stopped)
        with pytest.raises(KeyboardInterrupt):
            load_event_frames(path, Framing(time_steps=3, image_size=16))
    assert not list((tmp_path / "cache").iterdir())


def test_shares_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"test_share must be in \(0, 1\), got 1.0"):
        load_event_frames(tmp_path / "none.npz", test_share=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_steps": 0}, "time_steps must be a whole number >= 1, got 0"),
        ({"split_by": "space"}, "split_by must be 'number' or 'time', got 'space'"),
        ({"image_size": 0}, "image_size must be a whole number >= 1, got 0"),
    ],
)
def test_bad_framings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Framing(**options)


def test_binary_frames_are_one_where_events_are(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    file = make_npz(tmp_path / "events.npz")
    for size in (None, 16):
        counted, binary = (Framing(time_steps=3, image_size=size, binary=kind) for kind in (False, True))
        counts = load_event_frames(file, counted)
        frames = load_event_frames(file, binary)
        assert counts.x_train.max() > 1 or size
        for one, other in ((counts.x_train, frames.x_train), (counts.x_test, frames.x_test)):
            np.testing.assert_array_equal(other, (one > 0).astype(np.float32))
            assert 0 < other.mean() < 1
        np.testing.assert_array_equal(to_frames(read_npz(file), binary), to_frames(read_npz(file), counted) > 0)
