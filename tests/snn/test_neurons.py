"""LIF and IF as modules: no state, gradient through time, bad parameters."""

from __future__ import annotations

import pytest
import torch

from art_snn import IF, LIF
from art_snn.snn.surrogates import ATan, Sigmoid, Triangle


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
