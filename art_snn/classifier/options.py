"""Are these options for a spiking network? Checked before any work is done."""

from __future__ import annotations

from typing import Any

from art_snn.checks import check_count


def check_options(nb_classes: int, loss: Any, use_amp: bool, channels_first: bool, device_type: str) -> None:
    """Raise TypeError or ValueError unless these options of a classifier are what it can take."""
    check_count("nb_classes", nb_classes)
    check_loss(loss)
    if use_amp:
        raise ValueError("use_amp=True needs NVIDIA apex and is not supported; leave it False")
    if not channels_first:
        raise ValueError("channels_first=False is not supported; transpose inputs to (N, C, H, W)")
    if device_type not in ("cpu", "gpu") and not str(device_type).startswith("cuda"):
        raise ValueError(f"device_type must be 'gpu' or 'cpu', got {device_type!r}")


def check_loss(loss: Any) -> None:
    """Raise TypeError unless a loss can be called on logits and labels; a class makes a loss, and is none."""
    if isinstance(loss, type):
        raise TypeError(f"loss is the class {loss.__name__}; give an instance, such as {loss.__name__}()")
    if not callable(loss):
        raise TypeError(f"loss must be a loss on logits and labels, got {loss!r}; give nn.CrossEntropyLoss()")
