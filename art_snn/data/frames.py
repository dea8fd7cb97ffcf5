"""Event recordings as frames (N, T, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm.auto import tqdm

from art_snn.checks import check_choice, check_count
from art_snn.data.frame_cache import in_memory
from art_snn.data.recordings import Recordings, check_recordings

SPLIT_BY = ("number", "time")


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a recording becomes frames.

    By number, a frame has ``E // T`` of a recording's E events, and the last one the rest; by time, frames are equally
    long from the first event to the last.
    """

    time_steps: int = 10  #: T, >= 1.
    split_by: str = "number"  #: "number" or "time".
    image_size: int | None = 48  #: Height and width of the frames, >= 1; the papers' is 48. None for the sensor's.
    binary: bool = False  #: 1 where there are events, and 0 elsewhere, in the place of counts.

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
    become fractions. Binary ones are 1 where these are not 0.

    Args:
        recordings: N recordings.
        framing: How they are cut, and to which size they are brought.
        verbose: Show progress.

    Returns:
        Counts (N, T, polarities, H, W), float32 >= 0; 0 and 1 of binary frames.

    Raises:
        DataError: The recordings, put together by hand, are not as `Recordings` says.
    """
    check_recordings(recordings)
    order = np.arange(len(recordings))
    shape = (len(recordings), *framing.shape(recordings.sensor_size))
    return in_memory(shape, count_events(recordings, order, framing, verbose))


def count_events(recordings: Recordings, order: np.ndarray, framing: Framing, verbose: bool) -> Iterator[np.ndarray]:
    """Yield each recording's frames (T, polarities, H, W), float32, in the given order of recordings."""
    width, height, polarities = recordings.sensor_size
    shape, last = (framing.time_steps, polarities, height, width), framing.time_steps - 1
    size = framing.shape(recordings.sensor_size)[-2:]
    for i in tqdm(order, desc="Frames", unit="recording", disable=not verbose):
        part = slice(recordings.offsets[i], recordings.offsets[i + 1])
        x, y, p, t = (column[part].astype(np.int64) for column in recordings[:4])
        if framing.split_by == "number":
            step = np.arange(len(t)) // max(len(t) // framing.time_steps, 1)
        else:
            step = (t - t[0]) * framing.time_steps // max(int(t[-1] - t[0]), 1)
        index = ((np.minimum(step, last) * polarities + p) * height + y) * width + x
        counts = np.bincount(index, minlength=math.prod(shape)).reshape(shape).astype(np.float32)
        yield finished(counts, size, framing.binary)


def finished(frames: np.ndarray, size: tuple[int, int], binary: bool) -> np.ndarray:
    """Return frames (T, polarities, H, W) of a height and width; with ``binary``, 1 where they are above 0."""
    frames = resized(frames, size)
    return (frames > 0).astype(np.float32) if binary else frames


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return frames (T, polarities, H, W) of a height and width, interpolated where they are of others."""
    if frames.shape[-2:] == size:
        return frames
    options: Any = {"mode": "bilinear", "align_corners": False, "antialias": True}
    return functional.interpolate(torch.from_numpy(frames), size, **options).clamp_(min=0).numpy()
