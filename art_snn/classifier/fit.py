"""Surrogate-gradient training: back-propagation through time with the neurons' own slopes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from tqdm.auto import tqdm

from art_snn.checks import check_count
from art_snn.classifier.inputs import one_hot, to_numpy
from art_snn.errors import TrainingError


def train(
    classifier: PyTorchClassifier,
    x: np.ndarray,
    y: np.ndarray,
    *,
    batch_size: int,
    nb_epochs: int,
    training_mode: bool,
    drop_last: bool,
    scheduler: Any,
    verbose: bool,
) -> None:
    """Train a classifier; see `art_snn.PyTorchSNNClassifier.fit`.

    ART's own loop differs in the order of samples, and goes on where the loss or a weight is NaN.
    """
    check_count("batch_size", batch_size)
    check_count("nb_epochs", nb_epochs)
    if classifier.optimizer is None:
        raise ValueError("fit needs an optimizer; give PyTorchSNNClassifier(..., optimizer=torch.optim.Adam(...))")
    checked = to_numpy(classifier._check_input(x))
    if len(checked) < (batch_size if drop_last else 1):
        raise ValueError(
            f"{len(checked)} samples make no batch of {batch_size}; lower batch_size or leave drop_last False"
        )
    rows = one_hot(y, len(checked), classifier.nb_classes)
    inputs, rows = classifier._apply_preprocessing(checked, rows, fit=True)
    inputs = torch.tensor(inputs, dtype=torch.float32)
    labels = torch.from_numpy(np.asarray(classifier.reduce_labels(rows)))
    masks = not_finite(classifier.model) - dict(classifier.model.named_parameters()).keys()  # buffers may be -inf
    classifier.model.train(training_mode)
    try:
        with tqdm(range(nb_epochs), disable=not verbose, desc="Training", unit="epoch") as epochs:
            for epoch in epochs:
                order = torch.randperm(len(inputs))
                last = len(order) - len(order) % batch_size if drop_last else len(order)
                batches = ((inputs[index], labels[index]) for index in order[:last].split(batch_size))
                loss, accuracy = _epoch(classifier, batches, epoch)
                if not_finite(classifier.model) - masks:
                    raise diverged("weights", epoch, classifier.optimizer.param_groups[0]["lr"])
                epochs.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")
                if scheduler is not None:
                    scheduler.step()
    finally:
        classifier.model.eval()


def _epoch(classifier: PyTorchClassifier, batches: Iterable[tuple[Tensor, Tensor]], epoch: int) -> tuple[float, float]:
    """Take a step on each batch; return the mean loss and the accuracy."""
    model, optimizer = classifier.model, classifier.optimizer
    total, hits, seen = 0.0, 0, 0
    for batch, labels in batches:
        target = labels.to(classifier.device)
        optimizer.zero_grad()
        logits = model(batch.to(classifier.device))
        loss = classifier.loss(logits, target).mean()
        if not torch.isfinite(loss):
            raise diverged("training loss", epoch, optimizer.param_groups[0]["lr"])
        loss.backward()
        optimizer.step()
        classes = target if target.ndim == 1 else target.argmax(1)
        total, seen = total + loss.item() * len(batch), seen + len(batch)
        hits += int((logits.argmax(1) == classes).sum())
    return total / seen, hits / seen


def not_finite(model: nn.Module) -> set[str]:
    """Return the names of the parameters and buffers that hold NaN or inf.

    The loss alone does not tell: a neuron whose membrane is NaN does not fire, and hides it.
    """
    named = (*model.named_parameters(), *model.named_buffers())
    return {name for name, tensor in named if not torch.isfinite(tensor).all()}


def diverged(what: str, epoch: int, lr: float) -> TrainingError:
    """Return the error that says what became NaN or inf.

    Args:
        what: "weights" or "training loss".
        epoch: Index of the epoch, from 0.
        lr: The learning rate to lower.
    """
    return TrainingError(f"in epoch {epoch + 1}, the {what} became NaN or inf; lower the learning rate, lr={lr:g}")
