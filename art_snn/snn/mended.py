"""Functions of torch whose gradients are mended while a rule's graph is built."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from art_snn.snn.norms import NORMS, with_laid_out_gradient

# p-norms over windows, the mean over the same, the number of dimensions. For p = 1 (sinabs's SumPool2d), torch takes
# the gradient for 0 where the sum is 0, that is where no neuron of a window fires.
_POOLS: dict[Callable[..., Any], tuple[Callable[..., Tensor], int]] = {
    functional.lp_pool1d: (functional.avg_pool1d, 1),
    functional.lp_pool2d: (functional.avg_pool2d, 2),
    functional.lp_pool3d: (functional.avg_pool3d, 3),
}


class MendedGradients(TorchFunctionMode):
    """Give norms, and sums over windows, that run inside the block, in whichever module, the gradient that they have.

    Only this thread is affected, and nothing is changed on a network.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch."""
        out = _as_sum(func)(*args, **(kwargs or {}))
        return with_laid_out_gradient(out) if func in NORMS else out


def _as_sum(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return what computes a p-norm over windows as the sum that it is for p = 1; any other function as it is."""
    return _sum_or_norm(func, *_POOLS[func]) if func in _POOLS else func


def _sum_or_norm(norm: Callable[..., Any], mean: Callable[..., Tensor], dims: int) -> Callable[..., Any]:
    def call(
        input: Any,  # noqa: A002  (torch's name)
        norm_type: float,
        kernel_size: Any,
        stride: Any = None,
        ceil_mode: bool = False,
    ) -> Any:
        if norm_type != 1:
            return norm(input, norm_type, kernel_size, stride, ceil_mode)
        size = kernel_size**dims if isinstance(kernel_size, int) else math.prod(kernel_size)
        return mean(input, kernel_size, stride, 0, ceil_mode) * size

    return call
