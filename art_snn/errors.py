"""Every error and warning of art_snn; all errors have one base."""

from __future__ import annotations

from collections.abc import Sequence


class ArtSnnError(Exception):
    """Base of all errors of art_snn. The message says what is wrong and what to do."""


class UnsupportedModelError(ArtSnnError, ValueError):
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


class UnsupportedInputError(ArtSnnError, ValueError):
    """A class of ART cannot take a classifier's kind of input, such as an image attack event frames."""


class UnsupportedRuleError(ArtSnnError, ValueError):
    """A rule does not fit what is asked of it, such as an attack that needs a gradient of its own for each frame."""


class TrainingError(ArtSnnError, ValueError):
    """A training cannot begin as it was asked for, or diverged."""


class CheckpointError(ArtSnnError, ValueError):
    """A checkpoint is damaged, of another format, or of another training."""


class BusyError(ArtSnnError):
    """Another process trains in the folder."""


class DataError(ArtSnnError, ValueError):
    """Data are missing, damaged or not laid out as they must be; the message names the file."""


class ResultsError(ArtSnnError, ValueError):
    """Results are damaged, or of another version."""


class NothingToDrawError(ArtSnnError, ValueError):
    """The rows hold nothing that a figure shows."""


class UsageError(ArtSnnError, ValueError):
    """An option's value is wrong."""


class InexactReplayWarning(UserWarning):
    """A layer between two neurons is not affine, so the slower, exact form of the rule was used."""


class GradientWarning(UserWarning):
    """A gradient is zero, not finite or misleading, or logits tie: what an attack finds is not what the network is."""


class InputRangeWarning(UserWarning):
    """Inputs leave the clip values of a classifier, or the range of an encoder."""


class ExampleWarning(UserWarning):
    """An attack made examples that it may not make; they count as no success."""


class RandomnessWarning(UserWarning):
    """An option for random encoders does nothing here, or cannot reach the encoder's noise."""
