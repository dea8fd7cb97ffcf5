"""What a graph is of: a value with another's graph, the leaves that take part, memory that layers may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
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


def leaves(network: nn.Module) -> list[Tensor]:
    """Return a network's parameters and buffers that require grad."""
    return [t for t in (*network.parameters(), *network.buffers()) if t.requires_grad]


def fresh(x_seq: Tensor) -> Tensor:
    """Return a sequence in memory of its own, which layers may change in place; a repeated step is repeated still."""
    return x_seq[:1].clone().expand_as(x_seq) if len(x_seq) > 1 and x_seq.stride(0) == 0 else x_seq.clone()


class InputsOnly(TorchFunctionMode):
    """Keep parameters, and all else that has no graph of its own, out of the graph that is built inside the block.

    Every function of torch gets them detached; an `autograd.Function` of a user's own, or a scripted module, does not.
    Only this thread is affected, and nothing is changed on a network. Layers keep less for the backward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: set[int] = set()

    def keep(self, leaf: Tensor) -> Tensor:
        """Return a leaf, such as the input, that stays in the graph; it has to outlive the block."""
        self._kept.add(id(leaf))
        return leaf

    def keeps(self, value: Any) -> bool:
        """Say whether a value is a leaf that stays in the graph."""
        return id(value) in self._kept

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch with leaves that are detached."""
        named = {name: self._detached(value) for name, value in (kwargs or {}).items()}
        return func(*(self._detached(value) for value in args), **named)

    def _detached(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            left_out = value.is_leaf and value.requires_grad and id(value) not in self._kept
            return value.detach() if left_out else value
        return type(value)(map(self._detached, value)) if type(value) in (list, tuple) else value
