"""Temporal retention: against a slow estimate, the closed form, the rate identity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from art_snn import LIF, DirectEncoder, EventFrameEncoder, SpikingNetwork
from art_snn.evaluation.retention import SMALLEST_CURRENT, rate_identity, temporal_retention, theorem_1
from art_snn.snn.dynamics import NeuronParams
from tests.conftest import make_body


@pytest.mark.parametrize("time_steps", [1, 4, 10])
@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_closed_form_is_the_theorems_integral(time_steps, decay):
    a, c = 0.7, 2.5
    numerator = (time_steps - 1) * (1 - decay) ** 2 + 1

    def integrand(x: float) -> float:
        return numerator * (a * x) ** 2 / (6 * c * time_steps**2 * x**2)

    expected = quad(integrand, -c, 0)[0] + quad(integrand, 0, c)[0]
    assert theorem_1(time_steps=time_steps, decay=decay, c=c, a=a) == pytest.approx(expected, rel=1e-10)


def test_theorem_holds_for_potentials_as_it_assumes_them():
    """Potentials uniform in (-h, h) and independent, h = a x: the estimate must find the theorem's value."""
    generator = np.random.default_rng(0)
    a, c, time_steps, decay = 0.4, 1.0, 5, 0.7
    x = generator.uniform(-c, c, 400_000)
    v = generator.uniform(-1, 1, (time_steps, len(x))) * a * np.abs(x)
    rate = x - (v[-1] + (1 - decay) * v[:-1].sum(0)) / time_steps
    kept = np.abs(x) >= SMALLEST_CURRENT
    from art_snn.evaluation.retention import _within_bins

    found = _within_bins(x[kept], rate[kept] / x[kept], 50)
    assert found == pytest.approx(theorem_1(time_steps=time_steps, decay=decay, c=c, a=a), rel=0.02)


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_rate_identity_holds_step_by_step(reset, decay):
    """Both sides against a loop over one neuron."""
    generator = np.random.default_rng(1)
    currents = generator.normal(0.4, 1, (7, 5, 3))
    threshold = 0.8
    params = NeuronParams(decay=decay, threshold=threshold, reset=reset)
    distances, expected = np.empty_like(currents), np.empty(currents.shape[1:])
    for n in range(5):
        for f in range(3):
            v, taken, leaked = 0.0, 0.0, 0.0
            for t in range(7):
                m = decay * v + currents[t, n, f]
                distances[t, n, f] = m - threshold
                fired = m >= threshold
                loss = (threshold if reset == "soft" else m) if fired else 0.0
                v = m - loss
                taken += loss
                leaked += v if t == 6 else (1 - decay) * v
            assert taken / 7 == pytest.approx(currents[:, n, f].mean() - leaked / 7, abs=1e-12)
            expected[n, f] = taken / 7
    left, right = rate_identity(torch.tensor(distances), torch.tensor(currents.mean(0)), params)
    np.testing.assert_allclose(left, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12)
    other, _ = rate_identity(torch.tensor(distances), torch.tensor(currents.mean(0)), params._replace(c=0.5))
    assert other.isnan().all()


def slow_chi(rates: list[float], currents: list[float], bins: int) -> float:
    """Sort, cut into bins, sum squared deviations."""
    pairs = sorted((x, r / x) for x, r in zip(currents, rates, strict=True) if abs(x) >= SMALLEST_CURRENT)
    total, place = 0.0, 0
    for i in range(bins):
        size = len(pairs) // bins + (i < len(pairs) % bins)
        part = [ratio for _, ratio in pairs[place : place + size]]
        mean = sum(part) / size
        total += sum((ratio - mean) ** 2 for ratio in part)
        place += size
    return total / len(pairs)


