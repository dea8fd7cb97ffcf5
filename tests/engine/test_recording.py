"""The record pass: chunks of steps, and neurons with more parameters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_snn import HART, LIF, DirectEncoder, SpikingNetwork
from art_snn.engine import recording
from art_snn.engine.recording import record, record_distances
from art_snn.rules.base import RateRule
from art_snn.snn.dynamics import NeuronParams, integrate
from tests.conftest import make_body, make_network, settle


@settings(deadline=None, max_examples=25)
@given(
    time_steps=st.integers(1, 9),
    batch=st.integers(1, 5),
    rows=st.integers(1, 12),
    decay=st.sampled_from([0.3, 0.9, 1.0]),
    reset=st.sampled_from(["hard", "soft"]),
)
def test_record_in_chunks_equals_the_whole_sequence(time_steps, batch, rows, decay, reset):
    torch.manual_seed(time_steps)
    body = make_body(lambda: LIF(decay=decay, reset=reset), residual=True)
    network = SpikingNetwork(DirectEncoder(time_steps=time_steps), body)
    settle(network, torch.rand(4, 2, 8, 8)).double()
    x_seq = torch.rand(time_steps, batch, 2, 8, 8, dtype=torch.float64)
    whole = record(network, x_seq, HART())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "ROWS_CPU", rows)
        chunked = record(network, x_seq, HART())
    torch.testing.assert_close(chunked.logits, whole.logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.logits, network.readout(network.body(x_seq)), rtol=1e-12, atol=1e-12)
    assert chunked.layers.keys() == whole.layers.keys()
    for name in whole.layers:
        for one, other in zip(chunked.layers[name], whole.layers[name], strict=True):
            torch.testing.assert_close(one.rate, other.rate, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(one.mean_current, other.mean_current, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(one.mean_slope, other.mean_slope, rtol=1e-12, atol=1e-12)


def test_synaptic_memory_and_other_parameters_are_integrated():
    params = NeuronParams(decay=0.5, alpha=0.25, c=2.0, d=0.1, v_reset=-0.2, v0=0.3, threshold=1.5)
    current = torch.tensor([0.4, 0.3, 0.6, 0.1, 0.9], dtype=torch.float64)
    i, v, expected = 0.0, 0.3, []
    for value in current.tolist():
        i = 0.25 * i + value
        m = 0.5 * v + 2.0 * i + 0.1
        expected.append(float(m >= 1.5))
        v = -0.2 if m >= 1.5 else m
    found = recording.Neurons(params)(current.view(5, 1, 1)).flatten().tolist()
    assert found == expected
    assert 0 < sum(expected) < 5
    tensor_params = NeuronParams(*[torch.tensor(p, dtype=torch.float64) if isinstance(p, float) else p for p in params])
    assert recording.Neurons(tensor_params)(current.view(5, 1, 1)).flatten().tolist() == expected


@pytest.mark.parametrize(
    "params",
    [
        NeuronParams(decay=0.7),
        NeuronParams(decay=0.7, reset="soft", threshold=0.8),
        NeuronParams(decay=0.6, alpha=0.3),
        NeuronParams(decay=0.6, rho=0.5, reset="soft"),
        NeuronParams(decay=torch.tensor(0.7, dtype=torch.float64)),
    ],
    ids=["hard", "soft", "synapse", "rho", "tensor"],
)
def test_neurons_in_place_are_the_equation_and_leave_their_input_alone(params):
    current_seq = 2 * torch.rand(7, 3, 4, dtype=torch.float64)
    before = current_seq.clone()
    expected = integrate(current_seq, params, lambda distance: (distance >= 0).to(distance.dtype))
    neurons = recording.Neurons(params)
    found = torch.cat([neurons(current_seq[:3]), neurons(current_seq[3:])])
    assert torch.equal(found, expected)
    assert torch.equal(current_seq, before)


def test_distances_come_with_the_records():
    network, x = make_network("residual", dtype=torch.float64)
    x_seq = network.encode(x)
    recorded = record(network, x_seq, HART())
    with_distances = record_distances(network, x_seq)
    assert with_distances.keys() == recorded.layers.keys()
    for name, calls in with_distances.items():
        for (layer, distances), other in zip(calls, recorded.layers[name], strict=True):
            assert torch.equal(layer.mean_current, other.mean_current)
            assert torch.equal(layer.rate, other.rate)
            assert layer.mean_slope is None
            torch.testing.assert_close((distances >= 0).double().mean(0), layer.rate)
            torch.testing.assert_close(HART().slope(distances).mean(0), other.mean_slope)


class Distance(RateRule):
    def slope(self, distance):
        return distance


def test_a_slope_may_return_what_it_was_given():
    network, x = make_network("plain", dtype=torch.float64)
    x_seq = network.encode(x)
    calls = zip(
        record(network, x_seq, Distance()).layers.values(),
        record_distances(network, x_seq).values(),
        strict=True,
    )
    for (layer,), ((_, distances),) in calls:
        torch.testing.assert_close(layer.mean_slope, distances.mean(0))
