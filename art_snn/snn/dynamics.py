"""The equation of integrate-and-fire neurons: charge, fire, reset, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

Reset: TypeAlias = Literal["hard", "soft", "late hard", "late soft", "none"]
RESETS: tuple[Reset, ...] = ("hard", "soft")  # that LIF and IF have
Scalar: TypeAlias = float | Tensor


class NeuronParams(NamedTuple):
    """Parameters of one layer of the affine integrate-and-fire family.

    With input current ``x(t)``, the layer computes::

        i(t) = alpha * i(t-1) + x(t)                          i(0) = 0
        m(t) = decay * v(t-1) + c * i(t) + d                  v(0) = v0
        s(t) = 1 if m(t) >= threshold else 0
        v(t) = v_reset where s(t) = 1, else m(t)              reset = "hard"
        v(t) = m(t) - rho * s(t)                              reset = "soft"

    Neurons of other libraries add to this. A late reset comes with the next step, so that ``v(t) = m(t)``: with
    ``"late soft"`` a spike takes ``rho`` off after the decay, ``m(t) = decay * v(t-1) + c * i(t) + d - rho * s(t-1)``,
    and with ``"late hard"`` ``v_reset`` stands for ``v(t-1)`` where ``s(t-1) = 1``. With ``"none"`` there is no reset.
    ``strict`` neurons fire above the threshold only, not at it. Those of ``several`` spikes give one for each threshold
    that the potential holds, ``s(t) = floor(m(t) / threshold)``; a hard reset takes them as one. And ``floor`` is the
    smallest ``v(t)``.

    The defaults give the neuron of the SNN attack literature (IF for ``decay=1``, LIF below). Every number may be a
    tensor that broadcasts against ``(N, *F)``.

    Attributes:
        decay: Membrane retention lambda, in (0, 1].
        threshold: Firing threshold theta, > 0.
        reset: What a spike does to the membrane potential.
        alpha: Retention of the synaptic current, in [0, 1).
        c: Weight of the synaptic current.
        d: Constant drive in every step.
        v_reset: Potential after a hard reset.
        v0: Initial potential.
        rho: Potential a soft reset takes off; None means ``threshold``.
        strict: Whether a potential at the threshold does not fire.
        several: Whether a step may give several spikes.
        floor: Smallest potential after a step; None for none.
    """

    decay: Scalar = 1.0
    threshold: Scalar = 1.0
    reset: Reset = "hard"
    alpha: Scalar = 0.0
    c: Scalar = 1.0
    d: Scalar = 0.0
    v_reset: Scalar = 0.0
    v0: Scalar = 0.0
    rho: Scalar | None = None
    strict: bool = False
    several: bool = False
    floor: Scalar | None = None


class NeuronState(NamedTuple):
    """What a layer carries from one step to the next.

    Attributes:
        potential: Membrane potential after reset, ``v(t)``; a number before the first step.
        synapse: Synaptic current ``i(t)``; None where the neuron has no synaptic memory.
    """

    potential: Scalar
    synapse: Tensor | None


def is_plain(params: NeuronParams) -> bool:
    """Say whether nothing but decay, threshold and kind of reset is set, and these are numbers."""
    plain = NeuronParams(decay=params.decay, threshold=params.threshold, reset=params.reset)
    return params.reset in RESETS and not any(isinstance(value, Tensor) for value in params) and params == plain


def has_synapse(params: NeuronParams) -> bool:
    """Say whether the neurons have a synaptic current, a state beside the potential."""
    return not _equals(params.alpha, 0.0)


def charge(current: Tensor, state: NeuronState, params: NeuronParams) -> tuple[Tensor, Tensor | None]:
    """Compute the potential before firing, ``m(t) = decay * v(t-1) + c * i(t) + d``, from ``x(t)`` (N, *F).

    Returned with it is the synaptic current ``i(t)``, None without synaptic memory.
    """
    synapse = None
    if has_synapse(params):
        synapse = current if state.synapse is None else params.alpha * state.synapse + current
    added = drive(current if synapse is None else synapse, params)
    if _equals(state.potential, 0.0):
        return added, synapse
    if isinstance(params.decay, Tensor) or not isinstance(state.potential, Tensor):
        return added + params.decay * state.potential, synapse
    return torch.add(added, state.potential, alpha=params.decay), synapse


def drive(synapse: Tensor, params: NeuronParams) -> Tensor:
    """Compute what a step adds to the potential, ``c * i + d``, for a synaptic current ``i`` (N, *F), or its mean."""
    weighed = synapse if _equals(params.c, 1.0) else params.c * synapse
    return weighed if _equals(params.d, 0.0) else weighed + params.d


def steady_drive(current: Tensor, params: NeuronParams) -> Tensor:
    """Compute the drive ``c * x / (1 - alpha) + d`` that a constant current ``x`` (N, *F) comes to in the long run."""
    return drive(current / (1 - params.alpha) if has_synapse(params) else current, params)


def in_thresholds(potential: Tensor, params: NeuronParams) -> Tensor:
    """Return a potential (N, *F) in units of the threshold; it is the same tensor where the threshold is 1."""
    return potential if _equals(params.threshold, 1.0) else potential / params.threshold


def input_weight(params: NeuronParams) -> Scalar:
    """Return what one unit of input current adds to the potential, in units of the threshold: ``c / threshold``."""
    return params.c / params.threshold


def reset(membrane: Tensor, spikes: Tensor, params: NeuronParams) -> Tensor:
    """Compute the potential after firing, ``v(t)``, differentiably in both ``m(t)`` and ``s(t)``, shape (N, *F)."""
    if params.reset == "soft":
        left = membrane - _taken(params) * spikes
    elif params.reset == "hard":
        once = spikes.where(spikes <= 1, 1.0) if params.several else spikes
        kept = membrane * (1 - once)
        left = kept if _equals(params.v_reset, 0.0) else kept + params.v_reset * once
    else:
        left = membrane
    return left if params.floor is None else torch.clamp(left, min=params.floor)


def charge_late(
    current: Tensor, state: NeuronState, params: NeuronParams, fire: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Do as `charge`, and what a spike in the step before left to a late reset, for which ``fire`` gives it again."""
    before = state.potential
    if params.reset not in ("late hard", "late soft") or not isinstance(before, Tensor):
        return charge(current, state, params)
    spikes = fire(before - params.threshold)
    if params.reset == "late hard":
        kept = before * (1 - spikes) + params.v_reset * spikes
        return charge(current, NeuronState(kept, state.synapse), params)
    membrane, synapse = charge(current, state, params)
    return membrane - _taken(params) * spikes, synapse


