"""Surrogate-gradient training: back-propagation through time with the neurons' own slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from art_snn.errors import TrainingError


def train(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    nb_epochs: int,
    device: torch.device,
    drop_last: bool = False,
    scheduler: Any = None,
    verbose: bool = False,
) -> None:
    """Train a model in the mode that it is in; batches are drawn with torch's global generator.

    Args:
        model: From inputs to logits (N, K).
        loss: Of logits and labels.
        optimizer: Of the model's parameters.
        inputs: Inputs (N, ...); batches are moved to ``device``.
        labels: Labels (N,) or (N, K).
        batch_size: Samples a step.
        nb_epochs: Passes over the data.
        device: Where the model is.
        drop_last: Leave out the last batch of an epoch if it is smaller.
        scheduler: Learning-rate scheduler, stepped after every epoch.
        verbose: Show a progress bar with loss and accuracy.

    Raises:
        TrainingError: The loss, or a weight, became NaN or inf.
    """
    masks = not_finite(model) - {name for name, _ in model.named_parameters()}  # buffers may be -inf on purpose
    with tqdm(range(nb_epochs), disable=not verbose, desc="Training", unit="epoch") as epochs:
        for epoch in epochs:
            order = torch.randperm(len(inputs))
            last = len(order) - len(order) % batch_size if drop_last else len(order)
            total, correct, seen = 0.0, 0, 0
            for index in order[:last].split(batch_size):
                batch, target = inputs[index].to(device), labels[index].to(device)
                value, hits = _step(model, loss, optimizer, batch, target, epoch)
                total, correct, seen = total + value * len(index), correct + hits, seen + len(index)
            if not_finite(model) - masks:
                raise diverged("weights", epoch, optimizer.param_groups[0]["lr"])
            if seen:
                epochs.set_postfix(loss=f"{total / seen:.3f}", accuracy=f"{correct / seen:.1%}")
            if scheduler is not None:
                scheduler.step()


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


def _step(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    target: Tensor,
    epoch: int,
) -> tuple[float, int]:
    """Take one step; return the batch's mean loss and number of hits."""
    optimizer.zero_grad()
    logits = model(batch)
    value = loss(logits, target).mean()
    if not torch.isfinite(value):
        raise diverged("training loss", epoch, optimizer.param_groups[0]["lr"])
    value.backward()
    optimizer.step()
    classes = target if target.ndim == 1 else target.argmax(1)
    return value.item(), int((logits.argmax(1) == classes).sum())
