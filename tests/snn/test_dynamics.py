"""Membrane traces by hand, the rate identity, and the memory of sequences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_snn.snn.dynamics import NeuronParams, empty_sequence, integrate
from tests.snn.firing import fire


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        # lambda=0.5, theta=1, input 0.75: m = .75; 1.125 fires; hard: .75, 1.125 fires
        (NeuronParams(decay=0.5), [0, 1, 0, 1, 0, 1]),
        # soft: after m = 1.125, v = .125; m = .8125; 1.15625 fires, v = .15625; .828125; 1.1640625 fires
        (NeuronParams(decay=0.5, reset="soft"), [0, 1, 0, 1, 0, 1]),
        # IF, hard: .75, 1.5 fires, .75, 1.5 fires
        (NeuronParams(decay=1.0), [0, 1, 0, 1, 0, 1]),
        # IF, soft: .75, 1.5 fires (.5), 1.25 fires (.25), 1.0 fires on equality (0), .75, 1.5 fires
        (NeuronParams(decay=1.0, reset="soft"), [0, 1, 1, 1, 0, 1]),
        # theta=2, lambda=0.5: the potential tends to 1.5 and never fires
        (NeuronParams(decay=0.5, threshold=2.0), [0, 0, 0, 0, 0, 0]),
    ],
)
def test_membrane_trace(params, expected):
    current = torch.full((6, 1, 1), 0.75, dtype=torch.float64)
    assert integrate(current, params, fire).flatten().tolist() == expected


@settings(deadline=None, max_examples=40)
@given(
    time_steps=st.integers(1, 12), decay=st.floats(0.05, 1.0), threshold=st.floats(0.2, 3.0), seed=st.integers(0, 999)
)
def test_rate_identity_of_the_soft_reset(time_steps, decay, threshold, seed):
    """theta r = xbar - [v(T) + sum_{t<T} (1 - lambda) v(t)] / T, as on the paper's poster for theta = 1."""
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(time_steps, 3, 4, generator=generator, dtype=torch.float64) * threshold
    params = NeuronParams(decay=decay, threshold=threshold, reset="soft")
    spikes = integrate(current, params, fire)
    v, potentials = torch.zeros(3, 4, dtype=torch.float64), []
    for t in range(time_steps):
        v = decay * v + current[t] - threshold * spikes[t]
        potentials.append(v)
    left = potentials[-1] + (1 - decay) * sum(potentials[:-1], torch.zeros_like(v))
    torch.testing.assert_close(threshold * spikes.mean(0), current.mean(0) - left / time_steps, rtol=1e-10, atol=1e-12)


def test_memory_of_a_sequence_lies_as_its_steps():
    plain = torch.rand(3, 2, 4, 5, 6)
    last = plain.flatten(0, 1).to(memory_format=torch.channels_last).view(plain.shape)
    for current in (plain, last, last[:1].expand(3, 2, 4, 5, 6)):
        memory = empty_sequence(current)
        assert memory.shape == current.shape
        assert memory[0].stride() == current[0].stride()
        assert memory.flatten(0, 1).data_ptr() == memory.data_ptr()  # a view, no copy
