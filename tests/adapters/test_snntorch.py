"""snnTorch's neurons and networks, as its tutorials build them."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import GradientRuleModule, PyTorchSNNClassifier, UnsupportedModelError, adapt, get_rule, rule_names
from art_snn.engine.recording import Neurons
from art_snn.rules.base import TemporalRule
from art_snn.snn.readers import read
from tests.adapters.truth import TOLERANCES, Equation, Layer, true_gradient

pytest.importorskip("snntorch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import snntorch as snn
    from snntorch import surrogate, utils

    from tests.adapters.snntorch_networks import FullyConnected, potential_sum, spike_sum

STEPS = 6
LEAKY = [{"beta": beta, "reset_mechanism": reset} for beta in (0.5, 0.9, 1.0) for reset in ("subtract", "zero", "none")]
NEURONS = [(snn.Leaky, options) for options in LEAKY]
NEURONS += [(snn.Leaky, {"beta": torch.rand(50), "threshold": 0.75, "graded_spikes_factor": 2.0})]
NEURONS += [
    (snn.Synaptic, {"alpha": 0.8, "beta": 0.9}),
    (snn.Lapicque, {"beta": 0.9, "threshold": 0.1}),
    (snn.Lapicque, {"R": 2.0, "C": 3.0}),
]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("kind", "options"), NEURONS)
def test_spikes_and_potentials_of_a_neuron_are_the_librarys(kind, options, tied):
    generator = torch.Generator().manual_seed(0)
    currents = torch.randn(8, 40, 50, generator=generator) + 0.3
    if tied:
        currents = torch.randint(-2, 4, (8, 40, 50), generator=generator) / 2
    neuron = kind(**options, init_hidden=True).eval()
    neuron.reset_mem()
    with torch.no_grad():
        expected = torch.stack([neuron(current) for current in currents])
    assert 0.02 < (expected > 0).float().mean() < 0.98
    stepped = Neurons(read(neuron).params)
    assert torch.equal(stepped(currents) * neuron.graded_spikes_factor, expected)
    torch.testing.assert_close(stepped.state.potential, neuron.mem)


class Leaky(Equation):
    """Leaky and Synaptic, as snnTorch steps them: what a spike resets is reset in the next step."""

    strict = True

    def __init__(self, neuron) -> None:
        self.neuron, self.theta = neuron, float(neuron.threshold)
        self.decay = float(neuron.beta.clamp(0, 1))
        self.alpha = float(neuron.alpha) if hasattr(neuron, "alpha") else 0.0
        self.mem, self.syn, self.spikes = torch.zeros(()).double(), 0.0, torch.zeros(()).double()

    def charge(self, current):
        self.syn = self.alpha * self.syn + current
        if self.neuron.reset_mechanism == "zero":
            return self.decay * (1 - self.spikes) * self.mem + self.syn
        taken = self.spikes * self.theta if self.neuron.reset_mechanism == "subtract" else 0.0
        return self.decay * self.mem + self.syn - taken

    def reset(self, membrane, spikes):
        self.mem, self.spikes = membrane, spikes


def stand_in(module, rule):
    if not isinstance(module, snn.SpikingNeuron):
        return None
    layer = Layer(Leaky(module), rule)
    layer.started = False

    def call(current, *states):
        if not layer.started and states and states[-1].numel():
            layer.equation.mem = states[-1].detach()
        layer.started = True
        if rule == "cba" and not module.init_hidden:
            layer.equation.mem = layer.equation.decay * layer.equation.mem + current
        spikes = layer.step(current) * module.graded_spikes_factor
        if module.init_hidden and not module.output:
            return spikes
        equation = layer.equation
        return (spikes, equation.syn, equation.mem) if isinstance(module, snn.Synaptic) else (spikes, equation.mem)

    return layer, call


class Started(FullyConnected):
    """Potentials that begin at values that are learned."""

    def __init__(self) -> None:
        super().__init__(time_steps=STEPS)
        generator = torch.Generator().manual_seed(5)
        self.start1, self.start2 = (nn.Parameter(torch.rand(size, generator=generator)) for size in (30, 10))

    def begin(self, x):
        return self.start1.expand(len(x), -1), self.start2.expand(len(x), -1)


def fully_connected(**options) -> FullyConnected:
    return FullyConnected(time_steps=STEPS, **options)


class Currents(nn.Module):
    """Second-order neurons, whose synaptic current goes in and out, too."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 30), snn.Synaptic(alpha=0.6, beta=0.8)
        self.fc2, self.lif2 = nn.Linear(30, 10), snn.Synaptic(alpha=0.6, beta=0.8)

    def forward(self, x):
        (syn1, mem1), (syn2, mem2), total = self.lif1.init_synaptic(), self.lif2.init_synaptic(), 0
        for _ in range(STEPS):
            spk1, syn1, mem1 = self.lif1(self.fc1(x), syn1, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            total = total + spk2
        return total


def convolutional(**options) -> nn.Sequential:
    """Tutorial 6: layers that keep their state, and a loop outside."""
    options = {"beta": 0.5, "spike_grad": surrogate.fast_sigmoid(slope=25), "init_hidden": True} | options
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.MaxPool2d(2),
        snn.Leaky(**options),
        nn.Conv2d(6, 8, 2),
        snn.Leaky(**options),
        nn.Flatten(),
        nn.Linear(32, 10),
        snn.Leaky(**options, output=True),
    )


