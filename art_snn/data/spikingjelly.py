"""Folders that SpikingJelly makes of a data set: its events, and the frames made of them."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from art_snn.data.archives import read_arrays
from art_snn.data.folders import class_files, collect_classes, holds
from art_snn.data.recordings import Part, Recordings, SensorSize, check_sensor_size
from art_snn.errors import DataError

logger = logging.getLogger(__name__)

_EVENTS = "events_np"
_FRAMES = re.compile(r"frames_number_\d+_split_by_(number|time)|duration_\d+")
_COLUMNS = ("x", "y", "p", "t")


class StoredFrames(NamedTuple):
    """Frames that lie in a file for each recording."""

    files: list[Path]  #: N archives with the array ``frames``.
    labels: np.ndarray  #: Class of each recording, (N,).
    is_test: np.ndarray | None  #: Whether a recording is for testing, (N,), or None.
    shape: tuple[int, int, int, int]  #: T, polarities, height and width of a recording's frames.
    split_by: str | None  #: "number" or "time", how the recordings were cut, as the folder's name says it.

    def read(self, order: Sequence[int] | np.ndarray, *, verbose: bool = False) -> Iterator[np.ndarray]:
        """Yield recordings' frames (T, polarities, H, W), float32; raise DataError where a file is damaged."""
        for i in tqdm(order, desc="Reading frames", unit="recording", disable=not verbose):
            yield _read_frames(self.files[i], self.shape)


def takes(path: Path) -> bool:
    """Say whether a folder is one that SpikingJelly makes."""
    return path.is_dir() and (bool(_made(path)) or holds(path, ".npz"))


def chosen(path: Path) -> Path:
    """Return the folder of events or frames that a path stands for: the root of a data set for its events.

    Raises:
        DataError: There are several folders of frames, and no events.
    """
    made = _made(path)
    if not made or path / _EVENTS in made:
        return path / _EVENTS if made else path
    if len(made) > 1:
        raise DataError(f"{str(path)!r} holds {', '.join(folder.name for folder in made)}; give one of them")
    return made[0]


def _made(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and (p.name == _EVENTS or _FRAMES.fullmatch(p.name)))


def read_spikingjelly(
    folder: Path, *, sensor_size: SensorSize | None = None, sort: bool = False, verbose: bool = False
) -> Recordings:
    """Read the events that SpikingJelly keeps of a data set, ``events_np/<part>/<class>/*.npz``.

    They are what it makes of DVS128 Gesture, N-MNIST (parts ``train`` and ``test``), CIFAR10-DVS and N-Caltech101 (no
    parts), for instance. Classes are numbered as it does: by name, so "10" comes before "2".

    Source: Fang et al., "SpikingJelly: An open-source machine learning infrastructure platform for spike-based
    intelligence" (Science Advances 2023).

    Args:
        folder: ``events_np``, or the data set's root with that folder in it.
        sensor_size: Width, height and polarities, which the files do not hold; None for the smallest of the sensors of
            public data sets that has all events: 34x34, 128x128, 240x180, 304x240, 346x260, 640x480 or 1280x720.
        sort: Sort the events of a recording in time, if they are not.
        verbose: Show progress.

    Raises:
        DataError: There are no such files, or one is damaged, or holds something else; the message names it.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {str(folder)!r}; give SpikingJelly's events_np")
    size = None if sensor_size is None else check_sensor_size(sensor_size, str(folder))
    progress = "Reading events" if verbose else None
    recordings = collect_classes(chosen(folder), ".npz", _part, size, sort=sort, progress=progress)
    if size is None:
        width, height, _ = recordings.sensor_size
        logger.warning("the events of %s are taken for those of a sensor of %dx%d pixels", folder, width, height)
    return recordings


def _part(file: Path, label: int) -> Part:
    columns = read_arrays(file, _COLUMNS)
    _check_names(file, columns, _COLUMNS)
    return Part(str(file), columns, label)


def find_frames(folder: Path) -> StoredFrames | None:
    """Return the frames of a folder that SpikingJelly made, ``frames_number_10_split_by_number/<part>/<class>/*.npz``.

    Returns:
        The frames, which are still to be read; None if the folder holds something else.

    Raises:
        DataError: The first file is damaged, or its frames are not (T, polarities, H, W).
    """
    files, labels, is_test = class_files(folder, ".npz")
    if "frames" not in _names(files[0]):
        return None
    shape = read_arrays(files[0], ["frames"])["frames"].shape
    if len(shape) != 4 or 0 in shape or shape[1] > 2:
        kind = ", as of events in one dimension (SHD, SSC)" if len(shape) == 2 else ""
        raise DataError(f"{files[0]} has frames of shape {shape}{kind}; (T, polarities, height, width) is needed")
    named = _FRAMES.fullmatch(folder.name)
    return StoredFrames(files, labels, is_test, shape, named[1] if named else None)


def _read_frames(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    arrays = read_arrays(file, ["frames"])
    _check_names(file, arrays, ["frames"])
    frames = arrays["frames"]
    if frames.dtype.kind not in "biuf":
        raise DataError(f"{file} has frames of dtype {frames.dtype}; numbers are needed")
    if frames.shape != shape:
        cure = "; frames of a fixed duration differ in T: give events_np" if frames.shape[1:] == shape[1:] else ""
        raise DataError(f"{file} has frames of shape {frames.shape}, and others {shape}{cure}")
    if not (np.isfinite(frames).all() and (frames >= 0).all()):
        raise DataError(f"{file} has frames that are NaN, infinite or below 0; counts of events are needed")
    return frames.astype(np.float32)


def _check_names(file: Path, arrays: Mapping[str, np.ndarray], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in arrays]
    if missing == ["y"] or missing == ["y", "p"]:
        raise DataError(f"{file} has events in one dimension (no y), as SHD and SSC do; frames have rows and columns")
    if missing:
        raise DataError(f"{file} lacks the arrays {', '.join(missing)}; it has {', '.join(_names(file)) or 'none'}")


def _names(file: Path) -> list[str]:
    """Return the names of an archive's arrays; none of a file that is no archive."""
    with suppress(Exception), zipfile.ZipFile(file) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]
    return []
