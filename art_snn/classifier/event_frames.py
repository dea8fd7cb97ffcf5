"""ART's preprocessors on event frames (N, T, C, H, W)."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
from art.defences.preprocessor.preprocessor import Preprocessor, PreprocessorPyTorch
from art.preprocessing.standardisation_mean_std.numpy import StandardisationMeanStd
from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch
from torch import Tensor, nn

from art_snn.errors import UnsupportedInputError
from art_snn.snn.encoders import takes_frames

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
_IMAGES_ONLY = (
    "EoTImageCenterCropPyTorch",
    "EoTImageRotationPyTorch",
    "EoTZoomBlurPyTorch",
    "ImageResize",
    "ImageResizePyTorch",
    "ImageSquarePad",
    "ImageSquarePadPyTorch",
    "TotalVarMin",
)
_FOR_IMAGES = "it is made for images (C, H, W)"
_AS_VIDEO = (
    "it reads five axes as video (N, C, T, H, W) and would take time for channels; "
    "give for_event_frames({}(...)) instead"
)


def for_event_frames(defence: Preprocessor) -> Preprocessor:
    """Let a preprocessor that reads video (N, C, T, H, W) work on event frames (N, T, C, H, W).

    Args:
        defence: A preprocessor of ART made with ``channels_first=True``, such as ``Cutout`` or ``JpegCompression``.

    Returns:
        A preprocessor that swaps the two axes before and after, also for gradients.

    Raises:
        TypeError: ``defence`` is no preprocessor of ART.
        UnsupportedInputError: It is made for images, and cannot take five axes either way.

    Example:
        >>> from art.defences.preprocessor import Cutout
        >>> defence = for_event_frames(Cutout(length=2, channels_first=True, apply_predict=True))
        >>> defence(np.ones((1, 5, 2, 8, 8), dtype=np.float32))[0].shape
        (1, 5, 2, 8, 8)
    """
    if not isinstance(defence, Preprocessor):
        raise TypeError(f"defence must be a preprocessor of ART, got {type(defence).__name__}")
    _refuse(defence, _IMAGES_ONLY, _FOR_IMAGES)
    return _SwappedPyTorch(defence) if isinstance(defence, PreprocessorPyTorch) else _Swapped(defence)


def fitted_preprocessing(
    network: nn.Module,
    preprocessing: Any,
    defences: Preprocessor | Sequence[Preprocessor] | None,
    input_shape: tuple[int, ...],
    device_type: str,
) -> tuple[Preprocessor | None, Any]:
    """Return the preprocessing and the defences of a classifier, fit for its network's kind of inputs.

    A pair becomes a preprocessor on tensors, which stays in the graph.

    ART puts a mean that is a vector on the last axis or on axis 1 if its length fits, and on axis 0 else: with event
    frames these are columns, time and samples. Here it goes to the channels.

    Args:
        network: The network; only one for event frames changes anything.
        preprocessing: A pair (mean, std), a preprocessor of ART, or None. Each of mean and std is one number, a vector
            of one number per channel, or an array that broadcasts to ``input_shape``.
        defences: One preprocessor, several, or None.
        input_shape: Shape of one input, (T, C, ...).
        device_type: The classifier's.

    Returns:
        Both, with vectors as (C, 1, ...), which broadcast. What needs no change is handed through.

    Raises:
        UnsupportedInputError: A preprocessor would misread event frames.
        ValueError: ``preprocessing`` is a tuple but no pair, or a mean or std has another shape than these.
    """
    if isinstance(preprocessing, tuple) and len(preprocessing) != 2:
        raise ValueError(f"preprocessing must be a pair (mean, std), got {len(preprocessing)} values")
    if takes_frames(network):
        several = [defences] if isinstance(defences, Preprocessor) else list(defences or ())
        for preprocessor in (*several, preprocessing):
            _refuse(preprocessor, _IMAGES_ONLY, _FOR_IMAGES)
            _refuse(preprocessor, _READ_VIDEO, _AS_VIDEO)
        preprocessing = _per_channel(preprocessing, None if several else input_shape, input_shape)
        # A defence may give other channels to what comes after it.
        shaped = [_per_channel(defence, None if i else input_shape, input_shape) for i, defence in enumerate(several)]
        defences = None if defences is None else shaped
    if isinstance(preprocessing, tuple):
        preprocessing = StandardisationMeanStdPyTorch(*preprocessing, device_type=device_type)
    return preprocessing, defences


def _refuse(preprocessor: Any, names: Container[str], reason: str) -> None:
    name = type(preprocessor).__name__
    if name in names:
        raise UnsupportedInputError(f"{name} cannot take event frames (N, T, C, H, W): {reason.format(name)}")


def _per_channel(preprocessor: Any, known: tuple[int, ...] | None, input_shape: tuple[int, ...]) -> Any:
    """Return a pair or a standardisation of ART with vectors as (C, 1, ...), and anything else as it is.

    Mean and std have to broadcast to the shape ``known``, unless it is None; of ``input_shape`` the rank is used.
    """
    if isinstance(preprocessor, tuple):
        mean, std = preprocessor
        return _shaped(mean, std, known, input_shape)
    if not isinstance(preprocessor, (StandardisationMeanStd, StandardisationMeanStdPyTorch)):
        return preprocessor
    mean, std = _shaped(preprocessor.mean, preprocessor.std, known, input_shape)
    if mean.shape == preprocessor.mean.shape and std.shape == preprocessor.std.shape:
        return preprocessor
    preprocessor = copy.copy(preprocessor)  # the caller's own stays as it is
    preprocessor.mean, preprocessor.std = mean, std
    preprocessor._broadcastable_mean = preprocessor._broadcastable_std = None  # ART's memory of the first input
    return preprocessor


def _shaped(
    mean: Any, std: Any, known: tuple[int, ...] | None, input_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    values = [_on_channels(*named, known, len(input_shape)) for named in (("mean", mean), ("std", std))]
    mean, std = np.broadcast_arrays(*values)  # ART wants them alike
    return mean, std


def _on_channels(name: str, value: Any, known: tuple[int, ...] | None, rank: int) -> np.ndarray:
    value = np.asarray(value, dtype=np.float32)
    vector = value.ndim == 1
    if vector and known is not None and len(known) > 1 and len(value) not in (1, known[1]):
        raise ValueError(
            f"preprocessing has a {name} of {len(value)} values, but event frames (N, T, C, ...) with input_shape "
            f"{known} have C = {known[1]} channels; give one value, one per channel, or an array that broadcasts to "
            "input_shape"
        )
    if vector:
        return np.atleast_2d(value.reshape(-1, *(1,) * (rank - 2)))
    if known is not None and not _broadcasts(value.shape, (1, *known)):
        raise ValueError(
            f"preprocessing has a {name} of shape {value.shape}, which does not broadcast to inputs of shape {known}; "
            "give one value, one per channel, or an array that does"
        )
    return value


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


class _Swapped(Preprocessor):
    """Swap axes 1 and 2 around a preprocessor on arrays."""

    def __init__(self, defence: Preprocessor) -> None:
        super().__init__(is_fitted=True, apply_fit=defence.apply_fit, apply_predict=defence.apply_predict)
        self.defence = defence

    def __call__(self, x: np.ndarray, y: Any = None) -> tuple[np.ndarray, Any]:
        x_out, y_out = self.defence(np.swapaxes(x, 1, 2), y)
        return np.swapaxes(x_out, 1, 2), y_out

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        time = 1 + grad.ndim - x.ndim  # gradients of several classes are (N, K, T, C, H, W)
        back = self.defence.estimate_gradient(np.swapaxes(x, 1, 2), np.swapaxes(grad, time, time + 1))
        return np.swapaxes(back, time, time + 1)

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
