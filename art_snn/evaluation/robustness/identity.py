"""What the results of an evaluation depend on."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from torch import nn

from art_snn.evaluation.robustness.judging import Judge
from art_snn.evaluation.robustness.stages import Budget
from art_snn.evaluation.rows import package_versions


def identity(judge: Judge, budget: Budget, x: np.ndarray, y: np.ndarray) -> dict[str, str]:
    """Return what the results depend on, by the names that messages have for it."""
    classifier = judge.classifier
    module = classifier.model
    operations = [*classifier.preprocessing_operations, *(classifier.postprocessing_defences or [])]
    return {
        "weights": _weights(module.network),
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
        "loss": repr(classifier._loss),
        "clip_values": str(classifier.clip_values),
        "preprocessing": repr([_settings(each) for each in operations]),
        "versions": repr(package_versions()),
    }


def _settings(operation: Any) -> tuple[str, dict[str, str]]:
    """Return the class and settings of a preprocessor of ART, whose repr is its address."""
    return type(operation).__name__, {name: repr(getattr(operation, name, None)) for name in operation.params}


def _weights(network: nn.Module) -> str:
    content = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        content.update(tensor.detach().cpu().float().numpy().tobytes())
    return content.hexdigest()[:16]


def _short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
