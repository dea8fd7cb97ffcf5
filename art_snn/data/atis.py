"""N-MNIST's and N-Caltech101's own files, which an ATIS sensor recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from art_snn.data.folders import collect_classes, holds
from art_snn.data.recordings import Part, Recordings, collect
from art_snn.errors import DataError

_FILES = "T*/[0-9]/*.bin"  # N-MNIST's
# An address that no pixel has says that the 23-bit clock passed another 2**13 us.
_OVERFLOW_ROW, _OVERFLOW_US = 240, 2**13


def takes_nmnist(path: Path) -> bool:
    """Say whether a folder has N-MNIST's own files."""
    return any(path.glob(_FILES))


def takes_ncaltech101(path: Path) -> bool:
    """Say whether a folder has N-Caltech101's own files."""
    return holds(path, ".bin") and not takes_nmnist(path)


def read_nmnist(folder: Path, *, sort: bool = False, verbose: bool = False) -> Recordings:
    """Read N-MNIST from its own files, ``Train/<digit>/*.bin`` and ``Test/<digit>/*.bin``.

    An event has 40 bits: column (8), row (8), polarity (1), microseconds (23). Row 240 is no event, but the clock's
    overflow.

    Source: Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades"
    (Frontiers in Neuroscience 2015).

    Args:
        folder: Folder with ``Train`` and ``Test``, or one of them.
        sort: Sort the events of a recording in time, if they are not.
        verbose: Show progress.

    Raises:
        DataError: There are no such files, or one is damaged; the message names it.
    """
    files = sorted(folder.glob(_FILES))
    if not files:
        raise DataError(f"no N-MNIST recordings in {str(folder)!r}; give the folder with Train/<digit>/*.bin")
    parts = (_part(file, int(file.parent.name)) for file in tqdm(files, desc="Reading N-MNIST", disable=not verbose))
    is_test = np.array([file.parent.parent.name.lower() == "test" for file in files])
    return collect(parts, (34, 34, 2), is_test, sort=sort)


def read_ncaltech101(folder: Path, *, sort: bool = False, verbose: bool = False) -> Recordings:
    """Read N-Caltech101 from its own files, ``<class>/*.bin``, whose events are those of N-MNIST (`read_nmnist`).

    Recordings are of different size. They stay in the corner of a sensor of 240x180, as SpikingJelly has them.

    Args:
        folder: Folder with a folder for each class.
        sort: Sort the events of a recording in time, if they are not.
        verbose: Show progress.

    Raises:
        DataError: There are no such files, or one is damaged; the message names it.
    """
    progress = "Reading N-Caltech101" if verbose else None
    return collect_classes(folder, ".bin", _part, (240, 180, 2), sort=sort, progress=progress)


def _part(file: Path, label: int) -> Part:
    raw = np.frombuffer(file.read_bytes(), dtype=np.uint8)
    if len(raw) == 0 or len(raw) % 5:
        raise DataError(f"{file} is damaged: {len(raw)} bytes, and an event has 5")
    x, y, high, middle, low = raw.reshape(-1, 5).astype(np.int64).T
    overflow = y == _OVERFLOW_ROW
    t = (((high & 127) << 16) | (middle << 8) | low) + _OVERFLOW_US * np.cumsum(overflow)
    kept = ~overflow
    if not kept.any():
        raise DataError(f"{file} holds no event")
    events = {"x": x[kept], "y": y[kept], "p": high[kept] >> 7, "t": t[kept]}
    return Part(f"{file} is damaged: it", events, label)
