"""CIFAR10-DVS's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from art_snn.data.folders import collect_classes, holds
from art_snn.data.recordings import Part, Recordings
from art_snn.errors import DataError

_SIDE = 128
_VERSION = b"#!AER-DAT2.0"


def takes(path: Path) -> bool:
    """Say whether a folder has CIFAR10-DVS's own files."""
    return holds(path, ".aedat")


def read_cifar10_dvs(folder: Path, *, sort: bool = False, verbose: bool = False) -> Recordings:
    """Read CIFAR10-DVS from its own files, ``<class>/*.aedat`` (AEDAT 2.0 of a DVS128).

    An event has 64 bits, the first byte the highest: an address (column in bits 1 to 7, row in 8 to 14, off in bit 0)
    and microseconds. Images are turned upright, as SpikingJelly does it: the new column is 127 - row, and the new row
    127 - column.

    Source: Li, Liu, Ji, Li and Shi, "CIFAR10-DVS: An Event-Stream Dataset for Object Classification" (Frontiers in
    Neuroscience 2017).

    Args:
        folder: Folder with a folder for each class.
        sort: Sort the events of a recording in time, if they are not.
        verbose: Show progress.

    Raises:
        DataError: There are no such files, or one is damaged; the message names it.
    """
    progress = "Reading CIFAR10-DVS" if verbose else None
    return collect_classes(folder, ".aedat", _part, (_SIDE, _SIDE, 2), sort=sort, progress=progress)


def _part(file: Path, label: int) -> Part:
    raw = file.read_bytes()
    if not raw.startswith(_VERSION):
        raise DataError(f"{file} is damaged, or no file of CIFAR10-DVS: it does not begin with {_VERSION.decode()}")
    start = 0
    while raw[start : start + 1] == b"#":
        start = raw.find(b"\n", start) + 1 or len(raw)
    if len(raw) == start or (len(raw) - start) % 8:
        raise DataError(f"{file} is damaged: {len(raw) - start} bytes after its header, and an event has 8")
    address, times = np.frombuffer(raw, ">u4", offset=start).reshape(-1, 2).astype(np.int64).T
    column, row = (address >> 1) & 127, (address >> 8) & 127
    return Part(str(file), {"x": _SIDE - 1 - row, "y": _SIDE - 1 - column, "p": 1 - (address & 1), "t": times}, label)
