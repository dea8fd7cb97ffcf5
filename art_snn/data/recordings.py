"""Recordings of event cameras, as lists of events."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from art_snn.errors import DataError
from art_snn.files import write_atomic

NMNIST_SIDE = 34
_EVENTS = ("x", "y", "p", "t_us")
_REQUIRED = (*_EVENTS, "offsets", "labels", "sensor_size")
# No event camera is larger; what a damaged entry asks for would not fit the memory.
_LARGEST = (4096, 4096, 2)
# Beyond nine years a clock is damaged; up to here, times multiplied by a number of frames fit 64 bits.
_LONGEST_US = 2**48
# An address that no pixel has says that the 23-bit clock passed another 2**13 us.
_NMNIST_OVERFLOW_ROW, _NMNIST_OVERFLOW_US = 240, 2**13


class Recordings(NamedTuple):
    """Event recordings with labels; the events of all of them stand one after the other.

    Events may have any dtype of whole numbers: an archive's stays, other readers choose the narrowest.

    Attributes:
        x: Column of each event, whole numbers in 0 to width - 1, shape (E,).
        y: Row of each event, in 0 to height - 1, shape (E,).
        p: Polarity of each event, 0 or 1, shape (E,).
        t: Time of each event in microseconds, not falling within a recording, shape (E,).
        offsets: Recording i is ``offsets[i]:offsets[i + 1]``; shape (N + 1,).
        labels: Class of each recording, shape (N,).
        is_test: Whether a recording is for testing, shape (N,); None where the source has no split.
        sensor_size: Width, height and number of polarities.
    """

    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    t: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    is_test: np.ndarray | None
    sensor_size: tuple[int, int, int]

    def __len__(self) -> int:
        """Return the number of recordings."""
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
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise DataError(f"{path} lacks the arrays {', '.join(missing)}")
    source = f"{path} is damaged"
    sensor_size = _sensor_size(arrays.pop("sensor_size"), source)
    for name, values in arrays.items():
        if values.ndim != 1 or values.dtype.kind not in ("biu" if name in ("p", "is_test") else "iu"):
            raise DataError(
                f"{source}: {name} has dtype {values.dtype} and shape {values.shape}; "
                "whole numbers in one dimension are needed"
            )
    labels, offsets = arrays["labels"].astype(np.int64), arrays["offsets"].astype(np.int64)
    _check_parts(arrays, labels, offsets, source)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        fault = _fault({name: arrays[name][start:stop] for name in _EVENTS}, sensor_size)
        if fault:
            raise DataError(f"{source}: recording {i} has {fault}")
    is_test = arrays["is_test"].astype(bool) if "is_test" in arrays else None
    x, y, p, t = (arrays[name] for name in _EVENTS)
    return Recordings(x, y, p, t, offsets, labels, is_test, sensor_size)


def write_npz(recordings: Recordings, path: Path) -> None:
    """Write recordings as one NumPy archive that `read_npz` reads, whole or not at all.

    Args:
        recordings: The recordings.
        path: The archive, ``*.npz``; one that is there is replaced.

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
    events = _Events((NMNIST_SIDE, NMNIST_SIDE, 2))
    for file in tqdm(files, desc="Reading N-MNIST", disable=not verbose):
        raw = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        if len(raw) == 0 or len(raw) % 5:
            raise DataError(f"{file} is damaged: {len(raw)} bytes, and an event has 5")
        x, y, high, middle, low = raw.reshape(-1, 5).astype(np.int64).T
        t = ((high & 127) << 16) | (middle << 8) | low
        overflow = y == _NMNIST_OVERFLOW_ROW
        t += _NMNIST_OVERFLOW_US * np.cumsum(overflow)
        kept = ~overflow
        if not kept.any():
            raise DataError(f"{file} holds no event")
        events.append({"x": x[kept], "y": y[kept], "p": high[kept] >> 7, "t": t[kept]}, f"{file} is damaged: it")
    return events.joined(
        labels=[int(file.parent.name) for file in files],
        is_test=np.array([file.parent.parent.name.lower() == "test" for file in files]),
    )