def _taken(params: NeuronParams) -> Scalar:
    return params.threshold if params.rho is None else params.rho


def fired(distance: Tensor, params: NeuronParams) -> Tensor:
    """Return the number of spikes at the distances ``m - threshold``, (N, *F) as they are and of their dtype."""
    spikes = (distance > 0 if params.strict else distance >= 0).to(distance.dtype)
    if not params.several:
        return spikes
    return spikes * torch.floor(in_thresholds(distance + params.threshold, params))  # of m, as libraries round it


def slope_at(slope: Callable[[Tensor], Tensor], distance: Tensor, params: NeuronParams) -> Tensor:
    """Return a rule's slope, which counts in thresholds, at the distances ``m - threshold``, (N, *F).

    Neurons that give several spikes have one of these slopes at each multiple of the threshold up to three above the
    potential, which is all of them for slopes that are 0 three thresholds away.
    """
    u = in_thresholds(distance, params)
    total = slope(u)
    if params.several and u.numel():
        for k in range(1, int(u.detach().amax().clamp(min=0.0)) + 4):
            total = total + slope(u - k) * (u - k >= -3)  # whatever potentials other samples have
    return total


def reset_plain(membrane: Tensor, spikes: Tensor, params: NeuronParams, out: Tensor | None) -> Tensor:
    """Compute `reset` for a plain neuron, without a graph and into the memory ``out``, if there is some."""
    if params.reset == "soft":
        return torch.sub(membrane, spikes, alpha=float(params.threshold), out=out)
    return torch.addcmul(membrane, membrane, spikes, value=-1, out=out)


def integrate(
    current_seq: Tensor, params: NeuronParams, fire: Callable[[Tensor], Tensor], *, detach_reset: bool = False
) -> Tensor:
    """Step a layer of neurons through currents (T, N, *F), and return its spikes.

    ``fire`` makes spikes of the membrane distance ``m - threshold``; where it is differentiable, so is the sequence.
    With ``detach_reset`` no gradient flows through the reset.

    Example:
        >>> p = NeuronParams(decay=0.5)
        >>> integrate(torch.full((4, 1, 1), 0.75), p, lambda u: (u >= 0).to(u.dtype)).flatten()
        tensor([0., 1., 0., 1.])
    """
    return integrate_from(NeuronState(params.v0, None), current_seq, params, fire, detach_reset=detach_reset)[0]


def integrate_from(
    state: NeuronState,
    current_seq: Tensor,
    params: NeuronParams,
    fire: Callable[[Tensor], Tensor],
    *,
    late: Callable[[Tensor], Tensor] | None = None,
    detach_reset: bool = False,
) -> tuple[Tensor, NeuronState]:
    """Do as `integrate` from a state on; return the spikes (T, N, *F) and the state after them.

    ``late`` gives the spikes of the step before again, for late resets; None takes ``fire`` for it.
    """
    spikes_seq = []

    def again(distance: Tensor) -> Tensor:
        return fire(distance).detach() if detach_reset else fire(distance)

    for current in current_seq:
        membrane, synapse = charge_late(current, state, params, late or again)
        spikes = fire(membrane - params.threshold)
        spikes_seq.append(spikes)
        state = NeuronState(reset(membrane, spikes.detach() if detach_reset else spikes, params), synapse)
    return torch.stack(spikes_seq), state


def empty_sequence(current_seq: Tensor) -> Tensor:
    """Return memory for a sequence (T, N, *F) whose steps lie in memory as those of ``current_seq`` do."""
    if current_seq.ndim != 5 or current_seq[0].is_contiguous():
        return torch.empty(current_seq.shape, dtype=current_seq.dtype, device=current_seq.device)
    _, samples, channels, height, width = current_seq.shape
    row = height * width * channels
    strides = (samples * row, row, 1, width * channels, channels)  # channels last
    return torch.empty_strided(current_seq.shape, strides, dtype=current_seq.dtype, device=current_seq.device)


def _equals(value: Scalar, number: float) -> bool:
    return not isinstance(value, Tensor) and value == number
