"""Surrogate-gradient training: back-propagation through time with the neurons' own slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm


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
        ValueError: The loss became NaN or inf.
    """
    with tqdm(range(nb_epochs), disable=not verbose, desc="Training", unit="epoch") as epochs:
        for _ in epochs:
            order = torch.randperm(len(inputs))
            last = len(order) - len(order) % batch_size if drop_last else len(order)
            total, correct, seen = 0.0, 0, 0
            for index in order[:last].split(batch_size):
                batch, target = inputs[index].to(device), labels[index].to(device)
                value, hits = _step(model, loss, optimizer, batch, target)
                total, correct, seen = total + value * len(index), correct + hits, seen + len(index)
            if seen:
                epochs.set_postfix(loss=f"{total / seen:.3f}", accuracy=f"{correct / seen:.1%}")
            if scheduler is not None:
                scheduler.step()


def _step(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    target: Tensor,
) -> tuple[float, int]:
    """Take one step; return the batch's mean loss and number of hits."""
    optimizer.zero_grad()
    logits = model(batch)
    value = loss(logits, target).mean()
    if not torch.isfinite(value):
        raise ValueError("the training loss became NaN or inf; lower the learning rate")
    value.backward()
    optimizer.step()
    classes = target if target.ndim == 1 else target.argmax(1)
    return value.item(), int((logits.argmax(1) == classes).sum())
