"""A plain layer of neurons over a sequence as one node of the graph (back-propagation through time)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from art_snn.snn.dynamics import (
    NeuronParams,
    NeuronState,
    empty_sequence,
    fired,
    integrate_from,
    is_plain,
    reset_plain,
)
from art_snn.snn.fused import go_back, run_steps, takes
from art_snn.snn.surrogates import UNKNOWN, Triangle, refuse_surrogate, spike, triangle_


class InOrder:
    """A slope that is called when the spikes are made, once in each step and the first step first."""

    def __init__(self, slope: Callable[[Tensor], Tensor]) -> None:
        self.slope = slope


def fire_through_time(
    current_seq: Tensor, params: NeuronParams, slope: Callable[[Tensor], Tensor], *, detach_reset: bool = False
) -> Tensor:
    """Step a layer through currents (T, N, *F) to spikes: `integrate` with `spike`, differentiable twice.

    For plain LIF and IF neurons it is one node of the graph, with fewer passes over memory.
    """
    return fire_from(NeuronState(params.v0, None), current_seq, params, slope, detach_reset=detach_reset)[0]


def fire_from(
    state: NeuronState,
    current_seq: Tensor,
    params: NeuronParams,
    slope: Callable[[Tensor], Tensor] | InOrder,
    *,
    detach_reset: bool = False,
) -> tuple[Tensor, NeuronState]:
    """Do as `fire_through_time` from a state on; return the spikes (T, N, *F) and the state after them.

    Second derivatives take slopes that are `InOrder` for constants.
    """
    refuse_surrogate("a spike function in the network", UNKNOWN)
    if is_plain(params):
        start = state.potential if isinstance(state.potential, Tensor) else None
        spikes_seq, potential = _FireThroughTime.apply(current_seq, start, params, slope, detach_reset)
        return spikes_seq, NeuronState(potential, None)

    def fire(distance: Tensor) -> Tensor:
        own = _constant(slope.slope(distance.detach())) if isinstance(slope, InOrder) else slope
        return spike(distance, own, lambda u: fired(u, params))

    late = partial(fired, params=params) if isinstance(slope, InOrder) else None
    return integrate_from(state, current_seq, params, fire, late=late, detach_reset=detach_reset)


def _constant(slopes: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: slopes


class _FireThroughTime(torch.autograd.Function):
    r"""The plain neuron over a sequence, from a potential on; returns the spikes and the potential after them.

    Backward goes from the last step to the first; with :math:`v' = dL/dv(t)` and :math:`s' = dL/ds(t)`:

    .. math::
        \frac{dL}{dm(t)} = v' (1 - s(t)) + (s' - v' m(t)) h(m(t) - \theta) \text{ (hard)}, \quad
        v' + (s' - \theta v') h(m(t) - \theta) \text{ (soft)}, \quad
        \frac{dL}{dv(t-1)} = \lambda \frac{dL}{dm(t)}
    """

    @staticmethod
    def forward(
        ctx: Any,
        current_seq: Tensor,
        start: Tensor | None,
        params: NeuronParams,
        slope: Callable[[Tensor], Tensor] | InOrder,
        detach_reset: bool,
    ) -> tuple[Tensor, Tensor]:
        spikes_seq, membrane_seq = empty_sequence(current_seq), empty_sequence(current_seq)
        potential: Any = None if start is None else start.clone()
        fused = takes(params, current_seq, spikes_seq, potential)
        if fused:
            potential = run_steps(current_seq, spikes_seq, potential, params, membrane_seq=membrane_seq)
        for current, membrane, spikes in () if fused else zip(current_seq, membrane_seq, spikes_seq, strict=True):
            if potential is None:
                membrane.copy_(current)
            else:
                torch.add(current, potential, alpha=float(params.decay), out=membrane)
            torch.ge(membrane, float(params.threshold), out=spikes)
            potential = reset_plain(membrane, spikes, params, out=potential)
        ctx.set_materialize_grads(False)
        slope_seq = _slopes(slope.slope, membrane_seq, params) if isinstance(slope, InOrder) else None
        ctx.save_for_backward(current_seq, membrane_seq, start, slope_seq)
        ctx.params, ctx.slope, ctx.detach_reset = params, slope, detach_reset
        return spikes_seq, potential

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        current_seq, membrane_seq, start, slope_seq = ctx.saved_tensors
        grad_spikes, carry = grads  # and dL/dv(t), times weight
        if torch.is_grad_enabled():  # a second derivative is asked for
            state = NeuronState(0.0 if start is None else start, None)
            given = iter(slope_seq if slope_seq is not None else ())

            def fire(distance: Tensor) -> Tensor:
                return spike(distance, ctx.slope if slope_seq is None else _constant(next(given)))

            again, end = integrate_from(state, current_seq, ctx.params, fire, detach_reset=ctx.detach_reset)
            ends: tuple[Any, Any] = (again, end.potential)
            pairs = [(o, g) for o, g in zip(ends, grads, strict=True) if g is not None]
            inputs = [current_seq] if start is None or not start.requires_grad else [current_seq, start]
            found = torch.autograd.grad(
                [o for o, _ in pairs], inputs, [g for _, g in pairs], create_graph=True, allow_unused=True
            )
            return found[0], found[1] if len(found) > 1 else None, None, None, None
        grad_spikes = torch.zeros_like(membrane_seq) if grad_spikes is None else grad_spikes
        grad_seq = empty_sequence(membrane_seq)
        if takes(ctx.params, membrane_seq, grad_seq, grad_spikes, carry):
            before = _go_back_fused(ctx, grad_seq, grad_spikes, membrane_seq, slope_seq, carry)
            return grad_seq, None if start is None else before, None, None, None
        decay, threshold, weight = float(ctx.params.decay), float(ctx.params.threshold), 1.0
        hard = ctx.params.reset == "hard"
        for t in reversed(range(len(membrane_seq))):
            membrane, grad = membrane_seq[t], grad_seq[t]
            distance = membrane - threshold
            if slope_seq is not None:
                slopes = slope_seq[t]
            else:
                in_place = isinstance(ctx.slope, Triangle)
                slopes = triangle_(distance, ctx.slope.width) if in_place else ctx.slope(distance)
            if carry is None or ctx.detach_reset:
                torch.mul(grad_spikes[t], slopes, out=grad)
            elif hard:
                torch.addcmul(grad_spikes[t], carry, membrane, value=-weight, out=grad).mul_(slopes)
            else:
                torch.sub(grad_spikes[t], carry, alpha=weight * threshold, out=grad).mul_(slopes)
            if carry is not None and hard:
                grad.addcmul_(carry, torch.lt(membrane, threshold, out=distance), value=weight)
            elif carry is not None:
                grad.add_(carry, alpha=weight)
            carry, weight = grad, decay
        return grad_seq, None if start is None else decay * carry, None, None, None


def _slopes(slope: Callable[[Tensor], Tensor], membrane_seq: Tensor, params: NeuronParams) -> Tensor:
    """Return the slopes at the potentials (T, N, *F), from the first step on."""
    slope_seq = empty_sequence(membrane_seq)
    for membrane, slopes in zip(membrane_seq, slope_seq, strict=True):
        slopes.copy_(slope(membrane - float(params.threshold)))
    return slope_seq


def _go_back_fused(
    ctx: Any,
    grad_seq: Tensor,
    grad_spikes: Tensor,
    membrane_seq: Tensor,
    slope_seq: Tensor | None,
    carry: Tensor | None,
) -> Tensor:
    """Write the gradient of the currents in one kernel; return that of the potential before the first step."""
    width = 1.0
    if isinstance(ctx.slope, Triangle):
        width = ctx.slope.width
    elif slope_seq is None:
        slope_seq = _slopes(ctx.slope, membrane_seq, ctx.params)
    options = {"width": width, "detach_reset": ctx.detach_reset}
    return go_back(grad_seq, grad_spikes, membrane_seq, slope_seq, carry, ctx.params, **options)
