"""Recordings of event cameras, as lists of events: what they are, checks, and how they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from art_snn.errors import DataError

SensorSize = tuple[int, int, int]

# No event camera is larger; what a damaged entry asks for would not fit the memory.
LARGEST: SensorSize = (4096, 4096, 2)
# Beyond nine years a clock is damaged; up to here, times multiplied by a number of frames fit 64 bits.
_LONGEST_US = 2**48
# Sensors of public data sets: N-MNIST; DVS128; DAVIS240 and N-Caltech101; ATIS; DAVIS346; VGA; Gen4.
_SENSORS = ((34, 34), (128, 128), (240, 180), (304, 240), (346, 260), (640, 480), (1280, 720))


class Recordings(NamedTuple):
    """Event recordings with labels; the events of all of them stand one after the other.

    Events may have any dtype of whole numbers: an archive's stays, other readers choose the narrowest.
    """

    x: np.ndarray  #: Column of each event, whole numbers in 0 to width - 1, shape (E,).
    y: np.ndarray  #: Row of each event, in 0 to height - 1, shape (E,).
    p: np.ndarray  #: Polarity of each event, 0 or 1, shape (E,).
    t: np.ndarray  #: Time of each event in microseconds, not falling within a recording, shape (E,).
    offsets: np.ndarray  #: Recording i is ``offsets[i]:offsets[i + 1]``; shape (N + 1,).
    labels: np.ndarray  #: Class of each recording, shape (N,).
    is_test: np.ndarray | None  #: Whether a recording is for testing, shape (N,); None where the source has no split.
    sensor_size: SensorSize  #: Width, height and number of polarities.

    def __len__(self) -> int:
        return len(self.labels)


class Part(NamedTuple):
    """One recording on its way into `Recordings`."""

    owner: str  #: What begins a sentence about it.
    columns: Mapping[str, Any]  #: Its x, y, p and t.
    label: int  #: Its class.


def join(*parts: Recordings) -> Recordings:
    """Put recordings one after the other, such as the training and the test half of a data set.

    Args:
        parts: Recordings of one sensor, which count their classes alike. Either all of them say what is for testing
            (``is_test``), or none does.

    Raises:
        DataError: There are none, their sensors differ, or only some say what is for testing.

    Example:
        >>> both = join(from_tonic(train, is_test=False), from_tonic(test, is_test=True))  # doctest: +SKIP
    """
    if not parts:
        raise DataError("there are no recordings to join")
    for name, found in (
        ("sensor_size", {part.sensor_size for part in parts}),
        ("is_test", {"missing" if part.is_test is None else "given" for part in parts}),
    ):
        if len(found) > 1:
            raise DataError(f"recordings to join differ in {name}: {' and '.join(map(str, sorted(found)))}")
    ends = np.cumsum([0, *(len(part.x) for part in parts)])
    starts = [part.offsets[:-1].astype(np.int64) + end for part, end in zip(parts, ends, strict=False)]
    is_test = None if parts[0].is_test is None else np.concatenate([np.asarray(part.is_test, bool) for part in parts])
    x, y, p, t = (_one_after_another([getattr(part, name) for part in parts]) for name in ("x", "y", "p", "t"))
    offsets, labels = np.concatenate([*starts, ends[-1:]]), np.concatenate([part.labels for part in parts])
    return Recordings(x, y, p, t, offsets, labels.astype(np.int64), is_test, parts[0].sensor_size)


def _one_after_another(columns: list[np.ndarray]) -> np.ndarray:
    dtype = np.result_type(*columns)  # float64 for uint64 beside signed times, which it does not hold
    return np.concatenate(columns, dtype=dtype if dtype.kind in "biu" else np.dtype(np.int64))


def collect(
    parts: Iterable[Part], sensor_size: SensorSize | None, is_test: np.ndarray | None, *, sort: bool = False
) -> Recordings:
    """Return checked recordings, each column in the narrowest dtype that holds it, and never twice in memory.

    Args:
        parts: The recordings. Polarities may be -1 and 1 instead of 0 and 1.
        sensor_size: Width, height and polarities; None for the smallest of the known sensors that holds all events.
        is_test: Whether a recording is for testing, (N,), or None.
        sort: Sort the events of a recording in time, if they are not.

    Raises:
        DataError: A recording is damaged; the message names it.
    """
    limits = LARGEST if sensor_size is None else sensor_size
    dtypes = [*(np.min_scalar_type(side - 1) for side in limits), np.dtype(np.uint32)]
    columns = [bytearray() for _ in dtypes]  # grow in place, unlike arrays
    offsets, labels = [0], []
    signs = _Signs()
    for owner, given, label in parts:
        events = _whole_numbers(given, owner)
        events["p"] = signs.removed(events["p"], owner)
        if sort:
            events = sorted_in_time(events)
        check_events(events, limits, f"{owner} has")
        times = events["t"]
        if dtypes[-1] == np.uint32 and (times[0] < 0 or times[-1] >= 2**32):
            columns[-1] = bytearray(np.frombuffer(columns[-1], np.uint32).astype(np.int64).tobytes())
            dtypes[-1] = np.dtype(np.int64)
        for column, dtype, values in zip(columns, dtypes, events.values(), strict=True):
            column += values.astype(dtype).tobytes()
        offsets.append(offsets[-1] + len(times))
        labels.append(label)
    x, y, p, t = (np.frombuffer(column, dtype) for column, dtype in zip(columns, dtypes, strict=True))
    if sensor_size is None:
        sensor_size = _smallest_sensor(int(x.max()), int(y.max()))
        x, y = (column.astype(np.min_scalar_type(side - 1)) for column, side in zip((x, y), sensor_size, strict=False))
    return Recordings(x, y, p, t, np.array(offsets, np.int64), np.array(labels, np.int64), is_test, sensor_size)


def _smallest_sensor(column: int, row: int) -> SensorSize:
    for width, height in _SENSORS:
        if column < width and row < height:
            return width, height, 2
    raise DataError(f"events reach x={column} and y={row}, beyond the sensors that are known; give sensor_size")


def _whole_numbers(columns: Mapping[str, Any], owner: str) -> dict[str, np.ndarray]:
    """Return x, y, p and t of a recording; raise DataError if they are something else than columns of whole numbers."""
    events = {field: np.asarray(columns[field]) for field in ("x", "y", "p", "t")}
    for field, values in events.items():
        if values.dtype.kind not in "biu":
            cure = "round times to microseconds" if field == "t" else "round them"
            raise DataError(f"{owner} has {field} of dtype {values.dtype}; whole numbers are needed: {cure}")
        if values.ndim != 1 or values.shape != events["x"].shape:
            raise DataError(f"{owner} has {field} of shape {values.shape}; x, y, p and t are one number for each event")
    if len(events["x"]) == 0:
        raise DataError(f"{owner} holds no event")
    return events


class _Signs:
    """Bring polarities -1 and 1 to 0 and 1, which no data set has side by side."""

    def __init__(self) -> None:
        self.zero = self.minus = ""  # the first recording that has such a polarity

    def removed(self, p: np.ndarray, owner: str) -> np.ndarray:
        if (p == 0).any():
            self.zero = self.zero or owner
        if p.min() == -1:
            self.minus = self.minus or owner
        if self.zero and self.minus:
            raise DataError(f"{self.minus} has polarity -1, and {self.zero} has 0; give off and on as 0 and 1")
        return np.where(p == -1, 0, p) if self.minus else p


def sorted_in_time(events: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return one recording's columns, of which times are the last, sorted in time; equal times keep their order."""
    times = list(events.values())[-1]
    if (times[1:] >= times[:-1]).all():
        return dict(events)
    order = np.argsort(times, kind="stable")
    return {name: values[order] for name, values in events.items()}