def from_tonic(dataset: Any, *, is_test: bool | None = None, verbose: bool = False) -> Recordings:
    """Take the recordings of a data set of the library tonic (``pip install 'art-snn[events]'``).

    Args:
        dataset: A tonic data set without transforms, such as ``tonic.datasets.DVSGesture(folder, train=True)``: a
            sequence of (structured array with fields x, y, t, p, label), with an attribute ``sensor_size``.
        is_test: Whether these recordings are for testing; None for no split.
        verbose: Show progress.

    Raises:
        DataError: An item is something else or damaged, or the data set is empty.
    """
    name = type(dataset).__name__
    events = _Events(_sensor_size(getattr(dataset, "sensor_size", None), name))
    labels = []
    for i in tqdm(range(len(dataset)), desc=f"Reading {name}", disable=not verbose):
        found, label = dataset[i]
        fields = getattr(getattr(found, "dtype", None), "names", None) or ()
        if not {"x", "y", "t", "p"} <= set(fields):
            raise DataError(f"{name}[{i}] has no events with x, y, t, p; load the tonic data set without transforms")
        if len(found) == 0:
            raise DataError(f"{name}[{i}] holds no event")
        columns = {field: np.asarray(found[field]) for field in ("x", "y", "p", "t")}
        for field, values in columns.items():
            if values.dtype.kind not in "biu":
                raise DataError(f"{name}[{i}] has {field} of dtype {values.dtype}; whole numbers are needed")
        events.append(columns, f"{name}[{i}]")
        try:
            labels.append(int(label))
        except (TypeError, ValueError):
            labels.append(-1)
        if labels[-1] < 0:
            raise DataError(f"{name}[{i}] has the label {label!r}; a whole number >= 0 is needed")
    if not labels:
        raise DataError(f"{name} is empty")
    return events.joined(labels, None if is_test is None else np.full(len(labels), is_test))


class _Events:
    """Events of recording after recording, each column in the narrowest dtype that holds it, and never twice."""

    def __init__(self, sensor_size: tuple[int, int, int]) -> None:
        self._sensor_size = sensor_size
        self._dtypes = [*(np.min_scalar_type(side - 1) for side in sensor_size), np.dtype(np.uint32)]
        self._columns = [bytearray() for _ in self._dtypes]  # grow in place, unlike arrays
        self._offsets = [0]

    def append(self, events: Mapping[str, np.ndarray], owner: str) -> None:
        """Take over one recording's x, y, p and t; raise DataError, "``owner`` has ...", if they cannot be."""
        fault = _fault(events, self._sensor_size)
        if fault:
            raise DataError(f"{owner} has {fault}")
        times = events["t"]
        if self._dtypes[-1] == np.uint32 and (times[0] < 0 or times[-1] >= 2**32):
            self._columns[-1] = bytearray(self._arrays()[-1].astype(np.int64).tobytes())
            self._dtypes[-1] = np.dtype(np.int64)
        for column, dtype, values in zip(self._columns, self._dtypes, events.values(), strict=True):
            column += values.astype(dtype).tobytes()
        self._offsets.append(self._offsets[-1] + len(times))

    def joined(self, labels: Sequence[int], is_test: np.ndarray | None) -> Recordings:
        """Return all recordings."""
        x, y, p, t = self._arrays()
        offsets, targets = np.array(self._offsets, dtype=np.int64), np.array(labels, dtype=np.int64)
        return Recordings(x, y, p, t, offsets, targets, is_test, self._sensor_size)

    def _arrays(self) -> list[np.ndarray]:
        return [np.frombuffer(column, dtype) for column, dtype in zip(self._columns, self._dtypes, strict=True)]


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
    return arrays


def _sensor_size(value: Any, source: str) -> tuple[int, int, int]:
    sides = np.asarray(value)
    if sides.shape != (3,) or sides.dtype.kind not in "iu" or (sides < 1).any() or (sides > _LARGEST).any():
        raise DataError(
            f"{source}: sensor_size is {sides.tolist()}; "
            f"width, height (1 to {_LARGEST[0]}) and polarities (1 or 2) are needed"
        )
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


def _fault(events: Mapping[str, np.ndarray], sensor_size: tuple[int, int, int]) -> str | None:
    """Return what is wrong with one recording's columns, rows, polarities and times; None if nothing is."""
    field, times = list(events.items())[-1]
    for (name, values), side in zip(events.items(), sensor_size, strict=False):
        if values.min() < 0 or values.max() >= side:
            wrong = values[(values < 0) | (values >= side)][0]
            return f"{name}={int(wrong)}, outside 0 to {side - 1}"
    if (times[1:] < times[:-1]).any():
        i = int(np.argmax(times[1:] < times[:-1]))
        return f"{field} going back from {times[i]} to {times[i + 1]}"
    if int(times[-1]) - int(times[0]) > _LONGEST_US:
        return f"{field} from {times[0]} to {times[-1]}, longer than {_LONGEST_US} us"
    return None
