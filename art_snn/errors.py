"""Errors and warnings that art_snn raises."""

from __future__ import annotations

from collections.abc import Sequence


class UnsupportedModelError(ValueError):
    """Say why a model cannot be attacked: every reason at once, each with its cure.

    Args:
        reasons: One sentence a reason.

    Example:
        >>> print(UnsupportedModelError(["it has no spiking layer"]))
        this model cannot be attacked:
          - it has no spiking layer
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("this model cannot be attacked:\n" + "\n".join(f"  - {reason}" for reason in self.reasons))

    def __reduce__(self) -> tuple[type[UnsupportedModelError], tuple[tuple[str, ...]]]:
        """Pickle by the reasons, so that the error crosses process borders."""
        return type(self), (self.reasons,)


class UnsupportedInputError(ValueError):
    """A class of ART cannot take a classifier's kind of input, such as an image attack event frames."""


class InexactReplayWarning(UserWarning):
    """A layer between two neurons is not affine, so the slower, exact form of the rule was used."""


class GradientWarning(UserWarning):
    """A gradient is all zero or not finite for some samples: an attack cannot move them."""


class TrainingError(ValueError):
    """A training cannot begin as it was asked for, or diverged; the message is one line that says what to do."""


class DataError(ValueError):
    """Data are missing, damaged or not laid out as they must be; the message is one line that names the file."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, of another format, or of another training; the message is one line."""


class BusyError(CheckpointError):
    """Another process trains in the folder."""


class ResultsError(ValueError):
    """A results file is damaged or of another schema; the message is one line."""


class UsageError(ValueError):
    """An option's value is wrong; the message is one line for the user."""


class NothingToDrawError(ValueError):
    """The rows hold nothing that a figure shows; the message is one line."""


class ImageFolderError(DataError):
    """A folder of images is missing, damaged or not laid out as it must be; the message is one line."""
