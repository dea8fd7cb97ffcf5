"""Kernels of plain neurons, in Triton. Importing this raises ImportError where there is none."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import os

import triton
import triton.language as tl

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's own switch: kernels run on the CPU, step by step

# Products and sums are fused where torch's kernels fuse them, and in the same order.


@triton.jit
def forward(
    currents,
    spikes,
    potentials,
    membranes,
    spike_sums,
    current_sums,
    slope_sums,
    size,
    steps,
    current_stride,
    spike_stride,
    membrane_stride,
    first,
    end,
    decay,
    threshold,
    inverse,
    peak,
    falling,
    repeats,
    started: tl.constexpr,
    soft: tl.constexpr,
    keep: tl.constexpr,
    add_up: tl.constexpr,
    repeated: tl.constexpr,
    add_slopes: tl.constexpr,
    unit: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Charge, fire and reset in each step, as `art_snn.snn.fused.run_steps` says."""
    i = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = i < size
    summed = inside & (i >= first) & (i < end)
    currents += i
    spikes += i
    v = tl.zeros([block], tl.float32)
    if started:
        v = tl.load(potentials + i, mask=inside, other=0.0)
    if keep:
        membranes += i
    if add_up:
        spike_sum = tl.load(spike_sums + i - first, mask=summed, other=0.0)
        current_sum = tl.load(current_sums + i - first, mask=summed, other=0.0)
        if repeated:
            current_sum = tl.fma(tl.load(currents, mask=inside, other=0.0), repeats, current_sum)
    if add_slopes:
        slope_sum = tl.load(slope_sums + i, mask=inside, other=0.0)
    for _ in range(steps):
        x = tl.load(currents, mask=inside, other=0.0)
        m = tl.fma(v, decay, x)
        s = (m >= threshold).to(tl.float32)
        tl.store(spikes, s, mask=inside)
        if keep:
            tl.store(membranes, m, mask=inside)
            membranes += membrane_stride
        if add_up:
            spike_sum += s
            if not repeated:
                current_sum += x
        if add_slopes:
            u = m - threshold
            if not unit:
                u = u * inverse
            slope_sum += tl.maximum(tl.fma(tl.abs(u), falling, peak), 0.0)
        v = tl.fma(s, -threshold, m) if soft else tl.fma(s, -m, m)
        currents += current_stride
        spikes += spike_stride
    tl.store(potentials + i, v, mask=inside)
    if add_up:
        tl.store(spike_sums + i - first, spike_sum, mask=summed)
        tl.store(current_sums + i - first, current_sum, mask=summed)
    if add_slopes:
        tl.store(slope_sums + i, slope_sum, mask=inside)


@triton.jit
def backward(
    grads,
    grad_spikes,
    membranes,
    slopes,
    carries,
    before,
    size,
    steps,
    grad_stride,
    spike_stride,
    membrane_stride,
    slope_stride,
    weight,
    decay,
    threshold,
    decayed_threshold,
    peak,
    falling,
    soft: tl.constexpr,
    given: tl.constexpr,
    carried: tl.constexpr,
    detached: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Go from the last step to the first, as `art_snn.snn.fused.go_back` says."""
    i = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = i < size
    grads += i
    grad_spikes += i
    membranes += i
    if given:
        slopes += i
    carry = tl.zeros([block], tl.float32)  # times weight the gradient of the potential that the step leaves
    taken = threshold  # times weight
    if carried:
        carry = tl.load(carries + i, mask=inside, other=0.0)
    for _ in range(steps):
        m = tl.load(membranes, mask=inside, other=0.0)
        g = tl.load(grad_spikes, mask=inside, other=0.0)
        if given:
            k = tl.load(slopes, mask=inside, other=0.0)
            slopes -= slope_stride
        else:
            k = tl.maximum(tl.fma(tl.abs(m - threshold), falling, peak), 0.0)
        if not detached:
            g = tl.fma(carry, -taken, g) if soft else tl.fma(carry * m, -weight, g)
        g = g * k
        g = tl.fma(carry if soft else carry * (m < threshold).to(tl.float32), weight, g)
        tl.store(grads, g, mask=inside)
        carry = g
        weight = decay
        taken = decayed_threshold
        grads -= grad_stride
        grad_spikes -= spike_stride
        membranes -= membrane_stride
    tl.store(before + i, carry * decay, mask=inside)
