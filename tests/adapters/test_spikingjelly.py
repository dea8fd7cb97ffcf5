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
    parametric_lif_net,
    sew_resnet,
    spiking_resnet,
    spiking_vgg,
    surrogate,
)
from tests.adapters.truth import TOLERANCES, Equation, Layer, true_gradient

pytestmark = JIT


class Node(Equation):
    """IF, LIF and CUBA LIF, as SpikingJelly writes their charge."""

    def __init__(self, node) -> None:
        self.node, self.theta = node, node.v_threshold
        self.rest = node.v_reset or 0.0
        self.v = torch.tensor(self.rest, dtype=torch.float64)
        self.kind = type(node).__name__
        if self.kind == "CUBALIFNode":
            self.alpha, self.decay, self.i = node.c_decay, node.v_decay, 0.0
        elif "LIF" in self.kind:
            self.tau = node.tau if hasattr(node, "tau") else 1 / float(node.w.detach().sigmoid())
            self.decay, self.d = 1 - 1 / self.tau, self.rest / self.tau
            self.c = 1 / self.tau if node.decay_input else 1.0

    def charge(self, current):
        if self.kind == "CUBALIFNode":
            self.i = self.alpha * self.i + current
            return self.decay * self.v + self.i
        if "LIF" not in self.kind:
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

    def __init__(self, mode: str, kind: str = "IFNode", *, time_steps: int = 4, **options) -> None:
        super().__init__()
        self.time_steps, self.mode = time_steps, mode
        options = {"surrogate_function": surrogate.ATan(), **options}

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


class Voting(nn.Module):
    """An MLP that steps through time, and resets itself; some neurons vote for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 32),
            make_neuron("LIFNode", "single", tau=3.0),
            nn.Linear(32, 40),
            make_neuron("ParametricLIFNode", "single", v_reset=None),
        )
        self.vote = nn.AvgPool1d(4, 4) if CLOCK_DRIVEN else layer.VotingLayer(4)

    def forward(self, x):
        functional.reset_net(self)
        rates = sum(self.layers(x) for _ in range(5)) / 5
        return self.vote(rates.unsqueeze(1)).squeeze(1) if CLOCK_DRIVEN else self.vote(rates)


REST = {"v_reset": -0.25, "v_threshold": 0.75, "decay_input": False}
SMALL = [(f"csnn {mode} {kind}", partial(CSNN, mode, kind), 2.0) for mode in MODES for kind in ("IFNode", "LIFNode")]
SMALL += [(f"csnn {mode} rest", partial(CSNN, mode, "ParametricLIFNode", **REST), 2.0) for mode in MODES]
SMALL += [("voting mlp", Voting, 3.0)]
if hasattr(neuron, "CUBALIFNode"):
    CUBA = {"v_threshold": 1.0, "surrogate_function": surrogate.Rect()}
    SMALL += [(f"csnn {mode} CUBALIFNode", partial(CSNN, mode, "CUBALIFNode", **CUBA), 1.5) for mode in MODES]

X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
V = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))


@pytest.fixture(autouse=True)
def seeded():
    """Networks are the same in every order of tests; with other weights a last spiking layer may be silent."""
    torch.manual_seed(0)


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


def _over_time(net, x, steps):
    return net(x.unsqueeze(0).repeat(steps, 1, 1, 1, 1)).mean(0)


def zoo_net(builder: str) -> nn.Module:
    """A network of the model zoo on sequences (T, N, ...)."""
    if CLOCK_DRIVEN:
        options = {"multi_step_neuron": neuron.MultiStepIFNode}
    else:
        options = {"spiking_neuron": neuron.LIFNode if builder == "spiking_resnet18" else neuron.IFNode}
    options |= {"surrogate_function": surrogate.ATan(), "num_classes": 10}
    options |= {"cnf": "ADD"} if builder == "sew_resnet18" else {"v_threshold": 0.5}
    package = sew_resnet if "sew" in builder else spiking_vgg if "vgg" in builder else spiking_resnet
    net = getattr(package, f"multi_step_{builder}" if CLOCK_DRIVEN else builder)(**options)
    if not CLOCK_DRIVEN:
        functional.set_step_mode(net, "m")
    return net


@pytest.mark.slow
@pytest.mark.parametrize(
    ("builder", "rule"),
    [
        *(("sew_resnet18", rule) for rule in rule_names()),
        *(("spiking_resnet18", rule) for rule in rule_names()),
        *(("spiking_vgg11_bn", rule) for rule in ("hart", "stbp")),
    ],
)
def test_a_network_of_the_model_zoo(builder, rule):
    net = lively(zoo_net(builder), 2.0)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    read_out = partial(_over_time, steps=2)
    truth = true_gradient(copy.deepcopy(net).double(), read_out, x.double(), V[:2].double(), rule, stand_in)
    network = adapt(net, time_steps=2)
    with torch.no_grad():
        expected = read_out(net, x)
    functional.reset_net(net)
    assert torch.equal(network(x), expected)
    assert "sequences (T, N, ...), T=2" in repr(network)
    assert_near(gradient(network, rule, x, V[:2]).double(), truth, rule)


@pytest.mark.parametrize("rule", ["hart", "stbp", "rate"])
def test_the_parametric_lif_net_on_event_frames(rule):
    """With max-pooling, dropout and votes."""
    made = getattr(parametric_lif_net, "MultiStepNMNISTNet" if CLOCK_DRIVEN else "NMNISTNet")
    kind = neuron.MultiStepParametricLIFNode if CLOCK_DRIVEN else neuron.ParametricLIFNode
    net = made(4, kind, surrogate_function=surrogate.ATan(), v_threshold=0.5)
    if not CLOCK_DRIVEN:
        functional.set_step_mode(net, "m")
    lively(net, 4.0)
    frames = torch.randint(0, 3, (3, 4, 2, 34, 34), generator=torch.Generator().manual_seed(7)).float()

    def read_out(net, x):
        return net(x.transpose(0, 1)).mean(0)

    network = adapt(net, frames=True)
    truth = true_gradient(copy.deepcopy(net).double(), read_out, frames.double(), V.double(), rule, stand_in)
    assert_near(gradient(network, rule, frames, V).double(), truth, rule)


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
