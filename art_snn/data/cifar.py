"""CIFAR-10 and CIFAR-100 through torchvision."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from art_snn.checks import check_choice
from art_snn.data.split import Split
from art_snn.errors import DataError

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_LOCK = ".cifar.lock"


def load_cifar(name: str, folder: Path, *, download: bool = True) -> Split:
    """Load CIFAR-10 or CIFAR-100 as torchvision keeps it; downloads it with a progress bar where it is missing.

    Of several processes that find it missing, one downloads it and the others wait.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).

    Args:
        name: "cifar10" or "cifar100".
        folder: Folder for, or with, torchvision's files.
        download: Download what is missing.

    Returns:
        RGB images (N, 3, 32, 32) in [0, 1]: 50,000 for training and 10,000 for testing.

    Raises:
        DataError: The files are missing or damaged, and could not be downloaded.
        ValueError: The name is unknown.
        ImportError: torchvision does not import.
    """
    check_choice("name", name, FOLDERS)
    try:
        from torchvision.datasets import CIFAR10, CIFAR100
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"{name} needs a torchvision that fits this torch ({error}); pip install --upgrade torch torchvision"
        ) from None
    known = CIFAR10 if name == "cifar10" else CIFAR100
    parts: list[np.ndarray] = []
    for train in (True, False):
        try:
            found = _opened(known, folder, train, download)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
            raise DataError(f"{name} is not in {str(folder)!r}, or damaged, and was not downloaded: {error}") from None
        images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2), dtype=np.float32)
        images /= 255
        parts += [images, np.asarray(found.targets, dtype=np.int64)]
    return Split(*parts)


def _opened(known: Any, folder: Path, train: bool, download: bool) -> Any:
    """Return torchvision's data set; a lock is taken for a download alone, as files may lie where none can write."""
    if not download:
        return known(str(folder), train=train, download=False)
    with suppress(RuntimeError):  # what is missing or half written does not fit its digest
        return known(str(folder), train=train, download=False)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        return known(str(folder), train=train, download=True)
