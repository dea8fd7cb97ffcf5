"""Frames that are made once, kept in a file and mapped into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from art_snn.files import cache_folder, write_atomic

logger = logging.getLogger(__name__)


def kept(digest: str, shape: tuple[int, ...], make: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """Return frames from the cache; make and keep them if they are not there.

    Args:
        digest: Digits of all that the frames depend on.
        shape: Shape of all frames, (N, T, polarities, H, W).
        make: Yields each recording's frames, (T, polarities, H, W), float32.
    """
    file = cache_folder() / f"frames-{digest}.npy"
    frames = _mapped(file, shape)
    if frames is None:
        made = make()
        try:
            write_atomic(file, lambda temporary: _write(temporary, shape, made))
        except OSError as error:
            logger.warning("the frames are not kept (ART_SNN_CACHE names another folder): %s", error)
        else:
            frames = _mapped(file, shape)
    return in_memory(shape, make()) if frames is None else frames


def in_memory(shape: tuple[int, ...], frames: Iterator[np.ndarray]) -> np.ndarray:
    """Return frames as one array of a shape (N, T, polarities, H, W)."""
    return np.fromiter(frames, np.dtype((np.float32, shape[1:])), count=shape[0])


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
