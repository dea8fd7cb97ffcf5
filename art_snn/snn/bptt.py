"""A plain layer of neurons over a sequence as one node of the graph (back-propagation through time)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from art_snn.snn.dynamics import NeuronParams, empty_sequence, integrate, is_plain, reset_plain
from art_snn.snn.surrogates import Triangle, spike, triangle_


def fire_through_time(
    current_seq: Tensor, params: NeuronParams, slope: Callable[[Tensor], Tensor], *, detach_reset: bool = False
) -> Tensor:
    """Step a layer through currents (T, N, *F) to spikes: `integrate` with `spike`, differentiable twice.

    For plain LIF and IF neurons it is one node of the graph, with fewer passes over memory.
    """
    if is_plain(params):
        return _FireThroughTime.apply(current_seq, params, slope, detach_reset)
    return integrate(current_seq, params, lambda distance: spike(distance, slope), detach_reset=detach_reset)


class _FireThroughTime(torch.autograd.Function):
    r"""The plain neuron over a sequence.

    Backward goes from the last step to the first; with :math:`v' = dL/dv(t)` and :math:`s' = dL/ds(t)`:

    .. math::
        \frac{dL}{dm(t)} = v' (1 - s(t)) + (s' - v' m(t)) h(m(t) - \theta) \text{ (hard)}, \quad
        v' + (s' - \theta v') h(m(t) - \theta) \text{ (soft)}, \quad
        \frac{dL}{dv(t-1)} = \lambda \frac{dL}{dm(t)}
    """

    @staticmethod
    def forward(
        ctx: Any, current_seq: Tensor, params: NeuronParams, slope: Callable[[Tensor], Tensor], detach_reset: bool
    ) -> Tensor:
        spikes_seq, membrane_seq = empty_sequence(current_seq), empty_sequence(current_seq)
        potential: Tensor | None = None
        for current, membrane, spikes in zip(current_seq, membrane_seq, spikes_seq, strict=True):
            if potential is None:
                membrane.copy_(current)
            else:
                torch.add(current, potential, alpha=float(params.decay), out=membrane)
            torch.ge(membrane, float(params.threshold), out=spikes)
            potential = reset_plain(membrane, spikes, params, out=potential)
        ctx.save_for_backward(current_seq, membrane_seq)
        ctx.params, ctx.slope, ctx.detach_reset = params, slope, detach_reset
        return spikes_seq

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        current_seq, membrane_seq = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is asked for
            again = integrate(
                current_seq, ctx.params, lambda distance: spike(distance, ctx.slope), detach_reset=ctx.detach_reset
            )
            return *torch.autograd.grad(again, current_seq, grads[0], create_graph=True), None, None, None
        decay, threshold = float(ctx.params.decay), float(ctx.params.threshold)
        hard = ctx.params.reset == "hard"
        grad_seq = empty_sequence(membrane_seq)
        later: Tensor | None = None  # dL/dm(t + 1)
        for t in reversed(range(len(membrane_seq))):
            membrane, grad = membrane_seq[t], grad_seq[t]
            distance = membrane - threshold
            in_place = isinstance(ctx.slope, Triangle)
            slopes = triangle_(distance, ctx.slope.width) if in_place else ctx.slope(distance)
            if later is None or ctx.detach_reset:
                torch.mul(grads[0][t], slopes, out=grad)
            elif hard:
                torch.addcmul(grads[0][t], later, membrane, value=-decay, out=grad).mul_(slopes)
            else:
                torch.sub(grads[0][t], later, alpha=decay * threshold, out=grad).mul_(slopes)
            if later is not None and hard:
                grad.addcmul_(later, torch.lt(membrane, threshold, out=distance), value=decay)
            elif later is not None:
                grad.add_(later, alpha=decay)
            later = grad
        return grad_seq, None, None, None
