"""Integrate-and-fire neurons: pure step functions, and thin modules that run them over a sequence.

The modules keep no state and do not know T: they read it off the sequence, and a forward pass leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from art_snn.surrogates import Triangle, check_decay, check_positive, spike, triangle_
from art_snn.types import NeuronParams, Reset, Scalar


class NeuronState(NamedTuple):
    """What a layer carries from one step to the next.

    Attributes:
        potential: Membrane potential after reset, ``v(t)``; a number before the first step.
        synapse: Synaptic current ``i(t)``; None where the neuron has no synaptic memory.
    """

    potential: Scalar
    synapse: Tensor | None


def initial_state(params: NeuronParams) -> NeuronState:
    """Return the state before the first step."""
    return NeuronState(params.v0, None)


def charge(
    current: Tensor, state: NeuronState, params: NeuronParams, *, out: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Compute the potential before firing, ``m(t) = decay * v(t-1) + c * i(t) + d``.

    Args:
        current: Input current ``x(t)``, shape (N, *F).
        state: State after the step before.
        params: The neuron.
        out: Memory to write ``m(t)`` to where that saves a copy; without a graph only.

    Returns:
        ``m(t)`` (N, *F), and the synaptic current ``i(t)`` (None without synaptic memory).
    """
    synapse = None
    drive = current
    if not _is(params.alpha, 0.0):
        drive = synapse = current if state.synapse is None else params.alpha * state.synapse + current
    if not _is(params.c, 1.0):
        drive = params.c * drive
    if not _is(params.d, 0.0):
        drive = drive + params.d
    if _is(state.potential, 0.0):
        return drive, synapse
    if isinstance(params.decay, Tensor) or not isinstance(state.potential, Tensor):
        return drive + params.decay * state.potential, synapse
    return torch.add(drive, state.potential, alpha=params.decay, out=out), synapse


def reset(membrane: Tensor, spikes: Tensor, params: NeuronParams) -> Tensor:
    """Compute the potential after firing, ``v(t)``, differentiably in both ``membrane`` and ``spikes``.

    Args:
        membrane: ``m(t)``, shape (N, *F).
        spikes: ``s(t)``, 0 or 1, same shape.
        params: The neuron.
    """
    if params.reset == "soft":
        return membrane - (params.threshold if params.rho is None else params.rho) * spikes
    kept = membrane * (1 - spikes)
    return kept if _is(params.v_reset, 0.0) else kept + params.v_reset * spikes


def integrate(
    current_seq: Tensor,
    params: NeuronParams,
    fire: Callable[[Tensor], Tensor],
    *,
    detach_reset: bool = False,
) -> Tensor:
    """Step a layer of neurons through a sequence.

    Args:
        current_seq: Input currents, shape (T, N, *F).
        params: The neuron.
        fire: Membrane distance ``m - threshold`` to spikes; where it is differentiable, so is the sequence.
        detach_reset: Keep the gradient from flowing through the reset.

    Returns:
        Spikes ``s(t)``, shape (T, N, *F).

    Example:
        >>> p = NeuronParams(decay=0.5)
        >>> integrate(torch.full((4, 1, 1), 0.75), p, lambda u: (u >= 0).to(u.dtype)).flatten()
        tensor([0., 1., 0., 1.])
    """
    state = initial_state(params)
    spikes_seq = []
    for current in current_seq:
        membrane, synapse = charge(current, state, params)
        spikes = fire(membrane - params.threshold)
        spikes_seq.append(spikes)
        state = NeuronState(reset(membrane, spikes.detach() if detach_reset else spikes, params), synapse)
    return torch.stack(spikes_seq)


def empty_sequence(current_seq: Tensor) -> Tensor:
    """Return memory for a sequence (T, N, *F) whose steps lie in memory as those of ``current_seq`` do."""
    if current_seq.ndim != 5 or current_seq[0].is_contiguous():
        return torch.empty(current_seq.shape, dtype=current_seq.dtype, device=current_seq.device)
    _, samples, channels, height, width = current_seq.shape
    row = height * width * channels
    strides = (samples * row, row, 1, width * channels, channels)  # channels last
    return torch.empty_strided(current_seq.shape, strides, dtype=current_seq.dtype, device=current_seq.device)


