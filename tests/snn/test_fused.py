"""The kernels of neurons on a GPU: what they compute, and that they give the bits of torch's own operations."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from art_snn import HART, STBP, GradientRuleModule
from art_snn.engine.recording import DistanceRecorder, Neurons, Recorder
from art_snn.rules.base import RateRule
from art_snn.snn import fused
from art_snn.snn.bptt import fire_from
from art_snn.snn.dynamics import NeuronParams, NeuronState
from art_snn.snn.surrogates import ATan, Triangle
from tests.conftest import make_network

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
PARAMS = [
    NeuronParams(decay=decay, threshold=threshold, reset=reset)
    for decay, threshold, reset in itertools.product((0.5, 0.9, 1.0), (1.0, 0.7), ("hard", "soft"))
]


def currents(shape: tuple[int, ...], layout: str, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    seq = torch.randn(shape, generator=generator) * 0.6 + 0.2
    if layout == "repeated":
        return seq[:1].to(device).expand(shape)
    if layout == "channels last":
        return seq.flatten(0, 1).to(device, memory_format=torch.channels_last).unflatten(0, shape[:2])
    return seq.to(device)


class Inverse(RateRule):
    def slope(self, distance):
        return 1 / (1 + distance.abs())


def recorded(params: NeuronParams, seq: Tensor, rows: slice, gamma: float) -> dict[str, Tensor]:
    """Record two chunks of steps with HART's slope, another slope, distances, and nothing."""
    found = {}
    for name, neurons in {
        "hart": Recorder(params, HART(gamma=gamma), rows),
        "own": Recorder(params, Inverse(), rows),
        "distances": DistanceRecorder(params),
        "plain": Neurons(params),
    }.items():
        spikes = torch.cat([neurons(chunk) for chunk in seq.split((len(seq) + 1) // 2)])
        found |= {f"{name} spikes": spikes, f"{name} potential": neurons.state.potential}
        if isinstance(neurons, Recorder):
            record = neurons.record()
            found |= {f"{name} rate": record.rate, f"{name} current": record.mean_current}
            found |= {} if record.mean_slope is None else {f"{name} slope": record.mean_slope}
        if isinstance(neurons, DistanceRecorder):
            found["distances"] = torch.stack(neurons.distances)
    return found


def differentiated(params: NeuronParams, seq: Tensor, slope: Any, *, detach: bool, started: bool) -> list[Tensor]:
    """Return the spikes, the last potential, and the gradients of the currents and of the first potential."""
    leaf = seq.clone().requires_grad_()
    start = torch.full_like(seq[0], 0.3).requires_grad_()
    state = NeuronState(start if started else 0.0, None)
    spikes, end = fire_from(state, leaf, params, slope, detach_reset=detach)
    weights = torch.linspace(-1, 1, spikes.numel(), device=seq.device).view_as(spikes)
    loss = (spikes * weights).sum() + (end.potential.square().sum() if started else 0)
    return [spikes, end.potential, *torch.autograd.grad(loss, [leaf, start] if started else [leaf])]


def cases() -> list[tuple[tuple[int, ...], str, slice]]:
    return [
        ((5, 3, 2, 4, 4), "contiguous", slice(None)),
        ((5, 3, 2, 4, 4), "channels last", slice(1, 2)),
        ((4, 3, 700), "repeated", slice(2, 3)),
        ((1, 1, 7), "contiguous", slice(0, 1)),
    ]


def compare(device: str, which: list[NeuronParams], *, exact: bool) -> int:
    """Compare the kernels with the operations of torch; return the number of values that were compared."""
    count = 0
    off: dict[str, float] = {}

    def same(name: str, found: Tensor, expected: Tensor) -> None:
        nonlocal count
        count += found.numel()
        if not (torch.equal(found, expected) if exact else torch.allclose(found, expected, rtol=1e-5, atol=1e-5)):
            off[name] = max(off.get(name, 0.0), float((found - expected).abs().max()))

    for params, (shape, layout, rows) in itertools.product(which, cases()):
        seq = currents(shape, layout, device)
        assert fused.takes(params, seq)
        found = recorded(params, seq, rows, gamma=0.8)
        with fused.unfused():
            assert not fused.takes(params, seq)
            expected = recorded(params, seq, rows, gamma=0.8)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            same(f"{name} {params[:3]} {layout}", value, expected[name])
        for slope, detach, started in itertools.product((Triangle(width=0.8), ATan()), (False, True), (False, True)):
            way = {"slope": slope, "detach": detach, "started": started}
            found_here = differentiated(params, seq, **way)
            with fused.unfused():
                expected_here = differentiated(params, seq, **way)
            for i, (one, other) in enumerate(zip(found_here, expected_here, strict=True)):
                same(f"value {i} of {way} {params[:3]} {layout}", one, other)
    assert not off, off
    return count


@on_gpu
def test_bits_on_a_gpu():
    assert compare("cuda", PARAMS, exact=True) > 10_000


@on_gpu
@pytest.mark.parametrize("rule", [HART(gamma=0.6), STBP(), STBP(detach_reset=True)])
@pytest.mark.parametrize("kind", ["plain", "residual", "event-frame"])
def test_gradients_on_a_gpu(kind, rule):
    def gradient() -> Tensor:
        x_on = x.cuda().requires_grad_()
        logits = GradientRuleModule(network, rule).eval()(x_on)
        return torch.autograd.grad(logits.square().sum(), x_on)[0]

    network, x = make_network(kind)
    network = network.cuda()
    found = gradient()
    with fused.unfused():
        assert torch.equal(gradient(), found)
    assert found.abs().max() > 0


def test_cpu_and_other_neurons_are_left_to_torch():
    seq = currents((3, 2, 4), "contiguous", "cpu")
    assert not any(fused.takes(params, seq) for params in PARAMS)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_kernels_in_triton_s_interpreter():
    """Without a GPU; the interpreter rounds products and sums one by one, so values are close, not the same."""
    code = "from tests.snn.test_fused import PARAMS, compare; print(compare('cpu', PARAMS[2:4], exact=False))"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10_000
