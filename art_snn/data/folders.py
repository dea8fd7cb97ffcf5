"""Folders of images, one subfolder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from art_snn.data.split import Split, stratified
from art_snn.errors import DataError

_TRAIN, _TEST = ("train", "training"), ("test", "testing")


def load_image_folder(path: Path, *, image_size: int = 32, verbose: bool = False) -> tuple[Split, list[str]]:
    """Load ``train/<class>/*`` and ``test/<class>/*``, or ``<class>/*`` alone.

    ``Train``, ``training`` and the like are taken, too. A folder without such a pair is split: a fixed, stratified
    fifth is for testing. Images of another size are resized. Needs torchvision, whose ``ImageFolder`` finds the files.

    Args:
        path: The folder.
        image_size: Height and width of the images returned, >= 8.
        verbose: Show progress.

    Returns:
        RGB images (N, 3, image_size, image_size), float32 in [0, 1], with labels, and the names of the classes.

    Raises:
        DataError: The folder is missing or laid out otherwise, has fewer than two classes or too few images, or
            an image is damaged; the message names it.
        ImportError: torchvision does not import.
    """
    if not path.is_dir():
        raise DataError(f"no folder {str(path)!r}; give one with train/<class>/* and test/<class>/*")
    train, test = _part(path, _TRAIN), _part(path, _TEST)
    if train is None and test is None:
        _check_classes(path)
        x, y, names = _read(path, image_size, verbose)
        if np.bincount(y, minlength=len(names)).min() < 2 or len(y) < 5 * len(names):
            raise DataError(f"{str(path)!r} has too few images to split: give five per class, or train/ and test/")
        return stratified(x, y, 0.2), names
    if train is None or test is None:
        missing = path / (_TRAIN if train is None else _TEST)[0]
        raise DataError(f"{str(missing)!r} is missing; give both train/ and test/, or classes alone")
    x_train, y_train, names = _read(train, image_size, verbose)
    x_test, y_test, others = _read(test, image_size, verbose)
    if names != others:
        differing = ", ".join(sorted(set(names) ^ set(others)))
        raise DataError(f"train/ and test/ of {str(path)!r} do not have the same classes; only in one: {differing}")
    return Split(x_train, y_train, x_test, y_test), names


def _part(path: Path, names: tuple[str, ...]) -> Path | None:
    """Return the subfolder that has one of the names, in capitals or not; None if there is none."""
    found = sorted(part for part in path.iterdir() if part.name.lower() in names and part.is_dir())
    if len(found) > 1:
        raise DataError(f"{str(path)!r} holds {' and '.join(part.name for part in found)}; keep one of them")
    return found[0] if found else None


def _check_classes(path: Path) -> None:
    """Raise DataError if a class holds nothing but folders: the parts of a split under other names do."""
    for part in sorted(part for part in path.iterdir() if part.is_dir()):
        inside = list(part.iterdir())
        if inside and all(entry.is_dir() for entry in inside):
            raise DataError(
                f"{str(part)!r} holds folders of images, but no image of its own; "
                "give train/<class>/* and test/<class>/*, or <class>/* alone"
            )


def _read(path: Path, image_size: int, verbose: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    try:
        from torchvision.datasets import ImageFolder
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"folders of images need a torchvision that fits this torch ({error}); "
            "pip install --upgrade torch torchvision"
        ) from None
    try:
        found: Any = ImageFolder(str(path))
    except FileNotFoundError as error:  # no classes, or a class without images
        raise DataError(f"{str(path)!r}: {error}") from None
    if len(found.classes) < 2:
        raise DataError(f"{str(path)!r} has {len(found.classes)} class; two or more are needed")
    images = np.empty((len(found.samples), 3, image_size, image_size), dtype=np.float32)
    labels = np.empty(len(found.samples), dtype=np.int64)
    for i, (file, label) in enumerate(tqdm(found.samples, desc=f"Loading {path.name}", disable=not verbose)):
        try:
            image = found.loader(file).resize((image_size, image_size))
        except Exception as error:  # the errors of Pillow's decoders have no common base
            raise DataError(f"{file} is no readable image: {error!r}") from None
        images[i] = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
        labels[i] = label
    return images, labels, list(found.classes)
