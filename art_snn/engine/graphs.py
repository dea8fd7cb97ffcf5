"""What a graph is of: a value with another's graph, and graphs of the input alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class WithValue(torch.autograd.Function):
    """Return a value that is differentiated as another tensor, the graph, is."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, value: Tensor) -> Tensor:
        """Return ``value``."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Hand the gradient on to the graph."""
        return grads[0], None


class InputsOnly(TorchFunctionMode):
    """Keep parameters, and all else that has no graph of its own, out of the graph that is built inside the block.

    Only this thread is affected, and nothing is changed on a network. Layers keep less for the backward pass.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch with leaves that are detached."""
        named = {name: _detached(value) for name, value in (kwargs or {}).items()}
        return func(*(_detached(value) for value in args), **named)


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach() if value.is_leaf and value.requires_grad else value
    return type(value)(map(_detached, value)) if type(value) in (list, tuple) else value
