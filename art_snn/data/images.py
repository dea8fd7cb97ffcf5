"""Images: scikit-learn's digits, and CIFAR and folders of images through torchvision."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from sklearn import datasets as sklearn_datasets
from tqdm.auto import tqdm

from art_snn.checks import check_choice
from art_snn.data.folders import TEST, TRAIN, subfolder
from art_snn.data.split import Split, stratified
from art_snn.errors import DataError


def load_digits() -> Split:
    """Load the handwritten digits that come with scikit-learn: 1,797 real images of 8x8 pixels in 17 grey levels.

    The split is stratified and always the same: 1,347 images for training and 450 for testing.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI Machine Learning Repository, 1998).

    Example:
        >>> load_digits().x_test.shape
        (450, 1, 8, 8)
    """
    digits = sklearn_datasets.load_digits()
    return stratified((digits.images / 16).astype(np.float32)[:, None], digits.target.astype(np.int64), 0.25)


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
    check_choice("name", name, ("cifar10", "cifar100"))
    cifar = getattr(_torchvision_datasets(name), name.upper())
    parts: list[np.ndarray] = []
    for train in (True, False):
        try:
            opened = _open_cifar(cifar, folder, train, download)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
            raise DataError(f"{name} is not in {str(folder)!r}, or damaged, and was not downloaded: {error}") from None
        images = np.ascontiguousarray(opened.data.transpose(0, 3, 1, 2), dtype=np.float32)
        images /= 255
        parts += [images, np.asarray(opened.targets, dtype=np.int64)]
    return Split(*parts)


def _open_cifar(cifar: Any, folder: Path, train: bool, download: bool) -> Any:
    """Return torchvision's data set; a lock is taken for a download alone, as files may lie where none can write."""
    if not download:
        return cifar(str(folder), train=train, download=False)
    with suppress(RuntimeError):  # what is missing or half written does not fit its digest
        return cifar(str(folder), train=train, download=False)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".cifar.lock"):
        return cifar(str(folder), train=train, download=True)


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
    train, test = subfolder(path, TRAIN), subfolder(path, TEST)
    if train is None and test is None:
        _check_classes(path)
        x, y, names = _read_images(path, image_size, verbose)
        if np.bincount(y, minlength=len(names)).min() < 2 or len(y) < 5 * len(names):
            raise DataError(f"{str(path)!r} has too few images to split: give five per class, or train/ and test/")
        return stratified(x, y, 0.2), names
    if train is None or test is None:
        missing = path / (TRAIN if train is None else TEST)[0]
        raise DataError(f"{str(missing)!r} is missing; give both train/ and test/, or classes alone")
    x_train, y_train, names = _read_images(train, image_size, verbose)
    x_test, y_test, others = _read_images(test, image_size, verbose)
    if names != others:
        differing = ", ".join(sorted(set(names) ^ set(others)))
        raise DataError(f"train/ and test/ of {str(path)!r} do not have the same classes; only in one: {differing}")
    return Split(x_train, y_train, x_test, y_test), names


def _check_classes(path: Path) -> None:
    """Raise DataError if a class holds nothing but folders: the parts of a split under other names do."""
    for part in sorted(part for part in path.iterdir() if part.is_dir()):
        inside = [entry.is_dir() for entry in part.iterdir()]
        if inside and all(inside):
            raise DataError(
                f"{str(part)!r} holds folders of images, but no image of its own; "
                "give train/<class>/* and test/<class>/*, or <class>/* alone"
            )


def _read_images(path: Path, image_size: int, verbose: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    try:
        folder: Any = _torchvision_datasets("a folder of images").ImageFolder(str(path))
    except FileNotFoundError as error:  # no classes, or a class without images
        raise DataError(f"{str(path)!r}: {error}") from None
    if len(folder.classes) < 2:
        raise DataError(f"{str(path)!r} has {len(folder.classes)} class; two or more are needed")
    images = np.empty((len(folder.samples), 3, image_size, image_size), dtype=np.float32)
    for i, (file, _) in enumerate(tqdm(folder.samples, desc=f"Loading {path.name}", disable=not verbose)):
        try:
            image = folder.loader(file).resize((image_size, image_size))
        except Exception as error:  # the errors of Pillow's decoders have no common base
            raise DataError(f"{file} is no readable image: {error!r}") from None
        images[i] = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
    return images, np.array(folder.targets, dtype=np.int64), list(folder.classes)


def _torchvision_datasets(what: str) -> Any:
    """Return torchvision's module of data sets, which ``what`` needs; ImportError if it does not import."""
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        reason = f"{what} needs a torchvision that fits this torch ({error})"
        raise ImportError(f"{reason}; pip install --upgrade torch torchvision") from None
    return datasets
