"""What keeps one step from standing for all, and that it is unrolled with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from art_snn import (
    HART,
    LIF,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    InexactReplayWarning,
    SpikingNetwork,
)
from art_snn.engine.unrolling import unroll_rate
from art_snn.snn.network import SpikingSequential, over_time
from tests.conftest import make_body, make_network, settle


@pytest.mark.parametrize("functional", [False, True], ids=["module", "functional"])
def test_max_pool_is_unrolled_with_one_warning_that_names_the_layer(functional):
    class Pooled(nn.Module):
        def __init__(self, first: nn.Module) -> None:
            super().__init__()
            self.first = first

        def forward(self, x_seq: Tensor) -> Tensor:
            spikes = self.first(x_seq)
            return nn.functional.max_pool2d(spikes.flatten(0, 1), 2).unflatten(0, spikes.shape[:2])

    torch.manual_seed(0)
    first = [nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(decay=0.9)]
    head = Pooled(SpikingSequential(*first)) if functional else nn.Sequential(*first, nn.MaxPool2d(2))
    body = nn.Sequential(head, nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), LIF(decay=0.9), nn.Flatten(), nn.Linear(24, 5))
    network = SpikingNetwork(DirectEncoder(time_steps=8), body)
    x = torch.rand(4, 2, 8, 8)
    settle(network, x).double()
    module = GradientRuleModule(network, "hart").eval()
    leaf = x.double().requires_grad_()
    with pytest.warns(InexactReplayWarning, match=r"body\.3") as caught:
        found, again = (torch.autograd.grad(module(leaf).square().sum(), leaf)[0] for _ in range(2))
    assert len(caught) == 1
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    assert torch.equal(found, again)


def test_dropout_left_on_is_noticed():
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 32), LIF(decay=0.9), nn.Dropout(0.5), nn.Linear(32, 16), LIF(), nn.Linear(16, 3)
    )
    module = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=4), body)).eval()
    module.network.body[3].train()
    x = (12 * torch.rand(4, 1, 4, 4)).requires_grad_()
    with pytest.warns(InexactReplayWarning, match=r"body\.5"):
        module(x)


def test_odd_readout_is_noticed():
    class LastStep(SpikingNetwork):
        def readout(self, out_seq: Tensor) -> Tensor:
            return out_seq[-1]

    torch.manual_seed(0)
    network = LastStep(DirectEncoder(time_steps=4), make_body(lambda: LIF(decay=0.9)))
    x = torch.rand(4, 2, 8, 8)
    settle(network, x)
    with pytest.warns(InexactReplayWarning, match="the layers before the logits"):
        logits = GradientRuleModule(network).eval()(x.requires_grad_())
    torch.testing.assert_close(logits, network(x))


# --- what values alone do not show: operations that are linear on spikes, but not in their derivative ----------------


class ReluResidual(nn.Module):
    """A custom residual block with a functional ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, spikes: Tensor) -> Tensor:
        return nn.functional.relu(spikes + 0.1 * self.conv(spikes).clamp(min=0))


class Apply(nn.Module):
    """A layer made of a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, spikes: Tensor) -> Tensor:
        return self.function(spikes)


class Clone(torch.autograd.Function):
    """Named like a linear operation; its backward is none."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        ctx.save_for_backward(spikes)
        return 2 * spikes

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * (ctx.saved_tensors[0] > 0)


BEFORE = r"the layers behind body\.2"

BLIND = {
    "relu": (nn.ReLU(), BEFORE),
    "average-pool and relu": (nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.ReLU()), BEFORE),
    "prelu": (nn.PReLU(), BEFORE),
    "hardtanh": (nn.Hardtanh(0, 1), BEFORE),
    "residual": (ReluResidual(), BEFORE),
    "in-place relu": (nn.ReLU(inplace=True), BEFORE),
    "square": (Apply(lambda s: s * s), BEFORE),
    "mask": (Apply(lambda s: s * (s > 0)), BEFORE),
    "cast": (Apply(lambda s: s * s.bool()), BEFORE),
    "channel mask": (Apply(lambda s: s * (s.sum((2, 3), keepdim=True) > 0)), BEFORE),
    "instance norm": (nn.InstanceNorm2d(6), BEFORE),
    "custom function": (Apply(Clone.apply), r"the layers behind body\.2"),
}


