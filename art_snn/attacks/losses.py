"""What attacks make large, from logits (N, K) and classes (N,) to losses (N,)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each sample (N,), float64: in float32 a sure prediction has no gradient."""
    return functional.cross_entropy(logits.double(), labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``z_y - max_{k != y} z_k`` (N,), negative where the class is another; equal rivals share the gradient."""
    index = labels.unsqueeze(1)
    rivals = logits.scatter(1, index, -torch.inf).amax(1)
    return logits.gather(1, index).squeeze(1) - rivals


def margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the margin, negative (Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", 2017)."""
    return -margin(logits, labels)


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "margin": margin_loss}
