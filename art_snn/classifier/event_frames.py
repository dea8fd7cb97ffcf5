"""ART's preprocessors on event frames (N, T, C, H, W)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from art.defences.preprocessor.preprocessor import Preprocessor, PreprocessorPyTorch
from art.preprocessing.standardisation_mean_std.numpy import StandardisationMeanStd
from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch
from torch import Tensor, nn

from art_snn.errors import UnsupportedInputError
from art_snn.snn.encoders import takes_frames

# By name, also of those that end in PyTorch. Given event frames, the first take time for channels.
_READ_VIDEO = ("CutMix", "Cutout", "JpegCompression", "ThermometerEncoding", "VideoCompression")
_IMAGES_ONLY = ("EoTImageCenterCrop", "EoTImageRotation", "EoTZoomBlur", "ImageResize", "ImageSquarePad", "TotalVarMin")


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
    _refuse_images_only(defence)
    return _SwappedPyTorch(defence) if isinstance(defence, PreprocessorPyTorch) else _Swapped(defence)


def fitted_preprocessing(
    network: nn.Module, preprocessing: Any, defences: Any, input_shape: tuple[int, ...], device_type: str
) -> tuple[Preprocessor | None, Any]:
    """Return preprocessing and defences as they fit the network; a pair (mean, std) becomes a preprocessor on tensors.

    ART puts a vector on the last axis, or on axis 1 or 0, by its length. With event frames it goes to the channels.
    """
    if isinstance(preprocessing, tuple) and len(preprocessing) != 2:
        raise ValueError(f"preprocessing must be a pair (mean, std), got {len(preprocessing)} values")
    if takes_frames(network):
        several = [defences] if isinstance(defences, Preprocessor) else list(defences or ())
        for preprocessor in (*several, preprocessing):
            _refuse_images_only(preprocessor)
            name = type(preprocessor).__name__
            if name.removesuffix("PyTorch") in _READ_VIDEO:
                raise UnsupportedInputError(
                    f"{name} cannot take event frames (N, T, C, H, W): it reads five axes as video (N, C, T, H, W) and "
                    f"would take time for channels; give for_event_frames({name}(...)) instead"
                )
        # A defence may give other shapes to what comes after it.
        preprocessing = _per_channel(preprocessing, input_shape, check=not several)
        shaped = [_per_channel(defence, input_shape, check=i == 0) for i, defence in enumerate(several)]
        defences = None if defences is None else shaped
    if isinstance(preprocessing, tuple):
        preprocessing = StandardisationMeanStdPyTorch(*preprocessing, device_type=device_type)
    return preprocessing, defences


def _refuse_images_only(preprocessor: Any) -> None:
    name = type(preprocessor).__name__
    if name.removesuffix("PyTorch") in _IMAGES_ONLY:
        raise UnsupportedInputError(f"{name} cannot take event frames (N, T, C, H, W): it is made for images (C, H, W)")


def _per_channel(preprocessor: Any, input_shape: tuple[int, ...], *, check: bool) -> Any:
    """Return a pair or a standardisation of ART with vectors as (C, 1, ...), and anything else as it is."""
    if isinstance(preprocessor, tuple):
        mean, std = preprocessor
    elif isinstance(preprocessor, (StandardisationMeanStd, StandardisationMeanStdPyTorch)):
        mean, std = preprocessor.mean, preprocessor.std
    else:
        return preprocessor
    values = [_on_channels(*named, input_shape, check) for named in (("mean", mean), ("std", std))]
    mean, std = np.broadcast_arrays(*values)  # ART wants them alike
    if isinstance(preprocessor, tuple):
        return mean, std
    if mean.shape == preprocessor.mean.shape and std.shape == preprocessor.std.shape:
        return preprocessor
    preprocessor = copy.copy(preprocessor)  # the caller's own stays as it is
    preprocessor.mean, preprocessor.std = mean, std
    preprocessor._broadcastable_mean = preprocessor._broadcastable_std = None  # ART's memory of the first input
    return preprocessor


def _on_channels(name: str, value: Any, input_shape: tuple[int, ...], check: bool) -> np.ndarray:
    """Return a vector as (C, 1, ...), and another array as it is; raise ValueError if it does not fit inputs."""
    value = np.asarray(value, dtype=np.float32)
    if value.ndim == 1:
        if check and len(input_shape) > 1 and len(value) not in (1, input_shape[1]):
            raise ValueError(
                f"preprocessing has a {name} of {len(value)} values, but event frames (N, T, C, ...) with input_shape "
                f"{input_shape} have C = {input_shape[1]} channels; give one value, one per channel, or an array that "
                "broadcasts to input_shape"
            )
        return np.atleast_2d(value.reshape(-1, *(1,) * (len(input_shape) - 2)))
    batch = (1, *input_shape)
    ends = zip(reversed(value.shape), reversed(batch), strict=False)
    if check and (value.ndim > len(batch) or any(size not in (1, full) for size, full in ends)):
        raise ValueError(
            f"preprocessing has a {name} of shape {value.shape}, which does not broadcast to inputs of shape "
            f"{input_shape}; give one value, one per channel, or an array that does"
        )
    return value


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

    __repr__ = _Swapped.__repr__
