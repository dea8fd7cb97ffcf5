"""Event recordings as frames (N, T, C, H, W)."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm.auto import tqdm

from art_snn.data.recordings import Recordings, read_nmnist, read_npz
from art_snn.data.split import Split, stratified
from art_snn.encoders import check_time_steps
from art_snn.errors import DataError
from art_snn.storage import cache_folder, write_atomic

logger = logging.getLogger(__name__)

SPLIT_BY = ("number", "time")
# Raise when frames change, so that no older cache is taken for a newer one.
_VERSION = 1
_RESIZED_AT_ONCE = 64


def to_frames(
    recordings: Recordings,
    *,
    time_steps: int,
    split_by: str = "number",
    image_size: int | None = None,
    verbose: bool = False,
) -> np.ndarray:
    """Count events in T frames a recording.

    By number, a frame has ``E // T`` of a recording's E events, and the last one the rest; by time, frames are equally
    long from the first event to the last. Frames of another size are interpolated linearly (with antialiasing where
    they shrink), so counts become fractions.

    Args:
        recordings: N recordings.
        time_steps: T, >= 1.
        split_by: "number" or "time".
        image_size: Height and width of the frames; None for the sensor's.
        verbose: Show progress.

    Returns:
        Counts (N, T, polarities, H, W), float32 >= 0.

    Raises:
        ValueError: An option is out of its range.
    """
    check_time_steps(time_steps)
    if split_by not in SPLIT_BY:
        raise ValueError(f"split_by must be 'number' or 'time', got {split_by!r}")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be >= 1, got {image_size!r}")
    width, height, polarities = recordings.sensor_size
    size = (height, width) if image_size is None else (image_size, image_size)
    frames = np.empty((len(recordings), time_steps, polarities, *size), dtype=np.float32)
    counts = np.empty((_RESIZED_AT_ONCE, time_steps, polarities, height, width), dtype=np.float32)
    first = 0
    for i in tqdm(range(len(recordings)), desc="Frames", unit="recording", disable=not verbose):
        part = slice(recordings.offsets[i], recordings.offsets[i + 1])
        step = _steps(recordings.t[part].astype(np.int64), time_steps, split_by)
        place = (step * polarities + recordings.p[part]) * height + recordings.y[part]
        index = place * width + recordings.x[part]
        counts[i - first] = np.bincount(index, minlength=counts[0].size).reshape(counts[0].shape)
        if i - first == len(counts) - 1 or i == len(recordings) - 1:
            frames[first : i + 1] = _resized(counts[: i + 1 - first], size)
            first = i + 1
    return frames


def _steps(t: np.ndarray, time_steps: int, split_by: str) -> np.ndarray:
    """Return the time-step of each of a recording's events."""
    if split_by == "number":
        return np.minimum(np.arange(len(t)) // max(len(t) // time_steps, 1), time_steps - 1)
    span = max(int(t[-1] - t[0]), 1)
    return np.minimum((t - t[0]) * time_steps // span, time_steps - 1)


def _resized(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if counts.shape[-2:] == size:
        return counts
    flat = torch.from_numpy(counts).flatten(0, 1)
    out = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False, antialias=True)
    return out.unflatten(0, counts.shape[:2]).clamp_(min=0).numpy()


def load_event_frames(
    path: Path,
    *,
    time_steps: int = 10,
    split_by: str = "number",
    image_size: int = 48,
    test_share: float | None = None,
    verbose: bool = False,
) -> Split:
    """Load recordings as frames, from the cache if they were made before.

    Args:
        path: A NumPy archive (`art_snn.data.read_npz`), or the folder of N-MNIST's own files.
        time_steps: T, >= 1.
        split_by: "number" or "time".
        image_size: Height and width of the frames; the papers' is 48.
        test_share: Share of the recordings to test on, in (0, 1), split anew and stratified; None for the source's own
            split, or a fifth where it has none.
        verbose: Show progress.

    Raises:
        DataError: The recordings are missing or damaged, or cannot be split so.
        ValueError: An option is out of its range.
    """
    if test_share is not None and not 0 < test_share < 1:
        raise ValueError(f"test_share must be in (0, 1), got {test_share!r}")
    recordings = read_nmnist(path, verbose=verbose) if path.is_dir() else read_npz(path)
    frames = _cached(recordings, time_steps, split_by, image_size, verbose)
    labels, marks = recordings.labels, recordings.is_test
    if test_share is None and marks is not None and marks.any() and not marks.all():
        return Split(frames[~marks], labels[~marks], frames[marks], labels[marks])
    try:
        return stratified(frames, labels, 0.2 if test_share is None else test_share)
    except ValueError as error:
        raise DataError(f"{path} cannot be split: {error}") from None


def _cached(recordings: Recordings, time_steps: int, split_by: str, image_size: int, verbose: bool) -> np.ndarray:
    digest = hashlib.sha256(f"{_VERSION} {time_steps} {split_by} {image_size} {recordings.sensor_size}".encode())
    for array in (recordings.x, recordings.y, recordings.p, recordings.t, recordings.offsets):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    file = cache_folder() / f"frames-{digest.hexdigest()[:24]}.npy"
    shape = (len(recordings), time_steps, recordings.sensor_size[2], image_size, image_size)
    if file.is_file():
        try:
            frames = np.load(file)
        except (OSError, ValueError, EOFError):
            pass  # made anew below
        else:
            if frames.shape == shape:
                return frames
    frames = to_frames(recordings, time_steps=time_steps, split_by=split_by, image_size=image_size, verbose=verbose)
    try:
        write_atomic(file, lambda temporary: np.save(temporary, frames))
    except OSError as error:
        logger.warning("the frames are not kept (ART_SNN_CACHE names another folder): %s", error)
    return frames
