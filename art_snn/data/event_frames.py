"""Event recordings, or frames made of them before, as a split data set of frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from art_snn.checks import check_share
from art_snn.data import atis, cifar10_dvs, dvs_gesture, spikingjelly
from art_snn.data.archives import read_npz
from art_snn.data.frame_cache import kept
from art_snn.data.frames import Framing, count_events, finished
from art_snn.data.recordings import Recordings, SensorSize
from art_snn.data.spikingjelly import StoredFrames, find_frames, read_spikingjelly
from art_snn.data.split import Split, stratified
from art_snn.errors import DataError

# Raise when frames change, so that no older cache is taken for a newer one.
_VERSION = 1
_Reader: TypeAlias = Callable[..., Recordings]
_RAW: list[tuple[Callable[[Path], bool], _Reader]] = [
    (atis.takes_nmnist, atis.read_nmnist),
    (atis.takes_ncaltech101, atis.read_ncaltech101),
    (cifar10_dvs.takes, cifar10_dvs.read_cifar10_dvs),
    (dvs_gesture.takes, dvs_gesture.read_dvs_gesture),
]


class _Frames(NamedTuple):
    """Frames that are still to be made."""

    labels: np.ndarray
    is_test: np.ndarray | None
    shape: tuple[int, ...]  # of one recording's
    made_of: tuple[object, ...]  # all that they depend on: arrays, files, settings
    make: Callable[[np.ndarray], Iterator[np.ndarray]]  # in an order of recordings


def load_event_frames(
    path: Path,
    framing: Framing | None = None,
    *,
    test_share: float | None = None,
    sensor_size: SensorSize | None = None,
    sort: bool = False,
    verbose: bool = False,
) -> Split:
    """Load recordings as frames, from the cache if they were made before.

    They are kept in a file, which is mapped into memory: only what is used is read. Writing to the inputs returned
    leaves the file as it is; where the system refuses so large a map, they are read-only.

    Args:
        path: A NumPy archive (`art_snn.data.read_npz`); the own files of N-MNIST, N-Caltech101, CIFAR10-DVS or DVS128
            Gesture; or a folder that SpikingJelly made, of events (`art_snn.data.read_spikingjelly`) or of frames,
            which stay as they are cut.
        framing: How they become frames, which has to fit frames that are made already; None for the papers' way, and
            for such frames as they are.
        test_share: Share of the recordings to test on, in (0, 1), in a new stratified split; None for the source's own
            split, or a fifth where it has none.
        sensor_size: Width, height and polarities, where the source does not say them.
        sort: Sort the events of a recording in time, if they are not.
        verbose: Show progress.

    Raises:
        DataError: The recordings are missing or damaged, cannot be split so, or their frames are cut otherwise.
        ValueError: The share is out of its range.
    """
    if test_share is not None:
        check_share("test_share", test_share)
    read_raw = stored = None
    if path.is_dir():
        path, read_raw = _chosen(path)
        stored = find_frames(path) if read_raw is None else None
    if stored is not None:
        frames = _from_stored(stored, path, framing, verbose)
    else:
        if read_raw is not None:
            recordings = read_raw(path, sort=sort, verbose=verbose)
        elif path.is_dir():
            recordings = read_spikingjelly(path, sensor_size=sensor_size, sort=sort, verbose=verbose)
        else:
            recordings = read_npz(path, sensor_size=sensor_size, sort=sort)
        frames = _from_recordings(recordings, Framing() if framing is None else framing, verbose)
    train, test = _split(frames, path, test_share)
    order = np.concatenate([train, test])
    shape = (len(order), *frames.shape)
    arrays = kept(_digest(frames, order), shape, lambda: frames.make(order))
    return Split(arrays[: len(train)], frames.labels[train], arrays[len(train) :], frames.labels[test])


def takes(path: Path) -> bool:
    """Say whether a folder holds event recordings."""
    return path.is_dir() and (_raw_reader(_raw(path)) is not None or spikingjelly.takes(path))


def _chosen(path: Path) -> tuple[Path, _Reader | None]:
    """Return the folder that a folder stands for, and what reads it: None for what SpikingJelly made.

    Raises:
        DataError: It holds no recordings.
    """
    if spikingjelly.takes(path):
        path = spikingjelly.chosen(path)
        return path, _raw_reader(path)
    raw = _raw(path)
    read = _raw_reader(raw)
    if read is None:
        known = "N-MNIST, N-Caltech101, CIFAR10-DVS or DVS128 Gesture"
        raise DataError(f"no event recordings in {str(path)!r}; give the files of {known}, or what SpikingJelly made")
    return raw, read


def _raw(path: Path) -> Path:
    """Return where a data set's own files are, below the folders that SpikingJelly and archives put around them."""
    for name in ("extract", "Caltech101", "DvsGesture"):
        path = path / name if (path / name).is_dir() else path
    return path


