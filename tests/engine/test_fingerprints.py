"""What is remembered of a network's trial is forgotten when the network changes, and not before."""

from __future__ import annotations

import types
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from art_snn import HART, LIF, DirectEncoder, GradientRuleModule, InexactReplayWarning, SpikingNetwork
from art_snn.engine import linearity
from art_snn.engine.fingerprints import is_affine, structure, weights
from art_snn.engine.unrolling import unroll_rate
from art_snn.snn.models import resnet17, vgg_small


class Switch(nn.Module):
    """A layer that something makes a ReLU."""

    slope = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.on = False
        self.limits = {"low": [-1e9]}
        self.options = types.SimpleNamespace(square=False)
        self.function: Callable[[Tensor], Tensor] = torch.neg
        self.threshold = torch.tensor(-1e9, dtype=torch.float64)
        closed = [False]
        self.closed = closed
        self.by_closure = lambda x: x.relu() if closed[0] else x
        self.register_buffer("mask", torch.zeros(2000, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        if self.options.square or self.on:
            x = x * x
        x = torch.where(x > 0, x, x * self.slope).clamp(min=self.limits["low"][0])
        if self.function is torch.relu:
            x = x.relu()
        gated = x * (x > self.threshold)
        return self.by_closure(gated) * (1 - self.mask.amax() * (x <= 0))


def relu_hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.relu()


CHANGES: dict[str, Callable[[Switch], object]] = {
    "a flag": lambda layer: setattr(layer, "on", True),
    "a list in a dictionary": lambda layer: layer.limits["low"].__setitem__(0, 0.0),
    "an attribute of an attribute": lambda layer: setattr(layer.options, "square", True),
    "a function": lambda layer: setattr(layer, "function", torch.relu),
    "a tensor that is no buffer": lambda layer: layer.threshold.fill_(0.0),
    "what a function holds": lambda layer: layer.closed.__setitem__(0, True),
    "a buffer past torch's count": lambda layer: layer.mask.data.fill_(1.0),
    "a hook": lambda layer: layer.register_forward_hook(relu_hook),
    "a forward of the instance": lambda layer: setattr(layer, "forward", torch.relu),
    "an attribute of the class": lambda layer: setattr(type(layer), "slope", 0.2),
}


def network_with(*layers: nn.Module) -> SpikingNetwork:
    torch.manual_seed(0)
    rest = [nn.Linear(8, 8), LIF(decay=0.9), nn.Linear(8, 3)]
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), LIF(decay=0.9), *layers, *rest)
    network = SpikingNetwork(DirectEncoder(time_steps=4), body).eval().double()
    for layer in body.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data.mul_(4)
    return network


def assert_exact(network: SpikingNetwork) -> None:
    """Compare HART's gradient, weights in the graph and not, with the unrolled one."""
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    expected = torch.autograd.grad(unroll_rate(network, network.encode(x), HART()).square().sum(), x)[0]
    assert expected.abs().max() > 0
    module = GradientRuleModule(network, "hart").eval()
    for logits in (module(x), next(module.attack_samples(x))):
        torch.testing.assert_close(torch.autograd.grad(logits.square().sum(), x)[0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_that_makes_a_layer_nonlinear_is_noticed(change, monkeypatch):
    monkeypatch.setattr(Switch, "slope", 1.0)
    layer = Switch()
    network = network_with(layer)
    assert_exact(network)
    change(layer)
    with pytest.warns(InexactReplayWarning, match=r"layers behind body\.2"):
        assert_exact(network)


@pytest.mark.parametrize(
    ("layers", "change"),
    [
        ([nn.PReLU(init=1.0)], lambda prelu: prelu.weight.data.fill_(0.25)),
        ([nn.LeakyReLU(1.0)], lambda leaky: setattr(leaky, "negative_slope", 0.1)),
        ([nn.Linear(8, 8), nn.ReLU()], lambda linear: nn.init.normal_(linear.weight)),
    ],
    ids=["prelu", "leaky relu", "weights before a relu"],
)
def test_weights_and_settings_of_torchs_layers_are_noticed(layers, change):
    network = network_with(*layers)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.ones_(layer.bias)
    x = torch.rand(5, 4, dtype=torch.float64).requires_grad_()
    GradientRuleModule(network, "hart").eval()(x)
    change(layers[0])
    with pytest.warns(InexactReplayWarning):
        assert_exact(network)


def test_what_is_affine_with_any_weights_is_tried_once(monkeypatch):
    calls = []
    trial = linearity._trial
    monkeypatch.setattr(linearity, "_trial", lambda *args: calls.append(1) or trial(*args))
    network = network_with(nn.Linear(8, 8), nn.Dropout(0.5))
    module = GradientRuleModule(network, "hart").eval()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        x = torch.rand(2, 4, dtype=torch.float64).requires_grad_()
        module(x).sum().backward()
        optimizer.step()
    assert len(calls) == 1
    for make in (vgg_small, resnet17):
        network = make(time_steps=2).eval()
        assert weights(network) is None
        assert structure(network) == structure(network)
        assert structure(network) != structure(network.train())


def test_what_is_not_known_to_be_affine_counts():
    affine = [nn.Conv2d(1, 1, 3), nn.BatchNorm1d(3), nn.AvgPool2d(2), nn.Dropout(), LIF(), nn.ZeroPad2d(1)]
    others = [nn.ReLU(), nn.PReLU(), nn.MaxPool2d(2), nn.LayerNorm(3), Switch(), nn.LSTM(2, 2), nn.InstanceNorm2d(3)]
    others += [nn.BatchNorm1d(3, track_running_stats=False), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))]
    assert all(is_affine(layer.eval()) for layer in affine)
    assert not any(is_affine(layer.eval()) for layer in others)
    assert not is_affine(nn.Dropout().train())
    hooked = nn.Linear(2, 2).eval()
    hooked.register_forward_pre_hook(lambda module, args: None)
    assert not is_affine(hooked)