@pytest.mark.parametrize("events", [False, True])
def test_layers_are_what_a_loop_over_neurons_finds(events):
    torch.manual_seed(0)
    first, second = LIF(decay=0.7, threshold=0.5, reset="soft"), LIF(decay=0.7, threshold=0.5, reset="soft")
    weights = nn.Linear(6, 9), nn.Linear(9, 5), nn.Linear(5, 2)
    body = nn.Sequential(weights[0], first, weights[1], second, weights[2])
    network = SpikingNetwork(EventFrameEncoder() if events else DirectEncoder(time_steps=6), body).double().eval()
    x = torch.randn(40, 6, 6, dtype=torch.float64) if events else torch.randn(40, 6, dtype=torch.float64)
    found = temporal_retention(network, x.numpy(), bins=4, batch_size=16)
    assert [layer.layer for layer in found] == ["body.1", "body.3"]
    inputs = x.transpose(0, 1) if events else x.expand(6, 40, 6)
    for layer, linear in zip(found, weights[:2], strict=True):
        currents = linear(inputs).detach()
        spikes = torch.zeros_like(currents)
        v = torch.zeros_like(currents[0])
        for t in range(6):
            m = 0.7 * v + currents[t]
            spikes[t] = (m >= 0.5).double()
            v = m - 0.5 * spikes[t]
        rates, means = spikes.mean(0).flatten().tolist(), (currents.mean(0) / 0.5).flatten().tolist()
        assert layer.chi == pytest.approx(slow_chi(rates, means, 4), rel=1e-9)
        assert layer.rate == pytest.approx(spikes.mean().item())
        assert layer.identity_error < 1e-12
        assert layer.share == pytest.approx(np.mean(np.abs(means) >= SMALLEST_CURRENT))
        inputs = spikes


def test_more_steps_and_less_leak_keep_less_on_one_layer():
    """As Theorem 1 argues: chi falls with T, and with lambda towards 1."""
    torch.manual_seed(0)
    x = torch.rand(200, 20)

    def chi(time_steps: int, decay: float) -> float:
        torch.manual_seed(1)
        frames = x[:, None] + 0.5 * torch.randn(200, time_steps, 20)
        body = nn.Sequential(nn.Linear(20, 30, bias=False), LIF(decay=decay, reset="soft"), nn.Linear(30, 2))
        with torch.no_grad():
            body[0].weight.uniform_(0, 0.12)
        return temporal_retention(SpikingNetwork(EventFrameEncoder(), body).eval(), frames)[0].chi

    assert chi(4, 0.9) > 2 * chi(16, 0.9)
    assert chi(8, 0.5) > chi(8, 1.0)


def test_bad_arguments_are_refused():
    network = SpikingNetwork(DirectEncoder(time_steps=2), make_body(lambda: LIF())).eval()
    x = np.zeros((2, 2, 8, 8), np.float32)
    with pytest.raises(ValueError, match="x is empty"):
        temporal_retention(network, x[:0])
    with pytest.raises(ValueError, match="bins"):
        temporal_retention(network, x, bins=0)
    with pytest.raises(ValueError, match="training mode"):
        temporal_retention(network.train(), x)
    with pytest.raises(ValueError, match="c must be"):
        theorem_1(time_steps=2, decay=0.5, c=0.0, a=1.0)


def test_layers_without_current_have_no_value():
    body = nn.Sequential(nn.Linear(3, 4), LIF(), nn.Linear(4, 2))
    nn.init.zeros_(body[0].weight)
    nn.init.zeros_(body[0].bias)
    (layer,) = temporal_retention(SpikingNetwork(DirectEncoder(time_steps=2), body).eval(), torch.rand(5, 3))
    assert np.isnan(layer.chi)
    assert (layer.share, layer.rate) == (0.0, 0.0)


def test_retention_does_not_depend_on_whose_an_input_weight_is():
    found = []
    for weight in (1.0, 0.5):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(3, 40), LIF(decay=0.9), nn.Linear(40, 2))
        for parameter in body[0].parameters():
            parameter.data.mul_(3 / weight)
        body[1].params = body[1].params._replace(c=weight)
        network = SpikingNetwork(DirectEncoder(time_steps=8), body).eval()
        found.append(temporal_retention(network, torch.rand(50, 3, generator=torch.Generator().manual_seed(1)))[0])
    assert found[0].chi > 0
    assert found[1].chi == pytest.approx(found[0].chi, rel=1e-6)


def test_identity_is_unknown_for_neurons_that_it_does_not_cover():
    body = nn.Sequential(nn.Linear(3, 4), LIF(), nn.Linear(4, 2))
    body[1].params = body[1].params._replace(c=0.5)
    (layer,) = temporal_retention(SpikingNetwork(DirectEncoder(time_steps=2), body).eval(), torch.rand(5, 3))
    assert np.isnan(layer.identity_error)
