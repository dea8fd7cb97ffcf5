"""The spikes of a classifier's layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from art_snn.checks import check_count
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array, to_numpy
from art_snn.engine.spikes import record_spikes
from art_snn.snn.modes import mode


def layer_spikes(classifier: PyTorchSNNClassifier, x: Array, *, batch_size: int = 128) -> dict[str, np.ndarray]:
    """Return what each spiking layer gives in each time-step.

    Networks of other libraries and of your own code (`art_snn.adapt`) have their neurons stepped by art_snn, as for a
    gradient. A layer that is called several times in a forward pass has an entry for each call.

    Args:
        classifier: The classifier, whose preprocessing defences apply.
        x: Inputs (N, *input_shape), N >= 1.
        batch_size: Samples that run at the same time, >= 1.

    Returns:
        Names of layers, as `layer_names` of the classifier has them, to numbers of spikes (T, N, *F).

    Raises:
        TypeError: The classifier is none of art_snn.
        ValueError: There are no inputs, or no spiking layer ran.
    """
    parts = list(_batches(classifier, x, batch_size))
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def mean_rates(classifier: PyTorchSNNClassifier, x: Array, *, batch_size: int) -> dict[str, float]:
    """Return each layer's mean number of spikes of a neuron in a time-step; arguments and errors as `layer_spikes`."""
    totals: dict[str, float] = {}
    for part in _batches(classifier, x, batch_size):
        for name, spikes in part.items():
            totals[name] = totals.get(name, 0.0) + float(spikes.mean()) * spikes.shape[1]
    return {name: total / len(x) for name, total in totals.items()}


def same_noise(classifier: PyTorchSNNClassifier, x_adv: Array | None) -> AbstractContextManager[None]:
    """Let a random encoder draw the same noise before and after, so that inputs alone make the difference."""
    check_classifier(classifier)
    return nullcontext() if x_adv is None else classifier.common_random_numbers()


def check_classifier(classifier: object) -> None:
    """Raise TypeError unless a classifier is a `PyTorchSNNClassifier`."""
    if not isinstance(classifier, PyTorchSNNClassifier):
        raise TypeError(f"classifier must be a PyTorchSNNClassifier, got {type(classifier).__name__}")


def short_name(name: str) -> str:
    """Return a layer's name as it is in the user's own network."""
    return name.removeprefix("network.").removeprefix("model.")


def _batches(classifier: PyTorchSNNClassifier, x: Array, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the spikes of a batch after the other."""
    check_classifier(classifier)
    check_count("batch_size", batch_size)
    checked = to_numpy(classifier._check_input(x))
    if not len(checked):
        raise ValueError("x is empty: there is nothing to run")
    model = classifier.model
    for batch in classifier._preprocessed(checked).split(batch_size):
        with mode(model), torch.no_grad():
            model.restart_noise()
            layers = record_spikes(model.network, model.network.encode(model._cast(batch.to(classifier.device))))
        if not layers:
            raise ValueError("no spiking layer that art_snn knows takes part in the network's forward")
        yield {
            f"network.{name}" if len(calls) == 1 else f"network.{name}, call {number}": to_numpy(spikes)
            for name, calls in layers.items()
            for number, spikes in enumerate(calls, start=1)
        }
