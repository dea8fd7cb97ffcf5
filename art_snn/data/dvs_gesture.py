"""DVS128 Gesture's own files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from art_snn.data.recordings import Part, Recordings, collect
from art_snn.errors import DataError

_LISTS = {"trials_to_train.txt": False, "trials_to_test.txt": True}
_CLASSES = sorted(str(i) for i in range(11))
_END = b"#!END-HEADER\r\n"
_POLARITY = 1  # type of the packets with events of pixels


def takes(path: Path) -> bool:
    """Say whether a folder has DVS128 Gesture's own files."""
    return all((path / name).is_file() for name in _LISTS)


def read_dvs_gesture(folder: Path, *, sort: bool = False, verbose: bool = False) -> Recordings:
    """Read DVS128 Gesture from its own files, ``*.aedat`` (AEDAT 3.1) with ``*_labels.csv`` and lists of trials.

    A file has all gestures of one person; a row of its labels has the class (1 to 11), start and end of one. Classes
    are numbered as in SpikingJelly's folders: 0 to 10 by name, so that "10" is the third.

    Source: Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System" (CVPR 2017).

    Args:
        folder: Folder with ``trials_to_train.txt`` and ``trials_to_test.txt``.
        sort: Sort the events of a recording in time, if they are not.
        verbose: Show progress.

    Raises:
        DataError: A file is missing or damaged; the message names it.
    """
    if not takes(folder):
        raise DataError(f"{str(folder)!r} has no {' and '.join(_LISTS)}; give the folder DvsGesture")
    listed = [(folder / name, is_test) for lines, is_test in _LISTS.items() for name in _names(folder / lines)]
    marks: list[bool] = []

    def parts() -> Iterator[Part]:
        for file, is_test in tqdm(listed, desc="Reading DVS128 Gesture", disable=not verbose):
            for part in _gestures(file):
                marks.append(is_test)
                yield part

    found = collect(parts(), (128, 128, 2), None, sort=sort)
    return Recordings(**{**found._asdict(), "is_test": np.array(marks)})


def _names(file: Path) -> list[str]:
    return [name.strip() for name in file.read_text(encoding="utf-8").splitlines() if name.strip()]


def _gestures(file: Path) -> Iterator[Part]:
    table = file.with_name(f"{file.stem}_labels.csv")
    try:
        lines = table.read_text(encoding="utf-8").splitlines()[1:]
        rows = [[int(number) for number in line.split(",")] for line in lines if line.strip()]
        raw = file.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{file} or {table.name} is missing or damaged: {error}") from None
    if not rows or any(len(row) != 3 or not 1 <= row[0] <= len(_CLASSES) for row in rows):
        raise DataError(f"{table} is damaged: it needs rows of class (1 to 11), start and end")
    address, times = _events(raw, file)
    columns = {"x": (address >> 17) & 0x7FFF, "y": (address >> 2) & 0x7FFF, "p": (address >> 1) & 1, "t": times}
    for number, start, end in rows:
        inside = (times >= start) & (times < end)
        events = {name: values[inside] for name, values in columns.items()}
        yield Part(f"{file}, from {start} to {end} us", events, _CLASSES.index(str(number - 1)))


def _events(raw: bytes, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the addresses and times of all events of a file."""
    start = raw.find(_END) + len(_END)
    if not raw.startswith(b"#!AER-DAT3.1") or start < len(_END):
        raise DataError(f"{file} is damaged, or no file of DVS128 Gesture: it has no header of AEDAT 3.1")
    found = [np.zeros((0, 2), np.int64)]
    while start < len(raw):
        # Type, source, size of an event, place of its time, overflows of the clock, then the events that fit, are there
        # and are valid.
        header = raw[start : start + 28]
        kind, _, size, _, overflows, room, _, _ = struct.unpack("<HH6I", header) if len(header) == 28 else [0] * 8
        stop = start + 28 + size * room
        if size < 8 or stop > len(raw) or (kind == _POLARITY and size != 8):
            raise DataError(f"{file} is damaged: the packet at byte {start} is cut off, or of another kind")
        if kind == _POLARITY:
            events = np.frombuffer(raw[start + 28 : stop], "<u4").reshape(-1, 2).astype(np.int64)
            events[:, 1] |= overflows << 31
            found.append(events)
        start = stop
    address, times = np.concatenate(found).T
    return address, times
