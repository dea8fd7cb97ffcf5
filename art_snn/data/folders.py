"""Folders of images, one subfolder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from art_snn.data.split import Split, stratified
from art_snn.errors import DataError


class ImageFolderError(DataError):
    """A folder of images is missing, damaged or not laid out as it must be; the message is one line."""


def load_image_folder(path: Path, *, image_size: int = 32, verbose: bool = False) -> tuple[Split, list[str]]:
    """Load ``train/<class>/*`` and ``test/<class>/*``, or ``<class>/*`` alone.

    A folder without ``train`` and ``test`` is split: a fixed, stratified fifth is for testing. Images of another size
    are resized. Needs torchvision, whose ``ImageFolder`` finds the files.

    Args:
        path: The folder.
        image_size: Height and width of the images returned, >= 8.
        verbose: Show progress.

    Returns:
        RGB images (N, 3, image_size, image_size), float32 in [0, 1], with labels, and the names of the classes.

    Raises:
        ImageFolderError: The folder is missing or laid out otherwise, has fewer than two classes or too few images, or
            an image is damaged; the message names it.
        ImportError: torchvision does not import.
    """
    if not path.is_dir():
        raise ImageFolderError(f"no folder {str(path)!r}; give one with train/<class>/* and test/<class>/*")
    parts = [path / "train", path / "test"]
    if parts[0].is_dir() != parts[1].is_dir():
        missing = parts[1] if parts[0].is_dir() else parts[0]
        raise ImageFolderError(f"{str(missing)!r} is missing; give both train/ and test/, or classes alone")
    if not parts[0].is_dir():
        x, y, names = _read(path, image_size, verbose)
        if np.bincount(y, minlength=len(names)).min() < 2 or len(y) < 5 * len(names):
            raise ImageFolderError(f"{str(path)!r} has too few images to split: give five a class, or train/ and test/")
        return stratified(x, y, 0.2), names
    x_train, y_train, names = _read(parts[0], image_size, verbose)
    x_test, y_test, others = _read(parts[1], image_size, verbose)
    if names != others:
        differing = ", ".join(sorted(set(names) ^ set(others)))
        raise ImageFolderError(f"train/ and test/ of {str(path)!r} have not the same classes; only in one: {differing}")
    return Split(x_train, y_train, x_test, y_test), names


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
        raise ImageFolderError(f"{str(path)!r}: {error}") from None
    if len(found.classes) < 2:
        raise ImageFolderError(f"{str(path)!r} has {len(found.classes)} class; two or more are needed")
    images = np.empty((len(found.samples), 3, image_size, image_size), dtype=np.float32)
    labels = np.empty(len(found.samples), dtype=np.int64)
    for i, (file, label) in enumerate(tqdm(found.samples, desc=f"Loading {path.name}", disable=not verbose)):
        try:
            image = found.loader(file).resize((image_size, image_size))
        except (OSError, SyntaxError) as error:
            raise ImageFolderError(f"{file} is no readable image: {error}") from None
        images[i] = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
        labels[i] = label
    return images, labels, list(found.classes)
