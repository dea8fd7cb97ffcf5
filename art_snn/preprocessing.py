"""ART's preprocessors on event frames (N, T, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from art.defences.preprocessor.preprocessor import Preprocessor, PreprocessorPyTorch
from torch import Tensor

from art_snn.errors import UnsupportedInputError

# These read five axes as video (N, C, T, H, W): given event frames, they take time for channels.
_READ_VIDEO = (
    "CutMix",
    "CutMixPyTorch",
    "Cutout",
    "CutoutPyTorch",
    "JpegCompression",
    "ThermometerEncoding",
    "VideoCompression",
    "VideoCompressionPyTorch",
)
_IMAGES_ONLY = ("EoTImageCenterCropPyTorch", "EoTImageRotationPyTorch", "EoTZoomBlurPyTorch", "TotalVarMin")


def for_event_frames(defence: Preprocessor) -> Preprocessor:
    """Let a preprocessor that reads video (N, C, T, H, W) work on event frames (N, T, C, H, W).

    Args:
        defence: A preprocessor of ART made with ``channels_first=True``, such as ``Cutout`` or ``JpegCompression``.

    Returns:
        A preprocessor that swaps the two axes before and after, also for gradients.

    Raises:
        TypeError: ``defence`` is no preprocessor of ART.

    Example:
        >>> from art.defences.preprocessor import Cutout
        >>> defence = for_event_frames(Cutout(length=2, channels_first=True, apply_predict=True))
        >>> defence(np.ones((1, 5, 2, 8, 8), dtype=np.float32))[0].shape
        (1, 5, 2, 8, 8)
    """
    if isinstance(defence, PreprocessorPyTorch):
        return _SwappedPyTorch(defence)
    if isinstance(defence, Preprocessor):
        return _Swapped(defence)
    raise TypeError(f"defence must be a preprocessor of ART, got {type(defence).__name__}")


def check_preprocessors(defences: Preprocessor | Sequence[Preprocessor] | None) -> None:
    """Raise UnsupportedInputError if one of the preprocessors of an event-frame classifier would misread its inputs."""
    if defences is None or isinstance(defences, Preprocessor):
        defences = [] if defences is None else [defences]
    for defence in defences:
        name = type(defence).__name__
        if name in _IMAGES_ONLY:
            raise UnsupportedInputError(
                f"{name} cannot take event frames (N, T, C, H, W): it is made for images (C, H, W)"
            )
        if name in _READ_VIDEO:
            raise UnsupportedInputError(
                f"{name} cannot take event frames (N, T, C, H, W): it reads five axes as video (N, C, T, H, W) and "
                f"would take time for channels; give for_event_frames({name}(...)) of art_snn.preprocessing instead"
            )


class _Swapped(Preprocessor):
    """Swap axes 1 and 2 around a preprocessor on arrays."""

    def __init__(self, defence: Preprocessor) -> None:
        super().__init__(is_fitted=True, apply_fit=defence.apply_fit, apply_predict=defence.apply_predict)
        self.defence = defence

    def __call__(self, x: np.ndarray, y: Any = None) -> tuple[np.ndarray, Any]:
        x_out, y_out = self.defence(np.swapaxes(x, 1, 2), y)
        return np.swapaxes(x_out, 1, 2), y_out

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        back = self.defence.estimate_gradient(np.swapaxes(x, 1, 2), np.swapaxes(grad, 1, 2))
        return np.swapaxes(back, 1, 2)

    def __repr__(self) -> str:
        return f"for_event_frames({self.defence!r})"


class _SwappedPyTorch(PreprocessorPyTorch):
    """Swap axes 1 and 2 around a preprocessor on tensors."""

    def __init__(self, defence: PreprocessorPyTorch) -> None:
        super().__init__(
            device_type=str(defence.device), apply_fit=defence.apply_fit, apply_predict=defence.apply_predict
        )
        self.defence = defence

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x_out, y_out = self.defence.forward(x.transpose(1, 2), y)
        return x_out.transpose(1, 2), y_out

    def estimate_forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.defence.estimate_forward(x.transpose(1, 2), y).transpose(1, 2)

    def __repr__(self) -> str:
        return f"for_event_frames({self.defence!r})"
