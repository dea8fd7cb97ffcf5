"""Folders of samples: parts for training and testing, and in them a folder for each class."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from art_snn.data.recordings import Part, Recordings, SensorSize, collect
from art_snn.errors import DataError

TRAIN, TEST = ("train", "training"), ("test", "testing")
_LOOKED_AT = 100  # files that are enough to tell what a folder holds


class ClassFiles(NamedTuple):
    """Files with their classes."""

    files: list[Path]  #: N files, those for training first.
    labels: np.ndarray  #: Class of each file, (N,), int64: the place of its folder's name in alphabetical order.
    is_test: np.ndarray | None  #: Whether a file is for testing, (N,); None where a folder has no parts.


def subfolder(path: Path, names: tuple[str, ...]) -> Path | None:
    """Return the subfolder that has one of the names, in capitals or not; None if there is none."""
    parts = sorted(part for part in path.iterdir() if part.name.lower() in names and part.is_dir())
    if len(parts) > 1:
        raise DataError(f"{str(path)!r} holds {' and '.join(part.name for part in parts)}; keep one of them")
    return parts[0] if parts else None


def class_files(path: Path, suffix: str) -> ClassFiles:
    """Return the files of ``train/<class>/*`` and ``test/<class>/*``, or of ``<class>/*`` without such parts.

    Classes are numbered as torchvision's ``DatasetFolder`` does it: by name, so "10" comes before "2".

    Raises:
        DataError: There are no such files, or the parts do not have the same classes.
    """
    parts = _parts(path)
    files: list[Path] = []
    labels: list[int] = []
    marks: list[bool] = []
    classes = _classes(parts[0][0] if parts else path)
    for folder, is_test in parts or [(path, False)]:
        found = _classes(folder)
        if found != classes:
            differing = ", ".join(sorted(set(classes) ^ set(found)))
            raise DataError(f"train/ and test/ of {str(path)!r} do not have the same classes; only in one: {differing}")
        for label, name in enumerate(classes):
            inside = sorted(file for file in (folder / name).glob(f"*{suffix}") if not file.name.startswith("."))
            files += inside
            labels += [label] * len(inside)
            marks += [is_test] * len(inside)
    if not files:
        raise DataError(f"no *{suffix} in {str(path)!r}; give a folder with <class>/* or train/<class>/* in it")
    return ClassFiles(files, np.array(labels, np.int64), np.array(marks) if parts else None)


def collect_classes(
    path: Path,
    suffix: str,
    read: Callable[[Path, int], Part],
    sensor_size: SensorSize | None,
    *,
    sort: bool,
    progress: str | None,
) -> Recordings:
    """Return the recordings of the files of `class_files`, each read from its file and class.

    Args:
        path: The folder.
        suffix: Suffix of the files.
        read: Function from a file and its class to its recording.
        sensor_size: As in `collect`.
        sort: As in `collect`.
        progress: What the progress bar says; None for no bar.

    Raises:
        DataError: There are no such files, or one is damaged.
    """
    files, labels, is_test = class_files(path, suffix)
    shown = tqdm(files, desc=progress, disable=progress is None)
    return collect(map(read, shown, labels.tolist()), sensor_size, is_test, sort=sort)


def holds(path: Path, suffix: str) -> bool:
    """Say whether the classes of a folder hold files with a suffix; of a large folder, a few files are looked at."""
    if not path.is_dir():
        return False
    folders = [folder for folder, _ in _parts(path)] or [path]
    files = (file for folder in folders for file in folder.glob("*/*") if not file.name.startswith("."))
    return any(file.suffix == suffix for file in islice(files, _LOOKED_AT))


def _parts(path: Path) -> list[tuple[Path, bool]]:
    """Return the folders for training and testing that there are, and whether each is for testing."""
    found = ((subfolder(path, names), names is TEST) for names in (TRAIN, TEST))
    return [(folder, is_test) for folder, is_test in found if folder is not None]


def _classes(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
