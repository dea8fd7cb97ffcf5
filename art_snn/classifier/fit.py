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


class Trainable(PyTorchClassifier):
    """Train a classifier. ART's own loop orders samples differently, and goes on where the loss or a weight is NaN."""

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int = 128,
        nb_epochs: int = 10,
        training_mode: bool = True,
        drop_last: bool = False,
        scheduler: Any = None,
        verbose: bool = False,
        **kwargs: Any,
    ) -> None:
        """Train by back-propagation through time with the neurons' own surrogate slopes (STBP).

        A step takes ``batch_size`` samples; ``drop_last`` leaves out a smaller last batch. ``training_mode=False``
        trains with dropout off and batch norm frozen. ``scheduler`` steps after every epoch, ``verbose`` shows a
        progress bar. The model is in evaluation mode afterwards.

        Raises:
            ValueError: There is no optimizer, or there are too few samples.
            TrainingError: The loss, or a weight, became NaN or inf.
        """
        check_count("batch_size", batch_size)
        check_count("nb_epochs", nb_epochs)
        if self.optimizer is None:
            raise ValueError("fit needs an optimizer; give PyTorchSNNClassifier(..., optimizer=torch.optim.Adam(...))")
        checked = to_numpy(self._check_input(x))
        if len(checked) < (batch_size if drop_last else 1):
            raise ValueError(f"{len(checked)} samples make no batch of {batch_size}; lower it or leave drop_last False")
        rows = one_hot(y, len(checked), self.nb_classes)
        inputs, rows = self._apply_preprocessing(checked, rows, fit=True)
        inputs = torch.tensor(inputs, dtype=torch.float32)
        labels = torch.from_numpy(np.asarray(self.reduce_labels(rows)))
        masks = not_finite(self.model) - dict(self.model.named_parameters()).keys()  # buffers may be -inf
        self.model.train(training_mode)
        try:
            with tqdm(range(nb_epochs), disable=not verbose, desc="Training", unit="epoch") as epochs:
                for epoch in epochs:
                    order = torch.randperm(len(inputs))
                    last = len(order) - len(order) % batch_size if drop_last else len(order)
                    batches = ((inputs[index], labels[index]) for index in order[:last].split(batch_size))
                    loss, accuracy = _epoch(self, batches, epoch)
                    if not_finite(self.model) - masks:
                        raise diverged("weights", epoch, self.optimizer.param_groups[0]["lr"])
                    epochs.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")
                    if scheduler is not None:
                        scheduler.step()
        finally:
            self.model.eval()

    def fit_generator(self, generator: Any, nb_epochs: int = 20, verbose: bool = False, **kwargs: Any) -> None:
        """Train on the batches of an ART data generator; see `fit`. The model is in evaluation mode afterwards."""
        before = not_finite(self.model)
        try:
            super().fit_generator(generator, nb_epochs=nb_epochs, verbose=verbose, **kwargs)
        finally:
            self._model.eval()
        if not_finite(self.model) - before and self.optimizer is not None:
            raise diverged("weights", nb_epochs - 1, self.optimizer.param_groups[0]["lr"])


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
    """Return the error that says what, "weights" or "training loss", became NaN or inf; epochs count from 0."""
    return TrainingError(f"in epoch {epoch + 1}, the {what} became NaN or inf; lower the learning rate, lr={lr:g}")