@pytest.mark.parametrize(("layer", "operation"), BLIND.values(), ids=BLIND)
def test_operations_that_are_not_linear_are_unrolled(layer, operation):
    torch.manual_seed(0)
    first = [nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(decay=0.9)]
    rest = [nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), LIF(decay=0.9), nn.Flatten(), nn.Linear(216, 5)]
    network = SpikingNetwork(DirectEncoder(time_steps=6), nn.Sequential(*first, layer, *rest))
    x = torch.rand(3, 2, 8, 8)
    settle(network, x).double()
    leaf = x.double().requires_grad_()
    with pytest.warns(InexactReplayWarning, match=operation):
        found = torch.autograd.grad(GradientRuleModule(network).eval()(leaf).square().sum(), leaf)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_operations_before_the_first_neuron_are_free_for_a_constant_input_only():
    torch.manual_seed(0)
    x = torch.rand(3, 4, 2, 8, 8).round()
    for encoder, data in ((DirectEncoder(time_steps=4), x[:, 0]), (EventFrameEncoder(), x)):
        body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), LIF(decay=0.9), nn.Flatten(), nn.Linear(216, 5)
        )
        network = settle(SpikingNetwork(encoder, body), data).double()
        leaf = data.double().requires_grad_()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = torch.autograd.grad(GradientRuleModule(network).eval()(leaf).square().sum(), leaf)[0]
        assert [w.category for w in caught] == ([] if isinstance(encoder, DirectEncoder) else [InexactReplayWarning])
        expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_affine_layers_of_many_kinds_are_replayed_without_a_warning():
    torch.manual_seed(0)
    weight_normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 8, 3, groups=2, bias=False))
    body = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(4),
        LIF(decay=0.9),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AvgPool2d(2),
        nn.ConvTranspose2d(4, 4, 2, stride=2),
        LIF(decay=0.9),
        nn.AdaptiveAvgPool2d(4),
        weight_normed,
        LIF(decay=0.9),
        nn.ZeroPad2d(1),
        nn.PixelShuffle(2),
        nn.ChannelShuffle(2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(128, 5),
    )
    network = SpikingNetwork(DirectEncoder(time_steps=5), body).eval().double()
    leaf = (9 * torch.rand(3, 2, 8, 8, dtype=torch.float64)).requires_grad_()
    found = torch.autograd.grad(GradientRuleModule(network).eval()(leaf).square().sum(), leaf)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
    assert found.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_body_that_cannot_run_one_step_is_unrolled():
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.neuron(x_seq[0::2] + x_seq[1::2])

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), Halves(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval()
    x = (4 * torch.rand(4, 1, 4, 4)).requires_grad_()
    with pytest.warns(InexactReplayWarning, match="a trial on random numbers fails with IndexError|Runtime"):
        logits = GradientRuleModule(network).eval()(x)
    torch.testing.assert_close(logits, network(x))


def test_neurons_that_are_called_a_different_number_of_times_are_unrolled():
    class Stepwise(nn.Module):
        """Calls its neuron once for every other step."""

        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            return torch.cat([self.neuron(part) for part in x_seq.split(2)])

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), Stepwise(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval()
    x = (4 * torch.rand(4, 1, 4, 4)).requires_grad_()
    with pytest.warns(InexactReplayWarning, match="a layer mixes time-steps"):
        logits = GradientRuleModule(network).eval()(x)
    torch.testing.assert_close(logits, network(x))


@pytest.mark.parametrize("place", ["between neurons", "after the last neuron"])
def test_steps_that_are_weighted_are_unrolled_also_where_spikes_are_constant(place):
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x_seq: Tensor) -> Tensor:
            return over_time(nn.Identity(), x_seq) * self.weights

    class Block(nn.Module):
        """A module on sequences, as it holds a neuron."""

        def __init__(self) -> None:
            super().__init__()
            self.neuron, self.weighted = LIF(decay=0.9), Weighted()

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.weighted(self.neuron(x_seq))

    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 8), Block(), nn.Linear(8, 3)]
    if place == "between neurons":
        layers[3:3] = [nn.Linear(8, 8), LIF(decay=0.9)]
    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(*layers)).eval().double()
    leaf = (0.01 * torch.rand(2, 1, 4, 4, dtype=torch.float64)).requires_grad_()  # no spikes at all
    with pytest.warns(InexactReplayWarning, match="one step cannot stand"):
        found = torch.autograd.grad(GradientRuleModule(network, HART(gamma=2.0)).eval()(leaf).sum(), leaf)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART(gamma=2.0)).sum(), leaf)[0]
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_trial_is_made_once_and_again_when_a_layer_changes(monkeypatch):
    from art_snn.engine import linearity

    calls = []
    trial = linearity._trial
    monkeypatch.setattr(linearity, "_trial", lambda *args: calls.append(1) or trial(*args))
    network, x = make_network("plain")
    module = GradientRuleModule(network).eval()
    rng = torch.get_rng_state()
    for _ in range(3):
        module(x.clone().requires_grad_())
    assert len(calls) == 1
    assert torch.equal(rng, torch.get_rng_state())
    network.body[3] = nn.MaxPool2d(2)
    with pytest.warns(InexactReplayWarning):
        module(x.clone().requires_grad_())
    assert len(calls) == 2


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_rounding_in_wide_layers_is_no_obstacle(batch, recwarn):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(512, 4096), LIF(decay=0.9), nn.Linear(4096, 4096), LIF(), nn.Linear(4096, 10)]
    module = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(*layers)), "hart").eval()
    leaf = (4 * torch.rand(batch, 512)).requires_grad_()
    module(leaf)
    assert not [warning for warning in recwarn if warning.category is InexactReplayWarning]
