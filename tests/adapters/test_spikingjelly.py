"""SpikingJelly's networks, as its tutorials and model zoo build them."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import GradientRuleModule, PyTorchSNNClassifier, adapt, rule_names
from art_snn.snn.readers import read
from tests.adapters.jelly import (
    CLOCK_DRIVEN,
    JIT,
    MODES,
    functional,
    layer,
    make_neuron,
    neuron,
    sew_resnet,
    spiking_resnet,
    spiking_vgg,
    surrogate,
)
from tests.adapters.truth import TOLERANCES, Equation, Layer, true_gradient

pytestmark = JIT


class Node(Equation):
    """IF and LIF, as SpikingJelly writes their charge."""

    def __init__(self, node) -> None:
        self.node, self.theta = node, node.v_threshold
        self.rest = node.v_reset or 0.0
        self.v = torch.tensor(self.rest, dtype=torch.float64)
        if "LIF" in type(node).__name__:
            self.tau = node.tau if hasattr(node, "tau") else 1 / float(node.w.detach().sigmoid())
            self.decay, self.d = 1 - 1 / self.tau, self.rest / self.tau
            self.c = 1 / self.tau if node.decay_input else 1.0

    def charge(self, current):
        if "LIF" not in type(self.node).__name__:
            return self.v + current
        if self.node.decay_input:
            return self.v + (current - (self.v - self.rest)) / self.tau
        return self.v - (self.v - self.rest) / self.tau + current

    def reset(self, membrane, spikes):
        if self.node.v_reset is None:
            self.v = membrane - spikes * self.theta
        else:
            self.v = (1 - spikes) * membrane + spikes * self.rest


def stand_in(module, rule):
    if not isinstance(module, neuron.BaseNode):
        return None
    stepped = Layer(Node(module), rule)
    if read(module).layout.axes == "N":
        return stepped, stepped.step
    return stepped, lambda x_seq: torch.stack([stepped.step(x) for x in x_seq])


def lively(net: nn.Module, factor: float) -> nn.Module:
    """Scale weights so that neurons fire, and give batch norms statistics."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=factor / module.weight[0].numel() ** 0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


class CSNN(nn.Module):
    """The convolutional network of the tutorials: max-pooling, T inside, ends in spikes."""

    def __init__(self, mode: str, kind: str = "IFNode", time_steps: int = 4) -> None:
        super().__init__()
        self.time_steps, self.mode = time_steps, mode
        options = {"surrogate_function": surrogate.ATan()}

        def node():
            return make_neuron(kind, mode, **options)

        # In several steps, layers of clock_driven are put into containers.
        wrap = layer.SeqToANNContainer if mode == "multi" else nn.Sequential
        self.conv = nn.Sequential(
            wrap(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
            node(),
            wrap(nn.MaxPool2d(2, 2)),
            wrap(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
            node(),
            wrap(nn.MaxPool2d(2, 2), nn.Flatten()),
        )
        self.fc = nn.Sequential(wrap(nn.Linear(16, 16)), node(), wrap(nn.Linear(16, 10)), node())

    def forward(self, x):
        if self.mode == "multi":
            return self.fc(self.conv(x.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1))).mean(0)
        return sum(self.fc(self.conv(x)) for _ in range(self.time_steps)) / self.time_steps


def residual_net(builder: str) -> nn.Module:
    """A network of the model zoo on sequences (T, N, ...)."""
    options = {"surrogate_function": surrogate.ATan(), "detach_reset": True, "num_classes": 10}
    if builder == "sew_resnet":
        net = sew_resnet.sew_resnet18(spiking_neuron=neuron.IFNode, cnf="ADD", **options)
    elif builder == "spiking_resnet":
        net = spiking_resnet.spiking_resnet18(spiking_neuron=neuron.LIFNode, **options)
    else:
        net = spiking_vgg.spiking_vgg11_bn(spiking_neuron=neuron.IFNode, **options)
    functional.set_step_mode(net, "m")
    return net


SMALL = [(f"csnn {mode} {kind}", partial(CSNN, mode, kind), 2.0) for mode in MODES for kind in ("IFNode", "LIFNode")]
X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
V = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))