def fire_through_time(
    current_seq: Tensor, params: NeuronParams, slope: Callable[[Tensor], Tensor], *, detach_reset: bool = False
) -> Tensor:
    """Step a layer of neurons through a sequence, and differentiate it by back-propagation through time.

    This is `integrate` with `art_snn.surrogates.spike`; for the plain LIF and IF neurons it is one node of the graph,
    with fewer passes over memory.

    Args:
        current_seq: Input currents, shape (T, N, *F).
        params: The neuron.
        slope: Surrogate slope: membrane distance ``m - threshold`` to ``ds/dm``, same shape.
        detach_reset: Keep the gradient from flowing through the reset.

    Returns:
        Spikes ``s(t)``, shape (T, N, *F); differentiable twice.
    """
    if _is_plain(params):
        return _FireThroughTime.apply(current_seq, params, slope, detach_reset)
    return integrate(current_seq, params, lambda distance: spike(distance, slope), detach_reset=detach_reset)


def _is_plain(params: NeuronParams) -> bool:
    """Say whether nothing but decay, threshold and kind of reset is set, and these are numbers."""
    plain = NeuronParams(decay=params.decay, threshold=params.threshold, reset=params.reset)
    return not any(isinstance(value, Tensor) for value in params) and params == plain


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
        decay, threshold = float(params.decay), float(params.threshold)
        potential: Tensor | None = None
        for current, membrane, spikes in zip(current_seq, membrane_seq, spikes_seq, strict=True):
            if potential is None:
                membrane.copy_(current)
                potential = torch.empty_like(membrane)
            else:
                torch.add(current, potential, alpha=decay, out=membrane)
            torch.ge(membrane, threshold, out=spikes)
            if params.reset == "hard":
                torch.addcmul(membrane, membrane, spikes, value=-1, out=potential)
            else:
                torch.sub(membrane, spikes, alpha=threshold, out=potential)
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
            slopes = _slopes(ctx.slope, distance)
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


def _slopes(slope: Callable[[Tensor], Tensor], distance: Tensor) -> Tensor:
    """Return the slopes, in the memory of ``distance`` where that is known to be right."""
    return triangle_(distance, slope.width) if isinstance(slope, Triangle) else slope(distance)


class LIF(nn.Module):
    r"""Leaky integrate-and-fire neurons, in training differentiated with a surrogate slope (BPTT).

    .. math::
        m(t) = \lambda v(t-1) + I(t), \quad s(t) = [m(t) \ge \theta], \quad
        v(t) = m(t) (1 - s(t)) \text{ (hard)} \;\text{ or }\; m(t) - \theta s(t) \text{ (soft)}

    Args:
        decay: Membrane retention lambda, in (0, 1]; 1 is IF.
        threshold: Firing threshold theta, > 0.
        reset: "hard" (to 0) or "soft" (by the threshold).
        surrogate: Slope for training: membrane distance to slope, same shape. An attack's gradient rule brings its own.
        detach_reset: In training, keep the gradient from flowing through the reset.

    Example:
        >>> LIF(decay=0.5)(torch.full((4, 1, 1), 0.75)).flatten()
        tensor([0., 1., 0., 1.])
    """

    def __init__(
        self,
        *,
        decay: float = 0.5,
        threshold: float = 1.0,
        reset: Reset = "hard",
        surrogate: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
    ) -> None:
        super().__init__()
        check_decay(decay)
        check_positive("threshold", threshold)
        if reset not in ("hard", "soft"):
            raise ValueError(f"reset must be 'hard' or 'soft', got {reset!r}")
        self.params = NeuronParams(decay=float(decay), threshold=float(threshold), reset=reset)
        self.surrogate = Triangle() if surrogate is None else surrogate
        self.detach_reset = detach_reset

    def forward(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T, N, *F) that the currents (T, N, *F) give."""
        if current_seq.ndim < 2 or current_seq.shape[0] == 0:
            raise ValueError(f"a neuron takes a sequence (T, N, ...) with T >= 1, got shape {tuple(current_seq.shape)}")
        return fire_through_time(current_seq, self.params, self.surrogate, detach_reset=self.detach_reset)

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        p = self.params
        return f"decay={p.decay}, threshold={p.threshold}, reset={p.reset!r}"


class IF(LIF):
    """Integrate-and-fire neurons without leak: `LIF` with ``decay=1``.

    Args:
        threshold: Firing threshold theta, > 0.
        reset: "hard" (to 0) or "soft" (by the threshold).
        surrogate: Slope for training.
        detach_reset: In training, keep the gradient from flowing through the reset.
    """

    def __init__(
        self,
        *,
        threshold: float = 1.0,
        reset: Reset = "hard",
        surrogate: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
    ) -> None:
        super().__init__(decay=1.0, threshold=threshold, reset=reset, surrogate=surrogate, detach_reset=detach_reset)


def _is(value: Scalar, number: float) -> bool:
    return not isinstance(value, Tensor) and value == number
