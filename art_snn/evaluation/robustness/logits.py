"""What a network gives for a few samples: a network that reads alike may still be another function."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from art_snn.attacks.judging import predict_full
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.evaluation.robustness.judging import seeded
from art_snn.evaluation.robustness.plain import plain
from art_snn.snn.modes import evaluating

FEW = 16  # samples
# Relative change of logits that another machine, or number of threads, makes.
ROUNDING = 1e-4
# Of so many samples one may have other logits: a potential at the threshold makes a spike of rounding.
ONE_OF = 8


def observed(classifier: PyTorchSNNClassifier, x: np.ndarray, batch_size: int) -> tuple[Any, dict[str, Tensor]]:
    """Return logits of a few of the samples, and the tensors of the network that predictions leave alone.

    The logits are lists (n, K), n <= `FEW`, None for what is not finite; a text where they change from call to call.
    Noise that torch and NumPy draw is the same in each call. Buffers that predictions change are states of neurons.
    """
    few, size = x[np.unique(np.linspace(0, len(x) - 1, FEW).astype(int))], min(FEW, batch_size)
    network, found, seen = classifier.model.network, [], []
    for each in (size, size + 1, size):  # states have other shapes with another size
        with evaluating(network), seeded(classifier, "logits"):
            found.append(plain(predict_full(classifier, few, each)))
        seen.append({name: value.detach().clone() for name, value in _buffers(network).items()})
    kept: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
    kept |= {name: value for name, value in seen[0].items() if name in seen[1] and _equal(value, seen[1][name])}
    return found[0] if same_logits(found[0], found[2]) else "change from call to call", kept


def same_logits(one: Any, other: Any) -> bool:
    """Say whether logits, in the form of `observed`, are the same but for rounding."""
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    try:
        first, second = np.array(one, dtype=np.float64), np.array(other, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError):
        return False
    if first.ndim != 2 or first.shape != second.shape:
        return False
    changed = (np.isfinite(first) != np.isfinite(second)).any(1)
    first, second = np.nan_to_num(first), np.nan_to_num(second)
    changed |= np.abs(first - second).max(1) > ROUNDING * np.maximum(1, np.abs(first).max(1))
    return int(changed.sum()) <= len(first) // ONE_OF


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    """Return all buffers, also those that a state_dict leaves out."""
    return dict(network.named_buffers(remove_duplicate=False))


def _equal(one: Tensor, other: Tensor) -> bool:
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and bool(((one == other) | ((one != one) & (other != other))).all())
