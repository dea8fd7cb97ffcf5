"""The steps of plain neurons on a GPU in one kernel each way, bit for bit as torch's own operations give them.

Where `takes` says no, `art_snn.engine.recording` and `art_snn.snn.bptt` step through time themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from art_snn.snn.dynamics import NeuronParams, is_plain

try:
    from art_snn.snn import kernels
except ImportError:  # torch comes without Triton for this system
    kernels = None  # type: ignore[assignment]

_BLOCK = 1024
_off = False


@contextmanager
def unfused() -> Iterator[None]:
    """Leave the kernels aside inside the block, to compare with them."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def takes(params: NeuronParams, current_seq: Tensor, *others: Tensor | None) -> bool:
    """Say whether the kernels take neurons with currents (T, N, *F) on a GPU.

    Args:
        params: The neurons' parameters.
        current_seq: Their currents, at least one step of float32.
        others: Sequences (T, N, *F) and steps (N, *F) that have to lie in memory as the currents do; None is left out.
    """
    if kernels is None or _off or not (is_plain(params) and current_seq.numel()):
        return False
    if not (current_seq.is_cuda or kernels.INTERPRETED):
        return False
    step = current_seq[0]
    dense = step.is_contiguous() or (step.ndim == 4 and step.is_contiguous(memory_format=torch.channels_last))
    steps = [step, *(other[0] if other.ndim > step.ndim else other for other in others if other is not None)]
    return dense and all(each.dtype == torch.float32 and each.stride() == step.stride() for each in steps)


def run_steps(
    current_seq: Tensor,
    spikes_seq: Tensor,
    potential: Tensor | None,
    params: NeuronParams,
    *,
    membrane_seq: Tensor | None = None,
    spike_sum: Tensor | None = None,
    current_sum: Tensor | None = None,
    first_row: int = 0,
    slope_sum: Tensor | None = None,
    width: float = 1.0,
) -> Tensor:
    """Step plain neurons through currents (T, N, *F), and write their spikes to ``spikes_seq`` (T, N, *F).

    Args:
        current_seq: The currents.
        spikes_seq: Memory for the spikes.
        potential: Potential before the first step (N, *F), which is overwritten; None for 0.
        params: The neurons' parameters.
        membrane_seq: Memory for the potentials before firing, (T, N, *F).
        spike_sum: What the spikes of some samples are added to, (R, *F).
        current_sum: What the currents of the same samples are added to, (R, *F).
        first_row: The first of these R samples.
        slope_sum: What the triangular slope of every step, in thresholds, is added to, (N, *F).
        width: The width of that slope, in thresholds.

    Returns:
        The potential after the last step, (N, *F).
    """
    started = potential is not None
    potential = torch.empty_like(current_seq[0]) if potential is None else potential
    size = potential.numel()
    row = size // len(potential)
    last_row = first_row + (0 if spike_sum is None else len(spike_sum))
    steps, threshold = len(current_seq), float(params.threshold)
    with torch.cuda.device_of(current_seq):
        kernels.forward[(-(-size // _BLOCK),)](
            *(current_seq, spikes_seq, potential, membrane_seq, spike_sum, current_sum, slope_sum),
            *(size, steps, current_seq.stride(0), spikes_seq.stride(0)),
            0 if membrane_seq is None else membrane_seq.stride(0),
            *(first_row * row, last_row * row, float(params.decay), threshold),
            *(_inverse(threshold), 1 / width, -1 / width**2, float(steps)),
            started=started,
            soft=params.reset == "soft",
            keep=membrane_seq is not None,
            add_up=spike_sum is not None,
            repeated=current_seq.stride(0) == 0,
            add_slopes=slope_sum is not None,
            unit=threshold == 1,
            block=_BLOCK,
        )
    return potential


@cache
def _inverse(threshold: float) -> float:
    """Return what torch multiplies float32 by to divide it by a number."""
    return float(torch.tensor(threshold, dtype=torch.float32).reciprocal())


def go_back(
    grad_seq: Tensor,
    grad_spikes: Tensor,
    membrane_seq: Tensor,
    slope_seq: Tensor | None,
    carry: Tensor | None,
    params: NeuronParams,
    *,
    width: float = 1.0,
    detach_reset: bool = False,
) -> Tensor:
    """Write the gradient of the currents to ``grad_seq`` (T, N, *F), from the last step to the first.

    Args:
        grad_seq: Memory for the gradient.
        grad_spikes: Gradient of the spikes, (T, N, *F).
        membrane_seq: The potentials before firing, (T, N, *F).
        slope_seq: The slopes at these, (T, N, *F); None for the triangular slope of ``width``, in potentials.
        carry: Gradient of the potential after the last step, (N, *F), or None.
        params: The neurons' parameters.
        width: Width of the triangular slope.
        detach_reset: Whether the gradient does not flow through the reset.

    Returns:
        The gradient of the potential before the first step, (N, *F).
    """
    before = torch.empty_like(membrane_seq[0])
    size, threshold = before.numel(), float(params.threshold)
    sequences = (grad_seq, grad_spikes, membrane_seq, slope_seq)
    lasts = [None if seq is None else seq[-1] for seq in sequences]
    strides = [0 if seq is None else seq.stride(0) for seq in sequences]
    with torch.cuda.device_of(grad_seq):
        kernels.backward[(-(-size // _BLOCK),)](
            *(*lasts, carry, before, size, len(grad_seq), *strides),
            *(1.0, float(params.decay), threshold, float(params.decay) * threshold, 1 / width, -1 / width**2),
            soft=params.reset == "soft",
            given=slope_seq is not None,
            carried=carry is not None,
            detached=detach_reset,
            block=_BLOCK,
        )
    return before