def forward_pass(net, x):
    utils.reset(net)
    return torch.stack([net(x)[0] for _ in range(STEPS)]).sum(0)


def two_classes(net, x):
    return spike_sum(net, x).unflatten(1, (2, 5)).sum(2).repeat(1, 5)


def currents(net, x):
    return net(x.flatten(1))


CASES = {
    "fully connected, spikes": (fully_connected, spike_sum, 2.5),
    "fully connected, potentials": (fully_connected, potential_sum, 2.5),
    "reset to zero, potentials": (lambda: fully_connected(reset_mechanism="zero"), potential_sum, 2.5),
    "learned start, spikes": (Started, spike_sum, 2.5),
    "learned start, potentials": (Started, potential_sum, 2.5),
    "no reset, potentials": (lambda: fully_connected(reset_mechanism="none"), potential_sum, 1.0),
    "convolutional": (convolutional, forward_pass, 3.0),
    "graded spikes": (lambda: convolutional(graded_spikes_factor=1.5), forward_pass, 3.0),
    "population": (fully_connected, two_classes, 2.5),
    "synaptic": (Currents, currents, 1.5),
}
X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
V = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))


def lively(net, factor):
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=factor / module.weight[0].numel() ** 0.5)
    return net.eval()


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize("name", CASES)
def test_a_network_of_the_tutorials(name, rule):
    make, forward, factor = CASES[name]
    net = lively(make(), factor)
    truth = true_gradient(copy.deepcopy(net).double(), forward, X.double(), V.double(), rule, stand_in)
    network = adapt(net, forward)
    with torch.no_grad():
        expected = forward(net, X)
    assert torch.equal(network(X), expected)
    assert expected.std() > 0
    x = X.clone().requires_grad_()
    found = torch.autograd.grad((GradientRuleModule(network, rule).eval()(x) * V).sum(), x)[0].double()
    assert truth.abs().max() > 0
    assert (found - truth).abs().max() <= TOLERANCES[rule] * truth.abs().max()


