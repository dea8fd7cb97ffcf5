"""Event recordings as frames (N, T, C, H, W)."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm.auto import tqdm

from art_snn.checks import check_choice, check_count, check_share
from art_snn.data.archives import read_npz
from art_snn.data.nmnist import read_nmnist
from art_snn.data.recordings import Recordings, check_recordings
from art_snn.data.split import Split, stratified
from art_snn.errors import DataError
from art_snn.files import cache_folder, write_atomic

logger = logging.getLogger(__name__)

SPLIT_BY = ("number", "time")
# Raise when frames change, so that no older cache is taken for a newer one.
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a recording becomes frames.

    By number, a frame has ``E // T`` of a recording's E events, and the last one the rest; by time, frames are equally
    long from the first event to the last.
    """

    time_steps: int = 10  #: T, >= 1.
    split_by: str = "number"  #: "number" or "time".
    image_size: int | None = 48  #: Height and width of the frames, >= 1; the papers' is 48. None for the sensor's.

    def __post_init__(self) -> None:
        check_count("time_steps", self.time_steps)
        check_choice("split_by", self.split_by, SPLIT_BY)
        if self.image_size is not None:
            check_count("image_size", self.image_size)

    def shape(self, sensor_size: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """Return the shape of a recording's frames, (T, polarities, H, W), for a sensor."""
        width, height, polarities = sensor_size
        if self.image_size is not None:
            width = height = self.image_size
        return self.time_steps, polarities, height, width


def to_frames(recordings: Recordings, framing: Framing, *, verbose: bool = False) -> np.ndarray:
    """Count events in T frames per recording.

    Frames of another size than the sensor's are interpolated linearly (with antialiasing where they shrink), so counts
    become fractions.

    Args:
        recordings: N recordings.
        framing: How they are cut, and to which size they are brought.
        verbose: Show progress.

    Returns:
        Counts (N, T, polarities, H, W), float32 >= 0.

    Raises:
        DataError: The recordings, put together by hand, are not as `Recordings` says.
    """
    check_recordings(recordings)
    return _all_at_once(recordings, np.arange(len(recordings)), framing, verbose)


def _all_at_once(recordings: Recordings, order: np.ndarray, framing: Framing, verbose: bool) -> np.ndarray:
    kind = np.dtype((np.float32, framing.shape(recordings.sensor_size)))
    return np.fromiter(_one_by_one(recordings, order, framing, verbose), kind, count=len(order))


def _one_by_one(recordings: Recordings, order: np.ndarray, framing: Framing, verbose: bool) -> Iterator[np.ndarray]:
    """Yield each recording's frames (T, polarities, H, W), in the given order of recordings."""
    width, height, polarities = recordings.sensor_size
    shape, last = (framing.time_steps, polarities, height, width), framing.time_steps - 1
    size: tuple[int, ...] = framing.shape(recordings.sensor_size)[-2:]
    for i in tqdm(order, desc="Frames", unit="recording", disable=not verbose):
        part = slice(recordings.offsets[i], recordings.offsets[i + 1])
        x, y, p, t = (column[part].astype(np.int64) for column in recordings[:4])
        if framing.split_by == "number":
            step = np.arange(len(t)) // max(len(t) // framing.time_steps, 1)
        else:
            step = (t - t[0]) * framing.time_steps // max(int(t[-1] - t[0]), 1)
        index = ((np.minimum(step, last) * polarities + p) * height + y) * width + x
        counts = np.bincount(index, minlength=math.prod(shape)).reshape(shape).astype(np.float32)
        if counts.shape[-2:] != size:
            options: Any = {"mode": "bilinear", "align_corners": False, "antialias": True}
            counts = functional.interpolate(torch.from_numpy(counts), size, **options).clamp_(min=0).numpy()
        yield counts


def load_event_frames(
    path: Path, framing: Framing | None = None, *, test_share: float | None = None, verbose: bool = False
) -> Split:
    """Load recordings as frames, from the cache if they were made before.

    They are kept in a file, which is mapped into memory: only what is used is read. Writing to the inputs returned
    leaves the file as it is; where the system refuses so large a map, they are read-only.

    Args:
        path: A NumPy archive (`art_snn.data.read_npz`), or the folder of N-MNIST's own files.
        framing: How they become frames; None for the papers' way.
        test_share: Share of the recordings to test on, in (0, 1), in a new stratified split; None for the source's own
            split, or a fifth where it has none.
        verbose: Show progress.

    Raises:
        DataError: The recordings are missing or damaged, or cannot be split so.
        ValueError: The share is out of its range.
    """
    framing = Framing() if framing is None else framing
    if test_share is not None:
        check_share("test_share", test_share)
    recordings = read_nmnist(path, verbose=verbose) if path.is_dir() else read_npz(path)
    labels, marks = recordings.labels, recordings.is_test
    if test_share is None and marks is not None and marks.any() and not marks.all():
        train, test = np.flatnonzero(~marks), np.flatnonzero(marks)
    else:
        try:
            train, _, test, _ = stratified(np.arange(len(labels)), labels, 0.2 if test_share is None else test_share)
        except ValueError as error:
            raise DataError(f"{path} cannot be split: {error}") from None
    frames = _cached(recordings, np.concatenate([train, test]), framing, verbose)
    return Split(frames[: len(train)], labels[train], frames[len(train) :], labels[test])


def _cached(recordings: Recordings, order: np.ndarray, framing: Framing, verbose: bool) -> np.ndarray:
    settings = (_VERSION, framing.time_steps, framing.split_by, framing.image_size, recordings.sensor_size)
    digest = hashlib.sha256(" ".join(map(str, settings)).encode())
    for array in (*recordings[:5], order):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    file = cache_folder() / f"frames-{digest.hexdigest()[:24]}.npy"
    shape = (len(recordings), *framing.shape(recordings.sensor_size))
    frames = _mapped(file, shape)
    if frames is None:
        made = _one_by_one(recordings, order, framing, verbose)
        try:
            write_atomic(file, lambda temporary: _write(temporary, shape, made))
        except OSError as error:
            logger.warning("the frames are not kept (ART_SNN_CACHE names another folder): %s", error)
        else:
            frames = _mapped(file, shape)
    return _all_at_once(recordings, order, framing, verbose) if frames is None else frames


def _write(file: Path, shape: tuple[int, ...], frames: Iterator[np.ndarray]) -> None:
    # Through a memory map, a full disk would end the process, and what is written would count as its memory.
    header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": shape}
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for made in frames:
            out.write(np.ascontiguousarray(made).data)


def _mapped(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the frames of a file; None if it is missing, damaged or of another shape."""
    for mode in ("c", "r"):  # a private copy of each page that is written to, else read-only
        try:
            frames = np.lib.format.open_memmap(file, mode=mode)
        except (OSError, ValueError):
            continue
        return np.asarray(frames) if frames.shape == shape and frames.dtype == np.float32 else None
    return None