def check_sensor_size(value: Any, source: str) -> SensorSize:
    """Return a sensor's width, height and polarities; raise DataError if they are none."""
    sides = np.asarray(value)
    if sides.shape != (3,) or sides.dtype.kind not in "iu" or (sides < 1).any() or (sides > LARGEST).any():
        needed = f"width, height (1 to {LARGEST[0]}) and polarities (1 or 2) are needed"
        raise DataError(f"{source}: sensor_size is {sides.tolist()}; {needed}")
    width, height, polarities = sides.tolist()
    return width, height, polarities


def check_events(events: Mapping[str, np.ndarray], sensor_size: SensorSize, source: str) -> None:
    """Raise DataError unless one recording's columns, rows, polarities and times are those of a sensor and a clock."""
    field, times = list(events.items())[-1]
    for (name, values), side in zip(events.items(), sensor_size, strict=False):
        if values.min() < 0 or values.max() >= side:
            wrong = values[(values < 0) | (values >= side)][0]
            raise DataError(f"{source} {name}={int(wrong)}, outside 0 to {side - 1}")
    if (times[1:] < times[:-1]).any():
        i = int(np.argmax(times[1:] < times[:-1]))
        raise DataError(f"{source} {field} going back from {times[i]} to {times[i + 1]}; sort=True sorts the events")
    if int(times[-1]) - int(times[0]) > _LONGEST_US:
        raise DataError(f"{source} {field} from {times[0]} to {times[-1]}, longer than {_LONGEST_US} us")
    if int(times[-1]) >= 2**63:
        raise DataError(f"{source} {field}={times[-1]}, beyond {2**63 - 1}; subtract the first time")


def check_recordings(recordings: Recordings) -> None:
    """Raise DataError unless recordings that were put together by hand are as `Recordings` says."""
    offsets = recordings.offsets
    for name in ("x", "y", "p", "t"):
        values = getattr(recordings, name)
        if values.dtype.kind not in "biu" or values.shape != (offsets[-1],):
            kind = f"dtype {values.dtype} and shape {values.shape}"
            raise DataError(f"{name} of recordings has {kind}; {offsets[-1]} whole numbers are needed")
    if (offsets[1:] <= offsets[:-1]).any():
        raise DataError(f"recording {int(np.argmax(offsets[1:] <= offsets[:-1]))} holds no event")
    for i in range(len(recordings)):
        part = slice(offsets[i], offsets[i + 1])
        events = {name: getattr(recordings, name)[part] for name in ("x", "y", "p", "t")}
        check_events(events, recordings.sensor_size, f"recording {i} has")
