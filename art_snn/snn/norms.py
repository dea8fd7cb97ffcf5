"""Batch norm in evaluation mode, whose backward pass torch gets wrong for some layouts of one sample in memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Instance norm with running statistics is a batch norm of one row.
NORMS = (functional.batch_norm, torch.batch_norm, functional.instance_norm, torch.instance_norm)


def with_laid_out_gradient(out: Tensor) -> Tensor:
    """Let a norm's gradient come in with the strides that its output has."""
    # Where a dimension has size 1, elementwise operations choose its stride. From such a gradient torch's batch norm in
    # evaluation mode cannot tell whether channels come first or last (seen in 2.13 and 2.14, on the CPU, with one row).
    if out.requires_grad and 1 in out.shape:
        strides = out.stride()

        def lay_out(grad: Tensor) -> Tensor:
            if grad.stride() == strides:
                return grad
            return torch.empty_strided(grad.shape, strides, dtype=grad.dtype, device=grad.device).copy_(grad)

        out.register_hook(lay_out)
    return out
