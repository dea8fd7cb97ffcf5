"""The record pass: chunks of steps, and neurons with more parameters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_snn import HART, LIF, DirectEncoder, SpikingNetwork
from art_snn.engine import recording
from art_snn.engine.recording import record
from art_snn.snn.dynamics import NeuronParams
from tests.conftest import make_body, settle


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
    whole = record(network, x_seq, HART().slope)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "ROWS_CPU", rows)
        chunked = record(network, x_seq, HART().slope)
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
    neurons = recording.Accumulator(params, None, True)
    found = neurons(current.view(5, 1, 1)).flatten().tolist()
    assert found == expected
    assert 0 < sum(expected) < 5
    tensor_params = NeuronParams(*[torch.tensor(p, dtype=torch.float64) if isinstance(p, float) else p for p in params])
    assert recording.Accumulator(tensor_params, None, True)(current.view(5, 1, 1)).flatten().tolist() == expected