def whole(net, x):
    return net(x)


def gradient(network, rule, x, v):
    x = x.clone().requires_grad_()
    return torch.autograd.grad((GradientRuleModule(network, rule).eval()(x) * v).sum(), x)[0]


def assert_near(found, expected, rule):
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() <= TOLERANCES[rule] * expected.abs().max()


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize(("make", "factor"), [case[1:] for case in SMALL], ids=[case[0] for case in SMALL])
def test_a_network_of_the_tutorials(make, factor, rule):
    net = lively(make(), factor)
    truth = true_gradient(copy.deepcopy(net).double(), whole, X.double(), V.double(), rule, stand_in)
    network = adapt(net)
    with torch.no_grad():
        expected = net(X)
    functional.reset_net(net)
    assert torch.equal(network(X), expected)
    assert expected.std() > 0
    assert_near(gradient(network, rule, X, V).double(), truth, rule)


@pytest.mark.skipif(CLOCK_DRIVEN, reason="its builders take other arguments")
@pytest.mark.slow
@pytest.mark.parametrize("rule", ["hart", "stbp"])
@pytest.mark.parametrize("builder", ["sew_resnet", "spiking_resnet", "spiking_vgg"])
def test_a_network_of_the_model_zoo(builder, rule):
    net = lively(residual_net(builder), 2.0)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    v = V[:2]
    read_out = partial(_over_time, steps=2)
    truth = true_gradient(copy.deepcopy(net).double(), read_out, x.double(), v.double(), rule, stand_in)
    network = adapt(net, time_steps=2)
    with torch.no_grad():
        expected = read_out(net, x)
    functional.reset_net(net)
    assert torch.equal(network(x), expected)
    assert "sequences (T, N, ...), T=2" in repr(network)
    assert_near(gradient(network, rule, x, v).double(), truth, rule)


def _over_time(net, x, steps):
    return net(x.unsqueeze(0).repeat(steps, 1, 1, 1, 1)).mean(0)


@pytest.mark.parametrize("mode", MODES)
def test_event_frames(mode):
    wrap = layer.SeqToANNContainer if mode == "multi" else nn.Sequential
    net = nn.Sequential(
        wrap(nn.Conv2d(2, 4, 3)), make_neuron("LIFNode", mode), wrap(nn.Flatten(), nn.Linear(4 * 36, 10))
    )
    lively(net, 3.0)
    frames = torch.rand(3, 5, 2, 8, 8, generator=torch.Generator().manual_seed(6))

    def read_out(net, x):
        x_seq = x.transpose(0, 1)
        return (net(x_seq) if mode == "multi" else torch.stack([net(x) for x in x_seq])).mean(0)

    network = adapt(net, frames=True)
    truth = true_gradient(copy.deepcopy(net).double(), read_out, frames.double(), V.double(), "stbp", stand_in)
    assert_near(gradient(network, "stbp", frames, V).double(), truth, "stbp")
    truth = true_gradient(copy.deepcopy(net).double(), read_out, frames.double(), V.double(), "hart", stand_in)
    assert_near(gradient(network, "hart", frames, V).double(), truth, "hart")


def test_a_gradient_leaves_the_states_of_the_model_alone_and_training_moves_its_weights():
    net = lively(CSNN(MODES[-1]), 2.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    classifier = PyTorchSNNClassifier(
        net, nn.CrossEntropyLoss(), (1, 8, 8), 10, optimizer, clip_values=(0, 1), device_type="cpu"
    )
    classifier.loss_gradient(X.numpy(), np.arange(3))
    assert all(
        not isinstance(value, torch.Tensor)
        for module in net.modules()
        if isinstance(module, neuron.BaseNode)
        for value in [module.v]
    )
    before = net.fc[0].state_dict()["0.weight"].clone()
    classifier.fit(X.numpy(), np.arange(3), nb_epochs=2, batch_size=3)
    assert not torch.equal(net.fc[0].state_dict()["0.weight"], before)
