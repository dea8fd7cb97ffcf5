"""Recordings of event cameras, as lists of events."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from art_snn.errors import DataError

NMNIST_SIDE = 34
# An address that no pixel has says that the 23-bit clock passed another 2**13 us.
_NMNIST_OVERFLOW_ROW, _NMNIST_OVERFLOW_US = 240, 2**13


class Recordings(NamedTuple):
    """Event recordings with labels; the events of all of them stand one after the other.

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
            `Recordings` describes them.

    Raises:
        DataError: The file is missing or damaged, or lacks an array.
    """
    if not path.is_file():
        raise DataError(f"no event file {str(path)!r}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no readable NumPy archive: {error}") from None
    missing = [n for n in ("x", "y", "p", "t_us", "offsets", "labels", "sensor_size") if n not in arrays]
    if missing:
        raise DataError(f"{path} lacks the arrays {', '.join(missing)}")
    width, height, polarities = (int(side) for side in arrays["sensor_size"])
    return _checked(
        Recordings(
            x=arrays["x"],
            y=arrays["y"],
            p=arrays["p"],
            t=arrays["t_us"],
            offsets=arrays["offsets"].astype(np.int64),
            labels=arrays["labels"].astype(np.int64),
            is_test=arrays["is_test"].astype(bool) if "is_test" in arrays else None,
            sensor_size=(width, height, polarities),
        ),
        str(path),
    )


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
    parts = []
    for file in tqdm(files, desc="Reading N-MNIST", disable=not verbose):
        raw = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        if len(raw) == 0 or len(raw) % 5:
            raise DataError(f"{file} is damaged: {len(raw)} bytes, and an event has 5")
        x, y, high, middle, low = raw.reshape(-1, 5).astype(np.int64).T
        t = ((high & 127) << 16) | (middle << 8) | low
        overflow = y == _NMNIST_OVERFLOW_ROW
        t += _NMNIST_OVERFLOW_US * np.cumsum(overflow)
        kept = ~overflow
        parts.append((x[kept], y[kept], high[kept] >> 7, t[kept]))
    found = _joined(
        parts,
        labels=[int(file.parent.name) for file in files],
        is_test=np.array([file.parent.parent.name.lower() == "test" for file in files]),
        sensor_size=(NMNIST_SIDE, NMNIST_SIDE, 2),
    )
    for i in np.flatnonzero(np.diff(found.offsets) == 0):
        raise DataError(f"{files[i]} holds no event")
    return _checked(found, str(folder))


def from_tonic(dataset: Any, *, is_test: bool | None = None, verbose: bool = False) -> Recordings:
    """Take the recordings of a data set of the library tonic (``pip install 'art-snn[events]'``).

    Args:
        dataset: A tonic data set without transforms, such as ``tonic.datasets.DVSGesture(folder, train=True)``: a
            sequence of (structured array with fields x, y, t, p, label), with an attribute ``sensor_size``.
        is_test: Whether these recordings are for testing; None for no split.
        verbose: Show progress.

    Raises:
        DataError: An item is something else, or the data set is empty.
    """
    name = type(dataset).__name__
    width, height, polarities = (int(side) for side in dataset.sensor_size)
    parts, labels = [], []
    for i in tqdm(range(len(dataset)), desc=f"Reading {name}", disable=not verbose):
        events, label = dataset[i]
        fields = getattr(getattr(events, "dtype", None), "names", None) or ()
        if not {"x", "y", "t", "p"} <= set(fields):
            raise DataError(f"{name}[{i}] has no events with x, y, t, p; load the tonic data set without transforms")
        parts.append(tuple(np.asarray(events[field]).astype(np.int64) for field in ("x", "y", "p", "t")))
        labels.append(int(label))
    if not parts:
        raise DataError(f"{name} is empty")
    marks = None if is_test is None else np.full(len(parts), is_test)
    return _checked(_joined(parts, labels, marks, (width, height, polarities)), name)


def _joined(
    parts: Sequence[tuple[np.ndarray, ...]],
    labels: Sequence[int],
    is_test: np.ndarray | None,
    sensor_size: tuple[int, int, int],
) -> Recordings:
    x, y, p, t = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    offsets = np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])]).astype(np.int64)
    return Recordings(x, y, p, t, offsets, np.asarray(labels, dtype=np.int64), is_test, sensor_size)


def _checked(found: Recordings, source: str) -> Recordings:
    """Return recordings; raise DataError that names the first one that cannot be."""
    width, height, polarities = found.sensor_size
    events, offsets = len(found.x), found.offsets
    if not len(found.y) == len(found.p) == len(found.t) == events:
        raise DataError(f"{source} is damaged: x, y, p and t have different lengths")
    if len(offsets) != len(found) + 1 or offsets[0] != 0 or offsets[-1] != events or (np.diff(offsets) <= 0).any():
        raise DataError(f"{source} is damaged: its offsets do not part {events} events into {len(found)} recordings")
    for name, values, limit in (("x", found.x, width), ("y", found.y, height), ("p", found.p, polarities)):
        wrong = np.flatnonzero((values >= limit) | (values < 0))
        if len(wrong):
            recording = int(np.searchsorted(offsets, wrong[0], side="right")) - 1
            raise DataError(f"{source} is damaged: recording {recording} has {name}={values[wrong[0]]}, limit {limit}")
    steps = np.diff(found.t.astype(np.int64))
    steps[offsets[1:-1] - 1] = 0
    if (steps < 0).any():
        recording = int(np.searchsorted(offsets, np.flatnonzero(steps < 0)[0], side="right")) - 1
        raise DataError(f"{source} is damaged: in recording {recording}, time goes back")
    return found
