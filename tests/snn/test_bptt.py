"""One node through time: the chain rule, second derivatives, neurons that it does not cover."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from art_snn.snn.bptt import fire_through_time
from art_snn.snn.dynamics import NeuronParams, integrate
from art_snn.snn.surrogates import ATan, Triangle, spike, triangle
from tests.snn.firing import fire


def membrane_gradients(
    current: Tensor, grad: Tensor, params: NeuronParams, width: float, *, detach_reset: bool
) -> tuple[Tensor, Tensor]:
    """Spikes, and dL/dI by the chain rule, neuron by neuron and number by number."""
    steps, rest = len(current), current[0].numel()
    x, g = current.reshape(steps, rest).tolist(), grad.reshape(steps, rest).tolist()
    spikes, out = [[0.0] * rest for _ in x], [[0.0] * rest for _ in x]
    for i in range(rest):
        v, membranes = 0.0, []
        for t in range(steps):
            m = params.decay * v + x[t][i]
            s = 1.0 if m >= params.threshold else 0.0
            v = m * (1 - s) if params.reset == "hard" else m - params.threshold * s
            membranes.append(m)
            spikes[t][i] = s
        dv = 0.0
        for t in reversed(range(steps)):
            m, s = membranes[t], spikes[t][i]
            h = max(0.0, width - abs(m - params.threshold)) / width**2
            dv_dm = 1 - s if params.reset == "hard" else 1.0
            dv_ds = 0.0 if detach_reset else -m if params.reset == "hard" else -params.threshold
            dm = g[t][i] * h + dv * (dv_dm + dv_ds * h)
            out[t][i] = dm
            dv = params.decay * dm
    return tuple(torch.tensor(numbers, dtype=current.dtype).view(current.shape) for numbers in (spikes, out))


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize(
    ("decay", "threshold", "width", "steps"), [(0.6, 1.0, 1.0, 6), (1.0, 0.7, 1.6, 1), (0.9, 2.0, 0.5, 4)]
)
def test_one_node_through_time_is_the_chain_rule(reset, detach_reset, decay, threshold, width, steps):
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(steps, 2, 3, 4, 5, generator=generator, dtype=torch.float64) + 0.5
    grad = torch.randn(current.shape, generator=generator, dtype=torch.float64)
    params = NeuronParams(decay=decay, threshold=threshold, reset=reset)
    spikes, expected = membrane_gradients(current, grad, params, width, detach_reset=detach_reset)
    assert 0 < spikes.mean() < 1
    for layout in (current, current.flatten(0, 1).to(memory_format=torch.channels_last).view(current.shape)):
        x = layout.clone(memory_format=torch.preserve_format).requires_grad_()
        for slope in (Triangle(width=width), lambda u: triangle(u, width)):
            out = fire_through_time(x, params, slope, detach_reset=detach_reset)
            assert out[0].stride() == x[0].stride()
            assert torch.equal(out, spikes)
            for _ in range(2):  # the backward consumes nothing
                (found,) = torch.autograd.grad(out, x, grad, retain_graph=True)
                torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_one_node_through_time_has_a_second_derivative(reset):
    """That of `integrate`; ATan is smooth, so that it is not zero."""
    params = NeuronParams(decay=0.8, reset=reset)
    x = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = ATan()
    second = []
    for run in (
        lambda current: fire_through_time(current, params, slope),
        lambda current: integrate(current, params, lambda u: spike(u, slope)),
    ):
        current = x.clone().requires_grad_()
        (first,) = torch.autograd.grad((run(current) * x).sum(), current, create_graph=True)
        second.append(torch.autograd.grad(first.pow(2).sum(), current)[0])
    assert second[0].abs().max() > 1e-3
    torch.testing.assert_close(*second)


def test_what_comes_in_is_not_written_to_and_what_goes_out_may_be():
    current = torch.rand(3, 2, 4)
    before = current.clone()
    leaf = current.requires_grad_()
    out = fire_through_time(leaf, NeuronParams(decay=0.5), Triangle())
    (expected,) = torch.autograd.grad(out.sum(), leaf, retain_graph=True)
    out.mul_(1.0)
    assert torch.equal(torch.autograd.grad(out.sum(), leaf)[0], expected)
    assert torch.equal(leaf, before)
    repeated = torch.rand(2, 4).expand(3, 2, 4)
    assert fire_through_time(repeated, NeuronParams(decay=0.5), Triangle()).stride() == (8, 4, 1)


def test_neurons_with_more_parameters_go_the_long_way():
    """One node is for plain neurons; a tensor as decay, or synaptic memory, is not plain."""
    x = torch.rand(4, 2, 3, dtype=torch.float64, requires_grad=True)
    for params in (
        NeuronParams(decay=torch.full((3,), 0.7, dtype=torch.float64)),
        NeuronParams(decay=0.7, alpha=0.5),
        NeuronParams(decay=0.7, c=0.5, d=0.3, v0=0.2, v_reset=0.1),
        NeuronParams(decay=0.7, reset="soft", rho=0.4),
    ):
        fired = fire_through_time(x, params, Triangle())
        assert torch.equal(fired, integrate(x, params, fire))
        assert torch.autograd.grad(fired.sum(), x)[0].abs().max() > 0
