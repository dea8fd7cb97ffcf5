"""Recordings of event cameras, as lists of events."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from art_snn.errors import DataError
from art_snn.files import write_atomic

_EVENTS = ("x", "y", "p", "t_us")
_REQUIRED = (*_EVENTS, "offsets", "labels", "sensor_size")
# No event camera is larger; what a damaged entry asks for would not fit the memory.
_LARGEST = (4096, 4096, 2)
# Beyond nine years a clock is damaged; up to here, times multiplied by a number of frames fit 64 bits.
_LONGEST_US = 2**48
_NMNIST_SENSOR = (34, 34, 2)
# An address that no pixel has says that the 23-bit clock passed another 2**13 us.
_NMNIST_OVERFLOW_ROW, _NMNIST_OVERFLOW_US = 240, 2**13
# A recording: what begins a sentence about it, its x, y, p and t, and its class.
_Part = tuple[str, dict[str, np.ndarray], int]


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
    sensor_size: tuple[int, int, int]  #: Width, height and number of polarities.

    def __len__(self) -> int:
        return len(self.labels)


def read_npz(path: Path) -> Recordings:
    """Read recordings from one NumPy archive.

    Args:
        path: File with the arrays ``x, y, p, t_us, offsets, labels, sensor_size`` and, optionally, ``is_test``, as
            `Recordings` describes them: whole numbers in one dimension, every recording with an event.

    Raises:
        DataError: The file is missing or damaged, or lacks an array; the message names the file and the array.
    """
    if not path.is_file():
        raise DataError(f"no event file {str(path)!r}")
    arrays = _read_arrays(path)
    source = f"{path} is damaged"
    sensor_size = _sensor_size(arrays.pop("sensor_size"), source)
    for name, values in arrays.items():
        if values.ndim != 1 or values.dtype.kind not in ("biu" if name in ("p", "is_test") else "iu"):
            kind = f"dtype {values.dtype} and shape {values.shape}"
            raise DataError(f"{source}: {name} has {kind}; whole numbers in one dimension are needed")
    labels, offsets = arrays["labels"].astype(np.int64), arrays["offsets"].astype(np.int64)
    _check_parts(arrays, labels, offsets, source)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        events = {name: arrays[name][start:stop] for name in _EVENTS}
        _check_events(events, sensor_size, f"{source}: recording {i} has")
    is_test = arrays["is_test"].astype(bool) if "is_test" in arrays else None
    x, y, p, t = (arrays[name] for name in _EVENTS)
    return Recordings(x, y, p, t, offsets, labels, is_test, sensor_size)


def write_npz(recordings: Recordings, path: Path) -> None:
    """Write recordings as one NumPy archive that `read_npz` reads, whole or not at all; an older one is replaced.

    Raises:
        ValueError: The path does not end in ``.npz``.
    """
    if path.suffix != ".npz":
        raise ValueError(f"an archive of recordings must end in .npz, got {str(path)!r}")
    arrays = {"t_us" if name == "t" else name: values for name, values in recordings._asdict().items()}
    arrays["sensor_size"] = np.array(recordings.sensor_size)
    if recordings.is_test is None:
        del arrays["is_test"]
    write_atomic(path, lambda temporary: np.savez(temporary, **arrays))


def read_nmnist(folder: Path, *, verbose: bool = False) -> Recordings:
    """Read N-MNIST from its own files, ``Train/<digit>/*.bin`` and ``Test/<digit>/*.bin``.

    An event has 40 bits: column (8), row (8), polarity (1), microseconds (23). Row 240 is no event, but the clock's
    overflow.

    Source: Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades"
    (Frontiers in Neuroscience 2015).

    Args:
        folder: Folder with ``Train`` and ``Test``, or one of them.
        verbose: Show progress.

    Raises:
        DataError: There are no such files, or one is damaged; the message names it.
    """
    files = sorted(folder.glob("T*/[0-9]/*.bin"))
    if not files:
        raise DataError(f"no N-MNIST recordings in {str(folder)!r}; give the folder with Train/<digit>/*.bin")
    parts = (_nmnist_part(file) for file in tqdm(files, desc="Reading N-MNIST", disable=not verbose))
    is_test = np.array([file.parent.parent.name.lower() == "test" for file in files])
    return _joined(parts, _NMNIST_SENSOR, is_test)


def _nmnist_part(file: Path) -> _Part:
    raw = np.frombuffer(file.read_bytes(), dtype=np.uint8)
    if len(raw) == 0 or len(raw) % 5:
        raise DataError(f"{file} is damaged: {len(raw)} bytes, and an event has 5")
    x, y, high, middle, low = raw.reshape(-1, 5).astype(np.int64).T
    overflow = y == _NMNIST_OVERFLOW_ROW
    t = (((high & 127) << 16) | (middle << 8) | low) + _NMNIST_OVERFLOW_US * np.cumsum(overflow)
    kept = ~overflow
    if not kept.any():
        raise DataError(f"{file} holds no event")
    events = {"x": x[kept], "y": y[kept], "p": high[kept] >> 7, "t": t[kept]}
    return f"{file} is damaged: it", events, int(file.parent.name)


def from_tonic(dataset: Any, *, is_test: bool | None = None, verbose: bool = False) -> Recordings:
    """Take the recordings of a data set of the library tonic (``pip install ".[events]"``).

    Args:
        dataset: A tonic data set without transforms, such as ``tonic.datasets.DVSGesture(folder, train=True)``: a
            sequence of (structured array with fields x, y, t, p, label), with an attribute ``sensor_size``.
        is_test: Whether these recordings are for testing; None for no split.
        verbose: Show progress.

    Raises:
        DataError: An item is something else or damaged, or the data set is empty.
    """
    name = type(dataset).__name__
    sensor_size = _sensor_size(getattr(dataset, "sensor_size", None), name)
    if len(dataset) == 0:
        raise DataError(f"{name} is empty")
    numbers = tqdm(range(len(dataset)), desc=f"Reading {name}", disable=not verbose)
    parts = (_tonic_part(f"{name}[{i}]", *dataset[i]) for i in numbers)
    return _joined(parts, sensor_size, None if is_test is None else np.full(len(dataset), is_test))


def _tonic_part(owner: str, events: Any, label: Any) -> _Part:
    fields = getattr(getattr(events, "dtype", None), "names", None) or ()
    if not {"x", "y", "t", "p"} <= set(fields):
        raise DataError(f"{owner} has no events with x, y, t, p; load the tonic data set without transforms")
    if len(events) == 0:
        raise DataError(f"{owner} holds no event")
    columns = {field: np.asarray(events[field]) for field in ("x", "y", "p", "t")}
    for field, values in columns.items():
        if values.dtype.kind not in "biu":
            raise DataError(f"{owner} has {field} of dtype {values.dtype}; whole numbers are needed")
    try:
        number = int(label)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise DataError(f"{owner} has the label {label!r}; a whole number >= 0 is needed")
    return owner, columns, number


def _joined(parts: Iterable[_Part], sensor_size: tuple[int, int, int], is_test: np.ndarray | None) -> Recordings:
    """Return checked recordings, each column in the narrowest dtype that holds it, and never twice in memory."""
    dtypes = [*(np.min_scalar_type(side - 1) for side in sensor_size), np.dtype(np.uint32)]
    columns = [bytearray() for _ in dtypes]  # grow in place, unlike arrays
    offsets, labels = [0], []
    for owner, events, label in parts:
        _check_events(events, sensor_size, f"{owner} has")
        times = events["t"]
        if dtypes[-1] == np.uint32 and (times[0] < 0 or times[-1] >= 2**32):
            columns[-1] = bytearray(np.frombuffer(columns[-1], np.uint32).astype(np.int64).tobytes())
            dtypes[-1] = np.dtype(np.int64)
        for column, dtype, values in zip(columns, dtypes, events.values(), strict=True):
            column += values.astype(dtype).tobytes()
        offsets.append(offsets[-1] + len(times))
        labels.append(label)
    x, y, p, t = (np.frombuffer(column, dtype) for column, dtype in zip(columns, dtypes, strict=True))
    return Recordings(x, y, p, t, np.array(offsets, np.int64), np.array(labels, np.int64), is_test, sensor_size)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return those of the known arrays that an archive has."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # the errors of zip have no common base, nor have those of its members below
        raise DataError(f"{path} is no readable NumPy archive: {error!r}") from None
    arrays = {}
    with archive:
        for name in (*_REQUIRED, "is_test"):
            if f"{name}.npy" not in archive.namelist():
                continue
            try:
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
            except Exception as error:
                raise DataError(f"{path} is damaged: {name} cannot be read: {error!r}") from None
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise DataError(f"{path} lacks the arrays {', '.join(missing)}")
    return arrays


def _sensor_size(value: Any, source: str) -> tuple[int, int, int]:
    sides = np.asarray(value)
    if sides.shape != (3,) or sides.dtype.kind not in "iu" or (sides < 1).any() or (sides > _LARGEST).any():
        needed = f"width, height (1 to {_LARGEST[0]}) and polarities (1 or 2) are needed"
        raise DataError(f"{source}: sensor_size is {sides.tolist()}; {needed}")
    width, height, polarities = sides.tolist()
    return width, height, polarities


def _check_parts(arrays: Mapping[str, np.ndarray], labels: np.ndarray, offsets: np.ndarray, source: str) -> None:
    """Raise DataError unless an archive's arrays fit each other."""
    count, events = len(labels), len(arrays["x"])
    if count == 0:
        raise DataError(f"{source}: labels is empty, there are no recordings")
    if (labels < 0).any():
        i = int(np.argmax(labels < 0))
        raise DataError(f"{source}: labels has {labels[i]} for recording {i}; classes are counted from 0")
    for name, length, other in (
        *((name, events, "x has") for name in _EVENTS),
        ("offsets", count + 1, f"{count} labels need"),
        ("is_test", count, "labels has"),
    ):
        if name in arrays and len(arrays[name]) != length:
            raise DataError(f"{source}: {name} has {len(arrays[name])} entries, and {other} {length}")
    if (offsets[0], offsets[-1]) != (0, events):
        raise DataError(f"{source}: offsets go from {offsets[0]} to {offsets[-1]}, not from 0 to the {events} events")
    if (offsets[1:] <= offsets[:-1]).any():
        i = int(np.argmax(offsets[1:] <= offsets[:-1]))
        raise DataError(f"{source}: offsets do not rise from {offsets[i]} to {offsets[i + 1]}, for recording {i}")
    if "is_test" in arrays and not np.isin(arrays["is_test"], (0, 1)).all():
        raise DataError(f"{source}: is_test has entries other than 0 and 1")


def _check_events(events: Mapping[str, np.ndarray], sensor_size: tuple[int, int, int], source: str) -> None:
    """Raise DataError unless one recording's columns, rows, polarities and times are those of a sensor and a clock."""
    field, times = list(events.items())[-1]
    for (name, values), side in zip(events.items(), sensor_size, strict=False):
        if values.min() < 0 or values.max() >= side:
            wrong = values[(values < 0) | (values >= side)][0]
            raise DataError(f"{source} {name}={int(wrong)}, outside 0 to {side - 1}")
    if (times[1:] < times[:-1]).any():
        i = int(np.argmax(times[1:] < times[:-1]))
        raise DataError(f"{source} {field} going back from {times[i]} to {times[i + 1]}")
    if int(times[-1]) - int(times[0]) > _LONGEST_US:
        raise DataError(f"{source} {field} from {times[0]} to {times[-1]}, longer than {_LONGEST_US} us")
