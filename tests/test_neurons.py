"""Membrane traces by hand, and the identities that they obey."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from art_snn import IF, LIF
from art_snn.snn.bptt import fire_through_time
from art_snn.snn.dynamics import NeuronParams, empty_sequence, integrate
from art_snn.snn.surrogates import ATan, Sigmoid, Triangle, spike, triangle, triangle_


def fire(distance: Tensor) -> Tensor:
    return (distance >= 0).to(distance.dtype)


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


def test_module_leaves_no_state_and_reads_t_off_the_sequence():
    neuron = LIF(decay=0.9)
    current = torch.rand(7, 2, 3)
    first = neuron(current)
    assert torch.equal(first, neuron(current))
    assert torch.equal(first[:4], neuron(current[:4]))
    assert not list(neuron.state_dict())


def test_training_gradient_is_through_time():
    """Two steps by hand, soft reset, slope h(u): ds2/dx1 = h(u2) * lambda * (1 - theta h(u1))."""
    decay = 0.6
    x = torch.tensor([0.7, 0.6], dtype=torch.float64).view(2, 1, 1).requires_grad_()
    u1 = 0.7 - 1
    u2 = decay * 0.7 + 0.6 - 1

    def h(u: float) -> float:
        return max(0.0, 1 - abs(u))

    for detach, through in ((False, decay * (1 - h(u1))), (True, decay)):
        spikes = LIF(decay=decay, reset="soft", detach_reset=detach)(x)
        (grad,) = torch.autograd.grad(spikes[1].sum(), x)
        assert grad.flatten().tolist() == pytest.approx([h(u2) * through, h(u2)])


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


def test_memory_of_a_sequence_lies_as_its_steps():
    plain = torch.rand(3, 2, 4, 5, 6)
    last = plain.flatten(0, 1).to(memory_format=torch.channels_last).view(plain.shape)
    for current in (plain, last, last[:1].expand(3, 2, 4, 5, 6)):
        memory = empty_sequence(current)
        assert memory.shape == current.shape
        assert memory[0].stride() == current[0].stride()
        assert memory.flatten(0, 1).data_ptr() == memory.data_ptr()  # a view, no copy


@pytest.mark.parametrize("slope", [Triangle(width=0.7), ATan(alpha=3.0), Sigmoid(alpha=2.0)], ids=repr)
def test_slopes_have_area_one_and_are_even(slope):
    u = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    assert torch.trapezoid(slope(u), u).item() == pytest.approx(1, abs=1e-2)
    torch.testing.assert_close(slope(u), slope(-u))
    torch.testing.assert_close(slope(torch.zeros((), dtype=u.dtype)), slope(u).max(), rtol=1e-9, atol=0)


def test_in_place_triangle_equals_the_formula():
    u = torch.randn(1000, dtype=torch.float64)
    for width in (0.3, 1.0, 2.4):
        scratch = u.clone()
        assert triangle_(scratch, width) is scratch
        torch.testing.assert_close(scratch, triangle(u, width), rtol=1e-12, atol=1e-14)


def test_spike_fires_on_equality():
    u = torch.tensor([-1e-9, 0.0, 1e-9], requires_grad=True)
    assert spike(u, Triangle()).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LIF(decay=0.0), r"decay .* must be in \(0, 1\], got 0.0"),
        (lambda: LIF(decay=1.01), "got 1.01"),
        (lambda: LIF(decay=float("nan")), "got nan"),
        (lambda: LIF(threshold=0.0), "threshold must be a finite number > 0, got 0.0"),
        (lambda: IF(threshold=-1.0), "got -1.0"),
        (lambda: LIF(reset="mild"), "reset must be 'hard' or 'soft', got 'mild'"),
        (lambda: Triangle(width=0), "width must be a finite number > 0, got 0"),
        (lambda: ATan(alpha=-1.0), "alpha must be"),
        (lambda: Sigmoid(alpha=float("inf")), "got inf"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(3,), (0, 2, 3)])
def test_neuron_refuses_what_is_no_sequence(shape):
    with pytest.raises(ValueError, match="takes a sequence"):
        LIF()(torch.zeros(shape))


def test_if_is_lif_without_leak():
    current = torch.rand(6, 2, 3)
    assert torch.equal(IF(reset="soft")(current), LIF(decay=1.0, reset="soft")(current))
    assert "decay=1.0" in repr(IF())
