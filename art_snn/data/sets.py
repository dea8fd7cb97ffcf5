"""Data sets by what a user writes: a name, a folder or a file."""

from __future__ import annotations

from pathlib import Path

from art_snn.data.cifar import FOLDERS as CIFAR_FOLDERS
from art_snn.data.cifar import NAMES as CIFAR
from art_snn.data.cifar import load_cifar
from art_snn.data.digits import load_digits
from art_snn.data.folders import load_image_folder
from art_snn.data.frames import load_event_frames
from art_snn.data.split import Split
from art_snn.errors import DataError
from art_snn.files import cache_folder

DIGITS = "digits"
_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def is_events(data: str) -> bool:
    """Say whether a data set has event recordings: a NumPy archive, or a folder with N-MNIST's own files."""
    path = Path(data)
    return path.suffix == ".npz" or (path.is_dir() and any(path.glob("T*/[0-9]/*.bin")))


def title(data: str) -> str:
    """Return what a data set is called in tables: its name, or that of its folder or file."""
    return _TITLES.get(data, Path(data).name)


def resolved(data: str) -> str:
    """Return a data set's name, or its absolute path.

    Raises:
        DataError: It is neither a known name nor a folder or file, or a folder with torchvision's files of CIFAR.
    """
    if data in (DIGITS, *CIFAR):
        return data
    path = Path(data)
    for name, files in CIFAR_FOLDERS.items():
        if path.name == files or (path / files).is_dir():
            kept = str(_cifar_folder() / files)
            raise DataError(
                f"{data!r} holds torchvision's files of {_TITLES[name]}; write {name!r}, which reads {kept!r}"
            )
    if path.is_dir() or (path.suffix == ".npz" and path.is_file()):
        return str(path.resolve())
    known = ", ".join(repr(name) for name in (DIGITS, *CIFAR))
    raise DataError(f"{data!r} is neither {known}, nor a folder, nor an .npz of recordings")


def _cifar_folder() -> Path:
    return cache_folder() / "torchvision"


def load(
    data: str,
    *,
    image_size: int,
    time_steps: int,
    split_by: str = "number",
    test_share: float | None = None,
    verbose: bool = False,
) -> Split:
    """Load a data set.

    Args:
        data: "digits", "cifar10", "cifar100" (kept in the cache folder, downloaded if missing), a folder of images, an
            .npz of event recordings, or the folder of N-MNIST's own files.
        image_size: Height and width that the inputs are brought to; digits and CIFAR keep theirs.
        time_steps: Number of frames of event recordings.
        split_by: "number" or "time": how event recordings are cut.
        test_share: Share of event recordings to test on; None for the source's own split.
        verbose: Show progress.

    Raises:
        DataError: The data are missing or damaged.
    """
    if data == DIGITS:
        return load_digits()
    if data in CIFAR:
        return load_cifar(data, _cifar_folder())
    if is_events(data):
        return load_event_frames(
            Path(data),
            time_steps=time_steps,
            split_by=split_by,
            image_size=image_size,
            test_share=test_share,
            verbose=verbose,
        )
    return load_image_folder(Path(data), image_size=image_size, verbose=verbose)[0]