def test_time_steps_run_a_model_that_keeps_its_state():
    net = lively(convolutional(), 3.0)
    network = adapt(net, time_steps=STEPS, readout="sum")
    assert torch.equal(network(X), forward_pass(net, X))
    assert "single steps (N, ...), T=6" in repr(network)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: snn.RLeaky(beta=0.9, linear_features=4), "is snnTorch's RLeaky, which this version cannot"),
        (lambda: snn.LeakyParallel(4, 4), "is snnTorch's LeakyParallel, which this version cannot"),
        (lambda: snn.Alpha(alpha=0.9, beta=0.8), "is snnTorch's Alpha, which this version cannot"),
        (lambda: snn.Leaky(beta=0.9, state_quant=lambda mem: mem), "Leaky with state_quant="),
        (lambda: snn.Leaky(beta=0.9, reset_delay=False), "Leaky with reset_delay=False"),
        (lambda: snn.Synaptic(alpha=0.9, beta=0.8, reset_mechanism="zero"), "Synaptic with reset_mechanism='zero'"),
        (lambda: snn.Lapicque(beta=0.8, reset_mechanism="zero"), "Lapicque with reset_mechanism='zero'"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(make, reason):
    with pytest.raises(UnsupportedModelError, match=f"1 .*{reason}"):
        adapt(nn.Sequential(nn.Linear(4, 4), make()))


def test_the_synaptic_of_versions_before_1_is_refused_where_states_come_in(monkeypatch):
    monkeypatch.setattr("snntorch.__version__", "0.9.1", raising=False)
    assert read(snn.Synaptic(alpha=0.9, beta=0.8, init_hidden=True)) is not None
    with pytest.raises(UnsupportedModelError, match=r"is snnTorch 0\.9\.1's Synaptic with states that come in"):
        adapt(nn.Sequential(nn.Linear(4, 4), snn.Synaptic(alpha=0.9, beta=0.8)))


@pytest.mark.parametrize("version", ["0.6.4", "0.7.0"])
def test_versions_before_0_8_are_refused_by_name(monkeypatch, version):
    monkeypatch.setattr("snntorch.__version__", version, raising=False)
    with pytest.raises(UnsupportedModelError, match=f"1 is of snnTorch {version}, .*install version 1.0"):
        adapt(nn.Sequential(nn.Linear(4, 4), snn.Leaky(beta=0.9)))


@pytest.mark.parametrize("version", ["0.8.1", "0.9.1", "0.10.0"])
def test_versions_from_0_8_on_are_taken(monkeypatch, version):
    monkeypatch.setattr("snntorch.__version__", version, raising=False)
    assert read(snn.Leaky(beta=0.9)) is not None


class Renamed(snn.Leaky):
    pass


class Changed(snn.Leaky):
    def fire(self, mem):
        return super().fire(2 * mem)


def test_derived_neurons_are_their_parents_or_refused():
    assert read(Renamed(beta=0.9)).params == read(snn.Leaky(beta=0.9)).params
    with pytest.raises(UnsupportedModelError, match="is Changed, which derives from snnTorch's Leaky and changes fire"):
        read(Changed(beta=0.9))


def test_outputs_that_are_no_logits_come_with_the_line_to_write():
    with pytest.raises(UnsupportedModelError, match=r"2 outputs, .*model\(x\)\[0\].sum\(0\)"):
        PyTorchSNNClassifier(
            adapt(fully_connected(), lambda net, x: net(x.flatten(1))), nn.CrossEntropyLoss(), (1, 8, 8), 10
        )


def test_training_moves_the_weights_and_a_gradient_leaves_states_alone():
    net = lively(fully_connected(), 2.5)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    classifier = PyTorchSNNClassifier(
        adapt(net, spike_sum), nn.CrossEntropyLoss(), (1, 8, 8), 10, optimizer, clip_values=(0, 1), device_type="cpu"
    )
    states = [net.lif1.mem.clone(), net.lif2.mem.clone()]
    classifier.loss_gradient(X.numpy(), np.arange(3))
    assert not any(mem.any() for mem in (net.lif1.mem, net.lif2.mem, *states))
    before = net.fc1.weight.detach().clone()
    classifier.fit(X.numpy(), np.arange(3), nb_epochs=2, batch_size=3)
    assert not torch.equal(net.fc1.weight, before)


def test_its_surrogates_can_be_copied_and_not_pickled():
    network = adapt(fully_connected(), spike_sum)
    assert torch.equal(copy.deepcopy(network)(X), network(X))
    with pytest.raises(TypeError, match="the model of an adapted network cannot be pickled"):
        pickle.dumps(network)


@pytest.mark.parametrize("rule", rule_names())
def test_a_learned_start_is_a_constant_for_rate_rules_and_fit_trains_it(rule):
    net = lively(Started(), 2.5)
    module = GradientRuleModule(adapt(net, potential_sum), rule).eval()
    x = X.clone().requires_grad_()
    of_start, of_weight = torch.autograd.grad((module(x) * V).sum(), [net.start1, net.fc1.weight], allow_unused=True)
    assert of_weight.abs().max() > 0
    assert (of_start is not None and of_start.any()) == isinstance(get_rule(rule), TemporalRule)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    classifier = PyTorchSNNClassifier(
        adapt(net, potential_sum),
        nn.CrossEntropyLoss(),
        (1, 8, 8),
        10,
        optimizer,
        device_type="cpu",
        gradient_rule=rule,
    )
    before = [start.detach().clone() for start in (net.start1, net.start2)]
    classifier.fit(X.numpy(), np.arange(3), nb_epochs=1, batch_size=3)
    assert not any(torch.equal(start, old) for start, old in zip((net.start1, net.start2), before, strict=True))


def one_step(net, x):
    return net.lif2(net.fc2(net.lif1(net.fc1(x.flatten(1)), net.lif1.init_leaky())[0]), net.lif2.init_leaky())[0]


def test_one_step_in_a_forward_of_ones_own_is_taken_where_it_is_meant():
    """The tutorial on population coding takes one step."""
    net = lively(fully_connected(), 2.5)
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": (1, 8, 8), "nb_classes": 10, "device_type": "cpu"}
    with pytest.raises(UnsupportedModelError, match="where one step is meant, time_steps=1"):
        PyTorchSNNClassifier(adapt(net, one_step), **options)
    classifier = PyTorchSNNClassifier(adapt(net, one_step, time_steps=1), **options)
    truth = true_gradient(copy.deepcopy(net).double(), one_step, X.double(), V.double(), "hart", stand_in)
    x = X.clone().requires_grad_()
    found = torch.autograd.grad((classifier.model(x) * V).sum(), x)[0]
    assert truth.abs().max() > 0
    assert (found - truth).abs().max() <= TOLERANCES["hart"] * truth.abs().max()
    with pytest.raises(ValueError, match="but for time_steps=1"):
        adapt(net, one_step, time_steps=2)


def test_states_that_come_out_in_a_sequential_are_told_how_to_stay_in():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), snn.Leaky(beta=0.9), nn.Linear(10, 10))
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": (1, 8, 8), "nb_classes": 10, "device_type": "cpu"}
    with pytest.raises(UnsupportedModelError, match="need init_hidden=True"):
        PyTorchSNNClassifier(adapt(net, time_steps=5), **options)
