"""Frames as events again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from art_snn.data import Framing, from_tonic, load_event_frames, read_npz, to_frames, to_recordings, write_npz
from art_snn.errors import DataError
from tests.data.archives import Tonic, some_recordings
from tests.labels import any_form, for_each_form, labels_as

LABELS = [label for _, label in some_recordings()]


def framed(time_steps: int, split_by: str, size: int | None = None) -> np.ndarray:
    recordings = from_tonic(Tonic(some_recordings()))
    return to_frames(recordings, Framing(time_steps=time_steps, split_by=split_by, image_size=size))


@pytest.mark.parametrize("time_steps", [1, 3, 10])
@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("step_us", [1, 10_000])
def test_events_become_frames_and_events_and_the_same_frames(time_steps, split_by, step_us):
    frames = framed(time_steps, split_by)
    rebuilt = to_recordings(frames, LABELS, step_us=step_us)
    exact = {"time": rebuilt.by_time, "number": rebuilt.by_number}
    assert exact[split_by].all()
    assert rebuilt.by_time.all()  # in both ways, the first and the last frame have events
    assert not rebuilt.lost.any()
    assert rebuilt.recordings.sensor_size == (34, 34, 2)
    np.testing.assert_array_equal(rebuilt.recordings.labels, LABELS)
    for way in ("time", split_by):
        again = to_frames(rebuilt.recordings, Framing(time_steps=time_steps, split_by=way, image_size=None))
        np.testing.assert_array_equal(again, frames)
    # Events are those of the recordings, at other times.
    before = from_tonic(Tonic(some_recordings()))
    np.testing.assert_array_equal(rebuilt.recordings.offsets, before.offsets)
    for i in range(len(before)):
        part = slice(*before.offsets[i : i + 2])
        pixels = [np.stack([r.p[part], r.y[part], r.x[part]]).astype(int) for r in (before, rebuilt.recordings)]
        for found in pixels:
            found[:] = found[:, np.lexsort(found)]
        np.testing.assert_array_equal(*pixels)


def slow_times(counts: np.ndarray, step_us: int) -> list[float]:
    """Give each event its time, count by count."""
    times = []
    for k, frame in enumerate(counts):
        events = int(frame.sum())
        times += [k * step_us + i * step_us // events for i in range(events)]
    return times


def test_times_lie_in_their_frames_at_equal_distances():
    counts = np.array(
        [[[[3, 0], [1, 0]], [[0, 0], [0, 2]]], [[[0, 0], [0, 0]]] * 2, [[[0, 1], [0, 0]], [[1, 0], [0, 0]]]]
    )
    found = to_recordings(counts[None], [0], step_us=100).recordings
    expected = slow_times(counts, 100)
    assert found.t.tolist() == [*expected[:-1], 300]  # the very last is at the end
    assert found.t.tolist() == [0, 16, 33, 50, 66, 83, 200, 300]
    assert list(zip(found.p.tolist(), found.y.tolist(), found.x.tolist(), strict=True)) == [
        *[(0, 0, 0)] * 3,
        (0, 1, 0),
        *[(1, 1, 1)] * 2,
        (0, 0, 1),
        (1, 0, 0),
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 2), st.integers(1, 1000))
def test_what_comes_back_is_said(seed, time_steps, polarities, step_us):
    generator = np.random.default_rng(seed)
    frames = generator.poisson(0.2, (4, time_steps, polarities, 3, 2))
    frames[:, generator.integers(time_steps), 0, 0, 0] += 1
    rebuilt = to_recordings(frames, np.zeros(4))
    for i, counts in enumerate(frames):
        each = counts.sum((1, 2, 3))
        assert rebuilt.by_time[i] == (time_steps == 1 or not each[1:].any() or (each[0] > 0 and each[-1] > 0))
        size = max(each.sum() // time_steps, 1)
        cut = np.bincount(np.minimum(np.arange(each.sum()) // size, time_steps - 1), minlength=time_steps)
        assert rebuilt.by_number[i] == np.array_equal(cut, each)
    for way, exact in (("time", rebuilt.by_time), ("number", rebuilt.by_number)):
        again = to_frames(rebuilt.recordings, Framing(time_steps=time_steps, split_by=way, image_size=None))
        np.testing.assert_array_equal((again == frames).all((1, 2, 3, 4)), exact)
        np.testing.assert_array_equal(again.sum(1), frames.sum(1))  # pixels are never lost


def test_attacked_frames_are_rounded_and_the_loss_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    attacked = framed(4, "time", 20) + generator.uniform(-0.8, 0.8, (20, 4, 2, 20, 20)).astype(np.float32)
    rebuilt = to_recordings(attacked, LABELS, is_test=True)
    counts = np.vectorize(lambda value: max(round(value), 0))(attacked.astype(float))
    expected = [np.abs(a - c).sum() / np.abs(a).sum() for a, c in zip(attacked.astype(float), counts, strict=True)]
    np.testing.assert_allclose(rebuilt.lost, expected, rtol=1e-6)
    assert (rebuilt.lost > 0.1).all()
    assert rebuilt.by_time.all()
    assert list(rebuilt.recordings.is_test) == [True] * 20
    write_npz(rebuilt.recordings, tmp_path / "attacked.npz")
    framing = Framing(time_steps=4, split_by="time", image_size=None)
    np.testing.assert_array_equal(to_frames(read_npz(tmp_path / "attacked.npz"), framing), counts)
    split = load_event_frames(tmp_path / "attacked.npz", framing)
    assert len(split.x_train) + len(split.x_test) == 20


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.uint8, np.int64, "torch", "list"])
def test_frames_of_any_numbers_are_taken(kind):
    frames = framed(3, "number")[:2]
    given_frames = {"torch": torch.from_numpy(frames), "list": frames.tolist()}.get(kind)
    found = to_recordings(frames.astype(kind) if given_frames is None else given_frames, LABELS[:2])
    for array, expected in zip(found.recordings, to_recordings(frames, LABELS[:2]).recordings, strict=True):
        np.testing.assert_array_equal(array, expected)


@for_each_form
@given(any_form)
def test_labels_of_every_form_are_taken(form):
    labels = np.arange(20) % 3
    found = to_recordings(np.ones((20, 1, 1, 2, 2)), labels_as(form, labels, 3))
    np.testing.assert_array_equal(found.recordings.labels, labels)


def with_entry(value: float) -> np.ndarray:
    frames = np.ones((2, 3, 2, 4, 4))
    frames[1, 0, 0, 0, 0] = value
    return frames


@pytest.mark.parametrize(
    ("frames", "labels", "error", "message"),
    [
        (with_entry(np.nan), [0, 1], ValueError, "frames of recording 1 hold NaN or inf"),
        (with_entry(-np.inf), [0, 1], ValueError, "frames of recording 1 hold NaN or inf"),
        (with_entry(1e12), [0, 1], ValueError, "recording 1 round to 1000000000095 events; 1 to 2147483648 are needed"),
        (np.full((2, 3, 2, 4, 4), 0.4), [0, 1], ValueError, "frames of recording 0 round to 0 events"),
        (np.full((2, 3, 2, 4, 4), -3), [0, 1], ValueError, "frames of recording 0 round to 0 events"),
        (np.ones((3, 2, 4, 4)), [0, 1, 1], ValueError, r"frames must be numbers .* got shape \(3, 2, 4, 4\)"),
        (np.ones((0, 3, 2, 4, 4)), [], ValueError, r"got shape \(0, 3, 2, 4, 4\)"),
        (np.ones((2, 3, 2, 4, 4), complex), [0, 1], ValueError, "of dtype complex128"),
        (
            np.ones((2, 3, 3, 4, 4)),
            [0, 1],
            DataError,
            r"frames: sensor_size is \[4, 4, 3\]; width, height .* polarities",
        ),
        (np.ones((2, 3, 2, 4, 4)), [0], ValueError, "labels has 1 labels for 2 samples"),
        (np.ones((2, 3, 2, 4, 4)), [0, -1], ValueError, "labels must be classes counted from 0, got -1"),
    ],
)
def test_what_is_no_frames_is_refused(frames, labels, error, message):
    with pytest.raises(error, match=message):
        to_recordings(frames, labels)


@pytest.mark.parametrize("step", [0, -1, 1.5, True])
def test_lengths_of_frames_are_whole(step):
    with pytest.raises(ValueError, match=rf"step_us must be a whole number >= 1, got {step}"):
        to_recordings(np.ones((1, 1, 1, 1, 1)), [0], step_us=step)
