"""Frames, such as attacked ones, as event recordings again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from art_snn.checks import check_count
from art_snn.data.frames import SPLIT_BY, Framing, count_events
from art_snn.data.recordings import Part, Recordings, check_sensor_size, collect
from art_snn.labels import Labels, class_indices, to_array

_MOST_EVENTS = 2**31  # of one recording; whole numbers of this size are exact in float64


class Rebuilt(NamedTuple):
    """Recordings that were made of frames, and what that cost."""

    recordings: Recordings  #: N recordings of a sensor as large as the frames.
    #: Share of a recording's frames that rounding changed, >= 0, (N,): sum of ``|frames - counts|`` over sum of
    #: ``|frames|``.
    lost: np.ndarray
    by_time: np.ndarray  #: Whether ``to_frames`` with ``split_by="time"`` gives the rounded frames again, (N,), bool.
    by_number: np.ndarray  #: Whether it does so with ``split_by="number"``, (N,), bool.


def to_recordings(frames: Any, labels: Labels, *, step_us: int = 10_000, is_test: bool | None = None) -> Rebuilt:
    """Turn frames into events: the inverse of `to_frames`, as far as there is one.

    An entry is rounded to the nearest count (halves to the even one, what is below 0 to 0), and becomes so many events
    at its pixel. What frames do not hold cannot come back:

    - Fractions, which an attack or a change of the size leaves, are lost by rounding; ``lost`` is their share.
    - Times are made up. Frame k has the microseconds from ``k * step_us`` to before ``(k + 1) * step_us``; its events
      lie in them at equal distances, pixel by pixel. The very last event of the last frame is at its end.
    - Where a frame begins and ends is not kept in events. Cut by time, they give the same frames if the first and the
      last frame have an event; cut by number, if all frames have as many events as that cut makes. Every recording is
      tried: ``by_time`` and ``by_number`` say where it holds.

    Args:
        frames: Frames (N, T, polarities, H, W), an array or a tensor of finite numbers.
        labels: N labels in any form of `art_snn.labels`.
        step_us: Length of a frame in microseconds, >= 1.
        is_test: Whether the recordings are for testing; None for no split.

    Raises:
        ValueError: Frames are no such array, or not finite, or round to no event; the message names the recording.

    Example:
        >>> rebuilt = to_recordings([[[[[0.9, 0.0]]], [[[0.0, 2.2]]]]], [3])
        >>> rebuilt.recordings.x.tolist(), rebuilt.recordings.t.tolist(), rebuilt.lost.round(3).tolist()
        ([0, 1, 1], [0, 10000, 20000], [0.097])
    """
    check_count("step_us", step_us)
    array = frames if isinstance(frames, np.ndarray) else to_array("frames", frames)
    if array.ndim != 5 or 0 in array.shape or array.dtype.kind not in "biuf":
        kind = f"shape {array.shape} of dtype {array.dtype}"
        raise ValueError(f"frames must be numbers (N, T, polarities, height, width), got {kind}")
    size = check_sensor_size(array.shape[:1:-1], "frames")
    y = class_indices(labels, len(array), name="labels")
    lost = np.array([_lost(array[i], i) for i in range(len(array))])
    marks = None if is_test is None else np.full(len(array), is_test)
    recordings = collect(_parts(array, y, step_us), size, marks)
    exact = {split_by: _comes_back(recordings, array, split_by) for split_by in SPLIT_BY}
    return Rebuilt(recordings, lost, exact["time"], exact["number"])


def _counts(frames: np.ndarray) -> np.ndarray:
    return np.rint(np.maximum(frames.astype(np.float64), 0))


def _lost(frames: np.ndarray, i: int) -> float:
    """Return the share of one recording's frames that rounding changes; raise ValueError if they make no recording."""
    if not np.isfinite(frames).all():
        raise ValueError(f"frames of recording {i} hold NaN or inf")
    counts = _counts(frames)
    if not 0 < counts.sum() <= _MOST_EVENTS:
        raise ValueError(f"frames of recording {i} round to {counts.sum():.0f} events; 1 to {_MOST_EVENTS} are needed")
    return float(np.abs(frames - counts).sum() / np.abs(frames.astype(np.float64)).sum())


def _parts(frames: np.ndarray, labels: np.ndarray, step_us: int) -> Iterator[Part]:
    for i, label in enumerate(labels.tolist()):
        counts = _counts(frames[i]).astype(np.int64)
        places = np.repeat(np.arange(counts.size), counts.ravel())
        step, p, y, x = np.unravel_index(places, counts.shape)
        yield Part(f"recording {i}", {"x": x, "y": y, "p": p, "t": _times(step, len(counts), step_us)}, label)


def _times(step: np.ndarray, time_steps: int, step_us: int) -> np.ndarray:
    """Return events' times, at equal distances within a frame, by the frames that they are in."""
    each = np.bincount(step, minlength=time_steps)
    place = np.arange(len(step)) - (np.cumsum(each) - each)[step]
    times = step * step_us + place * step_us // each[step]
    if step[-1] == 0 and time_steps > 1:
        times[:] = 0  # cut by time, events at one moment are in the first frame
    elif step[-1] == time_steps - 1:
        times[-1] = time_steps * step_us
    return times


def _comes_back(recordings: Recordings, frames: np.ndarray, split_by: str) -> np.ndarray:
    framing = Framing(time_steps=frames.shape[1], split_by=split_by, image_size=None)
    made = count_events(recordings, np.arange(len(frames)), framing, verbose=False)
    return np.array([np.array_equal(again, _counts(before)) for again, before in zip(made, frames, strict=True)])
