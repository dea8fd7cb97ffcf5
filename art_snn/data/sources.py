"""Data sets by what a user writes for them: a name, a folder or a file.

A kind of data set is a class that derives from `Source` and registers itself. A new one is one file, and one line in
`art_snn.data` that imports it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

from art_snn.data import event_frames
from art_snn.data.event_frames import load_event_frames
from art_snn.data.frames import Framing
from art_snn.data.images import load_cifar, load_digits, load_image_folder
from art_snn.data.split import Split
from art_snn.errors import DataError
from art_snn.files import cache_folder


class Source(ABC):
    """A data set that can be loaded, by what a user wrote for it."""

    name: ClassVar[str] = ""  #: What a user writes; "" for kinds of folders and files.
    title: str = ""  #: What tables call it; if left out, the name of the folder or file.
    events: ClassVar[bool] = False  #: Whether it has event recordings, not images.
    #: Shape of its inputs (C, H, W), where a user cannot choose their size.
    fixed_shape: ClassVar[tuple[int, int, int] | None] = None
    image_size: ClassVar[int] = 32  #: Height and width that inputs are brought to, unless a user chooses others.
    architecture: ClassVar[str] = "vgg_small"  #: Name of the network for it, unless a user chooses another one.
    #: "mean" and "std" of its channels; {} for those that networks have by default.
    statistics: ClassVar[Mapping[str, tuple[float, ...]]] = {}

    def __init__(self, data: str) -> None:
        self.data = data
        self.title = self.title or Path(data).name

    @classmethod
    def takes(cls, data: str) -> bool:
        """Say whether what a user wrote is a data set of this kind."""
        return data == cls.name

    def shape(self, framing: Framing) -> tuple[int, ...]:
        """Return the shape of an input, with three channels or two polarities where it is not known without loading."""
        side = framing.image_size or self.image_size
        return self.fixed_shape or ((framing.time_steps, 2, side, side) if self.events else (3, side, side))

    @abstractmethod
    def load(self, framing: Framing, *, test_share: float | None = None, verbose: bool = False) -> Split:
        """Load the data set, of event recordings a new split if ``test_share`` is given; raise DataError on damage."""


_KINDS: list[type[Source]] = []
_Kind = TypeVar("_Kind", bound=type[Source])


def register_source(kind: _Kind) -> _Kind:
    """Make a kind of data set available; usable as a class decorator. The latest is asked first what it takes."""
    _KINDS.insert(0, kind)
    return kind


def source(data: str) -> Source:
    """Return the data set that a user wrote; what is unknown is taken for a folder of images."""
    return next((kind for kind in _KINDS if kind.takes(data)), _ImageFolder)(data)


def absolute(data: str) -> str:
    """Return a data set's name, or its absolute path; raise DataError where it is no data set."""
    kind, path = source(data), Path(data)
    if kind.name:
        return data
    for cifar in (_CIFAR10, _CIFAR100):
        if path.name == cifar.files or (path / cifar.files).is_dir():
            raise DataError(
                f"{data!r} holds torchvision's files of {cifar.title}; write {cifar.name!r}, which reads "
                f"{str(_cifar_folder() / cifar.files)!r}"
            )
    if not (path.exists() and kind.takes(data)):
        names = ", ".join(repr(known.name) for known in _KINDS if known.name)
        raise DataError(f"{data!r} is neither {names}, nor a folder, nor an .npz of recordings")
    return str(path.resolve())


@register_source
class _ImageFolder(Source):
    """A folder of images, one subfolder per class."""

    @classmethod
    def takes(cls, data: str) -> bool:
        return Path(data).is_dir()

    def load(self, framing: Framing, *, test_share: float | None = None, verbose: bool = False) -> Split:
        return load_image_folder(Path(self.data), image_size=framing.image_size or self.image_size, verbose=verbose)[0]


@register_source
class _EventArchive(Source):
    """Event recordings in one NumPy archive, ``*.npz``."""

    events = True
    image_size = 48
    architecture = "vgg_dvs"

    @classmethod
    def takes(cls, data: str) -> bool:
        return Path(data).suffix == ".npz"

    def load(self, framing: Framing, *, test_share: float | None = None, verbose: bool = False) -> Split:
        return load_event_frames(Path(self.data), framing, test_share=test_share, verbose=verbose)


@register_source
class _EventFolder(_EventArchive):
    """A folder of event recordings: a data set's own files, or what SpikingJelly made of them."""

    @classmethod
    def takes(cls, data: str) -> bool:
        return event_frames.takes(Path(data))


def _cifar_folder() -> Path:
    return cache_folder() / "torchvision"


@register_source
class _CIFAR100(Source):
    """CIFAR-100, in the cache folder; downloaded if missing."""

    name = "cifar100"
    title = "CIFAR-100"
    files = "cifar-100-python"  # torchvision's folder
    fixed_shape = (3, 32, 32)
    statistics = {"mean": (0.5071, 0.4865, 0.4409), "std": (0.2673, 0.2564, 0.2762)}  # noqa: RUF012  (a constant)

    def load(self, framing: Framing, *, test_share: float | None = None, verbose: bool = False) -> Split:
        return load_cifar(self.name, _cifar_folder())


@register_source
class _CIFAR10(_CIFAR100):
    """CIFAR-10, in the same way."""

    name = "cifar10"
    title = "CIFAR-10"
    files = "cifar-10-batches-py"
    statistics = {}  # noqa: RUF012


@register_source
class _Digits(Source):
    """The digits that come with scikit-learn."""

    name = "digits"
    fixed_shape = (1, 8, 8)
    architecture = "digits_net"

    def load(self, framing: Framing, *, test_share: float | None = None, verbose: bool = False) -> Split:
        return load_digits()
