"""Surrogate-gradient training: back-propagation through time with the neurons' own slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from art.data_generators import DataGenerator, PyTorchDataGenerator
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from tqdm.auto import tqdm

from art_snn.checks import check_count
from art_snn.classifier.inputs import Array, to_numpy
from art_snn.errors import TrainingError
from art_snn.labels import Labels

Batches = Iterable[tuple[Tensor, Tensor]]


class Trainable:
    """Train a classifier. ART's own loop orders samples differently, and goes on where the loss or a weight is NaN.

    It does not derive from ART's classifier, which would have ``fit`` call ``np.array`` on labels: that fails for
    tensors on a GPU.
    """

    def fit(
        self: Any,
        x: Array,
        y: Labels,
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
        _check_can_train(self, nb_epochs)
        x = self._check_input(x if isinstance(x, (np.ndarray, Tensor)) else np.asarray(x))
        if len(x) < (batch_size if drop_last else 1):
            raise ValueError(f"{len(x)} samples make no batch of {batch_size}; lower it or leave drop_last False")
        inputs, labels = _prepared(self, x, y)

        def batches() -> Batches:
            order = torch.randperm(len(inputs))
            last = len(order) - len(order) % batch_size if drop_last else len(order)
            return ((inputs[index], labels[index]) for index in order[:last].split(batch_size))

        _train(self, batches, nb_epochs, training_mode, scheduler, verbose)

    def fit_generator(
        self: Any, generator: DataGenerator, nb_epochs: int = 20, verbose: bool = False, **kwargs: Any
    ) -> None:
        """Train on the batches of an ART data generator, one pass over them an epoch; see `fit`."""
        _check_can_train(self, nb_epochs)
        if not isinstance(generator, DataGenerator):
            raise TypeError(
                f"generator must be one of art.data_generators, got {type(generator).__name__}; "
                "a DataLoader goes into PyTorchDataGenerator(loader, size, batch_size)"
            )

        def batches() -> Batches:
            if isinstance(generator, PyTorchDataGenerator):
                return (_prepared(self, x, y) for x, y in generator.iterator)
            steps = range(generator.size // generator.batch_size)
            return (_prepared(self, *generator.get_batch()) for _ in steps)

        _train(self, batches, nb_epochs, True, None, verbose)


def _check_can_train(classifier: PyTorchClassifier, nb_epochs: int) -> None:
    check_count("nb_epochs", nb_epochs)
    if classifier.optimizer is None:
        raise ValueError("fit needs an optimizer; give PyTorchSNNClassifier(..., optimizer=torch.optim.Adam(...))")


def _prepared(classifier: PyTorchClassifier, x: Array, y: Labels) -> tuple[Tensor, Tensor]:
    """Return what the preprocessing defences make of inputs, and labels as the loss wants them, on the CPU."""
    checked = to_numpy(classifier._check_input(x))
    inputs, rows = classifier._apply_preprocessing(checked, y, fit=True)
    return torch.tensor(inputs, dtype=torch.float32), torch.from_numpy(np.asarray(classifier.reduce_labels(rows)))


@torch.inference_mode(False)
def _train(
    classifier: PyTorchClassifier,
    batches: Callable[[], Batches],
    nb_epochs: int,
    training_mode: bool,
    scheduler: Any,
    verbose: bool,
) -> None:
    """Train on the ``batches`` of every epoch."""
    model = classifier.model
    masks = not_finite(model) - dict(model.named_parameters()).keys()  # buffers may be -inf
    model.train(training_mode)
    try:
        with tqdm(range(nb_epochs), disable=not verbose, desc="Training", unit="epoch") as epochs:
            for epoch in epochs:
                loss, accuracy = _epoch(classifier, batches(), epoch)
                if not_finite(model) - masks:
                    raise diverged("weights", epoch, classifier.optimizer.param_groups[0]["lr"])
                epochs.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")
                if scheduler is not None:
                    scheduler.step()
    finally:
        model.eval()


def _epoch(classifier: PyTorchClassifier, batches: Batches, epoch: int) -> tuple[float, float]:
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
    if not seen:
        raise ValueError("the generator gave no batch to train on")
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