def _raw_reader(path: Path) -> _Reader | None:
    """Return what reads a data set's own files; None where there are none."""
    return next((read for applies, read in _RAW if applies(path)), None)


def _from_recordings(recordings: Recordings, framing: Framing, verbose: bool) -> _Frames:
    shape = framing.shape(recordings.sensor_size)
    settings = (_VERSION, framing.time_steps, framing.split_by, framing.image_size, recordings.sensor_size)
    made_of = (" ".join(map(str, settings)), *recordings[:5], *_marks(framing))

    def make(order: np.ndarray) -> Iterator[np.ndarray]:
        return count_events(recordings, order, framing, verbose)

    return _Frames(recordings.labels, recordings.is_test, shape, made_of, make)


def _from_stored(stored: StoredFrames, path: Path, framing: Framing | None, verbose: bool) -> _Frames:
    size = stored.shape[-2:]
    if framing is not None:
        _check_cut(stored, path, framing)
        size = size if framing.image_size is None else (framing.image_size, framing.image_size)
    shape = (*stored.shape[:2], *size)
    made_of = (_VERSION, "stored", shape, *stored.files, *_marks(framing))
    binary = framing is not None and framing.binary

    def make(order: np.ndarray) -> Iterator[np.ndarray]:
        return (finished(frames, size, binary) for frames in stored.read(order, verbose=verbose))

    return _Frames(stored.labels, stored.is_test, shape, made_of, make)


def _marks(framing: Framing | None) -> tuple[str, ...]:
    """Return what frames depend on beside what they depended on when all were counts, and were kept."""
    return ("binary",) if framing is not None and framing.binary else ()


def _check_cut(stored: StoredFrames, path: Path, framing: Framing) -> None:
    """Raise DataError unless frames are cut as they are wanted."""
    if stored.shape[0] != framing.time_steps:
        raise DataError(
            f"{path} has frames of {stored.shape[0]} time-steps, not of {framing.time_steps}; "
            f"give time_steps={stored.shape[0]}"
        )
    if stored.split_by not in (None, framing.split_by):
        raise DataError(f"{path} has frames split by {stored.split_by}; give split_by={stored.split_by!r}")


def _split(frames: _Frames, path: Path, test_share: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the recordings to train and to test on."""
    marks = frames.is_test
    if test_share is None and marks is not None and marks.any() and not marks.all():
        return np.flatnonzero(~marks), np.flatnonzero(marks)
    share, count = 0.2 if test_share is None else test_share, len(frames.labels)
    try:
        train, _, test, _ = stratified(np.arange(count), frames.labels, share)
    except ValueError as error:
        raise DataError(f"{path} cannot be split: {error}") from None
    return train, test


def _digest(frames: _Frames, order: np.ndarray) -> str:
    digest = hashlib.sha256()
    for item in (*frames.made_of, order):
        if isinstance(item, np.ndarray):
            digest.update(f"{item.dtype} {item.shape}".encode())
            digest.update(np.ascontiguousarray(item).data)
        elif isinstance(item, Path):
            digest.update(hashlib.sha256(item.read_bytes()).digest())
        else:
            digest.update(str(item).encode())
    return digest.hexdigest()[:24]
