"""What the results of an evaluation depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from art.defences.postprocessor.postprocessor import Postprocessor
from art.defences.preprocessor.preprocessor import Preprocessor
from torch import Tensor, nn

from art_snn.evaluation.robustness.judging import Judge
from art_snn.evaluation.robustness.logits import observed
from art_snn.evaluation.robustness.stages import Budget
from art_snn.evaluation.rows import package_versions

SHOWN = 8  # entries of an array that a text shows; of larger ones it has a digest


def identity(judge: Judge, budget: Budget, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return what the results depend on, by the names that messages have for it: texts, and logits as lists."""
    classifier = judge.classifier
    module = classifier.model
    operations = [*classifier.preprocessing_operations, *(classifier.postprocessing_defences or [])]
    logits, tensors = observed(classifier, x, judge.batch_size)
    return {
        "weights": _weights(tensors),
        "network": _short_digest(str(module.network).encode()),
        "inputs": _short_digest(f"{x.shape}".encode() + x.tobytes()),
        "labels": _short_digest(y.tobytes()),
        **{name: repr(value) for name, value in budget.allowed.settings.items()},
        "budget": repr(budget),
        "batch_size": str(judge.batch_size),
        "draws": str(judge.draws),
        "eot_samples": str(module.eot_samples),
        "time_chunk": str(module.time_chunk),
        "rule of the classifier": repr(classifier.gradient_rule),
        "loss": described(classifier._loss),
        "clip_values": described(classifier.clip_values),
        "preprocessing": described(operations),
        "versions": repr(package_versions()),
        "logits of the network": logits,
    }


def described(value: Any) -> str:
    """Return a text that differs where a value does: of an array its bytes count, of a loss or defence all settings.

    Example:
        >>> described((0, np.ones(2))), described(nn.NLLLoss(reduction="sum"))
        ('(0, array([1.0, 1.0], float64))', "NLLLoss(reduction='sum', ignore_index=-100, weight=None)")
    """
    if isinstance(value, Tensor):
        return f"tensor({tuple(value.shape)}, {value.dtype}, {_short_digest(_bytes(value))})"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        shown = value.tolist() if value.size <= SHOWN else f"{value.shape}, {_short_digest(value.tobytes())}"
        return f"array({shown}, {value.dtype})"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(described, value))})"
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name!r}: {described(each)}' for name, each in value.items())})"
    if isinstance(value, (nn.Module, Preprocessor, Postprocessor)):
        settings = ", ".join(f"{name}={described(each)}" for name, each in _settings(value).items())
        return f"{type(value).__name__}({settings})"
    return repr(value)


def _settings(value: Any) -> dict[str, Any]:
    """Return what a module, or a defence of ART, whose repr is its address, is made of."""
    own = {name: each for name, each in vars(value).items() if not name.startswith("_") and name != "training"}
    if isinstance(value, nn.Module):
        return own | value._parameters | value._buffers | value._modules
    return own | {name: getattr(value, name, None) for name in value.params}


def _weights(tensors: Mapping[str, Tensor]) -> str:
    content = hashlib.sha256()
    for name, tensor in tensors.items():
        content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        content.update(_bytes(tensor))
    return content.hexdigest()[:16]


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
