"""Neurons as research code writes them: one class with T inside, on merged sequences."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import nn

from art_snn import GradientRuleModule, UnsupportedModelError, adapt, rule_names
from art_snn.adapters import register_neuron, unregister_neuron
from art_snn.snn import readers
from art_snn.snn.readers import read
from tests.adapters.nodes import Surrogate
from tests.adapters.truth import TOLERANCES, Equation, Layer, true_gradient


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    monkeypatch.setattr("art_snn.adapters.registered._REGISTERED", {})


class LIFSpike(nn.Module):
    """Takes (T*N, ...); T is set afterwards, and 0 is none."""

    def __init__(self, T=0, thresh=1.0, tau=0.9):
        super().__init__()
        self.T, self.thresh, self.tau = T, thresh, tau

    def forward(self, x):
        steps = x.unflatten(0, (self.T, -1))
        mem, spikes = 0.0, []
        for t in range(self.T):
            mem = mem * self.tau + steps[t]
            spike = Surrogate.apply(mem - self.thresh)
            mem = (1 - spike) * mem
            spikes.append(spike)
        return torch.stack(spikes).flatten(0, 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.T = 0
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), LIFSpike(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3), LIFSpike(), nn.Flatten()
        )
        self.last = nn.Linear(16, 10)

    def set_simulation_time(self, T):
        for module in self.modules():
            if isinstance(module, (LIFSpike, Net)):
                module.T = T

    def forward(self, x):
        x = x.unsqueeze(0).repeat(self.T, 1, 1, 1, 1).flatten(0, 1)
        return self.last(self.layers(x)).unflatten(0, (self.T, -1)).mean(0)


FIELDS = {"decay": "tau", "threshold": "thresh"}
register = partial(register_neuron, LIFSpike, FIELDS, layout="T*N", time_steps="T")


class Explicit(Equation):
    decay = 0.9

    def __init__(self):
        self.mem = torch.zeros(()).double()

    def charge(self, current):
        return self.mem * 0.9 + current

    def reset(self, membrane, spikes):
        self.mem = (1 - spikes) * membrane


def stand_in(module, rule):
    if not isinstance(module, LIFSpike):
        return None
    layer = Layer(Explicit(), rule)
    return layer, lambda x: torch.stack([layer.step(step) for step in x.unflatten(0, (module.T, -1))]).flatten(0, 1)


@pytest.mark.parametrize("rule", rule_names())
def test_a_network_of_research_code_has_the_gradient_of_its_equation(rule):
    register()
    torch.manual_seed(0)
    net = Net().eval()
    net.set_simulation_time(5)
    for module in net.layers:
        if isinstance(module, nn.Conv2d):
            module.weight.data *= 4
    x, v = torch.rand(3, 1, 8, 8), torch.randn(3, 10)
    truth = true_gradient(copy.deepcopy(net).double(), lambda net, x: net(x), x.double(), v.double(), rule, stand_in)
    leaf = x.clone().requires_grad_()
    model = GradientRuleModule(adapt(net), rule).eval()
    found = torch.autograd.grad((model(leaf) * v).sum(), leaf)[0].double()
    assert truth.abs().max() > 0
    assert (found - truth).abs().max() <= TOLERANCES[rule] * truth.abs().max()


@pytest.mark.parametrize("shared", [True, False], ids=["one module", "a module each"])
def test_threads_have_the_gradients_of_one_alone(shared):
    register()
    torch.manual_seed(0)
    net = Net().eval()
    net.set_simulation_time(4)
    x = torch.rand(2, 1, 8, 8)
    one = GradientRuleModule(adapt(net)).eval()

    def gradient(module):
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(module(leaf).sum(), leaf)[0]

    expected = gradient(one)
    with ThreadPoolExecutor(2) as threads:
        modules = [one if shared else GradientRuleModule(adapt(net)).eval() for _ in range(12)]
        assert all(torch.equal(found, expected) for found in threads.map(gradient, modules))


def test_parameters_are_looked_up_anew_and_forgotten():
    register()
    node = LIFSpike(T=4)
    assert read(node).params.decay == 0.9
    node.tau = 0.5
    assert read(node).params.decay == 0.5
    unregister_neuron(LIFSpike)
    assert read(node) is None
    with pytest.raises(UnsupportedModelError, match="no spiking layer"):
        adapt(nn.Sequential(node))


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"threshold": "thresh"}, r"in \d+\.\d% of all steps"),
        (FIELDS | {"reset": "soft"}, "with reset='hard', 0.0% would"),
        (FIELDS | {"strict": True}, "with strict=False, 0.0% would"),
    ],
)
def test_what_is_said_wrong_of_a_neuron_is_found(fields, hint):
    with pytest.raises(ValueError, match=f"LIFSpike fires otherwise than its parameters say.*{hint}"):
        register_neuron(LIFSpike, fields, layout="T*N", time_steps="T")
    assert read(LIFSpike(T=4)) is None


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"cls": 3}, TypeError, "must derive from torch.nn.Module"),
        ({"params": {"leak": 0.5}}, ValueError, "'leak' is no parameter"),
        ({"layout": "T N C"}, ValueError, "layout"),
        ({"time_steps": None}, ValueError, r"layout 'T\*N' needs time_steps"),
        ({"layout": "T N"}, ValueError, "time_steps is for merged sequences"),
        ({"example": nn.ReLU()}, TypeError, "example must be a LIFSpike, got ReLU"),
        ({"params": {"decay": "taw"}}, ValueError, "has no attribute 'taw'"),
        ({"params": None}, TypeError, "params must be a dictionary .* got None"),
        ({"params": lambda module: 0.9}, TypeError, "params must be a dictionary .* got 0.9"),
        ({"time_steps": "steps"}, ValueError, "has no attribute 'steps'"),
        ({"params": {"reset": "gone"}}, ValueError, "reset"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, error, text):
    whole = {"cls": LIFSpike, "params": FIELDS, "layout": "T*N", "time_steps": "T"} | arguments
    with pytest.raises(error, match=text):
        register_neuron(**whole)


class Needs(LIFSpike):
    def __init__(self, thresh):
        super().__init__(4, thresh)


def test_an_example_stands_for_a_class_that_cannot_be_made():
    with pytest.raises(TypeError, match=r"Needs\(\) cannot be made"):
        register_neuron(Needs, FIELDS, layout="T*N", time_steps="T")
    register_neuron(Needs, FIELDS, layout="T*N", time_steps="T", example=Needs(0.5))
    assert read(Needs(0.25)).params.threshold == 0.25


class Other(LIFSpike):
    def forward(self, x):
        return super().forward(2 * x)


def test_a_derived_class_with_a_forward_of_its_own_is_refused():
    register()
    with pytest.raises(UnsupportedModelError, match=r"is Other, which derives from .*LIFSpike and changes forward"):
        adapt(nn.Sequential(nn.Linear(4, 4), Other(4)))


@pytest.mark.parametrize("order", [(LIFSpike, Other), (Other, LIFSpike)])
def test_of_several_registered_classes_the_most_derived_one_counts(order):
    for cls in order:
        fields = FIELDS | ({"c": 2.0} if cls is Other else {})
        register_neuron(cls, fields, layout="T*N", time_steps="T")
    assert (read(LIFSpike(4)).params.c, read(Other(4)).params.c) == (1.0, 2.0)


class Channels(LIFSpike):
    """With a threshold for each channel."""

    def __init__(self, shape, T=0):
        super().__init__(T)
        self.thresh = nn.Parameter(torch.tensor([0.5, 1.0, 2.0]).view(shape))


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
def test_thresholds_of_channels(shape):
    register_neuron(Channels, FIELDS, layout="T*N", time_steps="T", example=Channels(shape))
    assert read(Channels(shape, 4)).params.threshold.shape == shape
    with pytest.raises(ValueError, match="fires otherwise"):
        register_neuron(Channels, FIELDS | {"decay": 0.5}, layout="T*N", time_steps="T", example=Channels(shape))


class Inner(LIFSpike):
    """Keeps T in a module inside, too, as the papers' code does."""

    def __init__(self, T=0):
        super().__init__(T)
        self.inside = LIFSpike(T)

    def forward(self, x):
        return self.inside(x)


class Fails(LIFSpike):
    def forward(self, x):
        raise RuntimeError("no CUDA")


@pytest.mark.parametrize(
    ("cls", "layout", "time_steps"), [(Inner, "T*N", "T"), (Fails, "T*N", "T"), (Fails, "N", None)]
)
def test_an_example_that_cannot_run_is_said_to_be_one(cls, layout, time_steps):
    with pytest.raises(ValueError, match=rf"{cls.__name__} cannot be run on currents .*give the layout .* example="):
        register_neuron(cls, FIELDS, layout=layout, time_steps=time_steps)
    if cls is Inner:
        register_neuron(cls, FIELDS, layout=layout, time_steps=time_steps, example=Inner(4))


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_thresholds_have_to_be_above_0(threshold):
    with pytest.raises(UnsupportedModelError, match="threshold="):
        register_neuron(LIFSpike, FIELDS, layout="T*N", time_steps="T", example=LIFSpike(4, threshold))


class Step(nn.Module):
    """Takes single steps, and keeps its state in itself."""

    def __init__(self):
        super().__init__()
        self.mem = 0.0

    def forward(self, x):
        self.mem = 0.5 * self.mem + x
        spike = (self.mem > 1).float()
        self.mem = self.mem - spike
        return spike


class Batched(nn.Module):
    """Takes (N, T, ...)."""

    def forward(self, x):
        step = Step()
        return torch.stack([step(x[:, t]) for t in range(x.shape[1])], 1)


@pytest.mark.parametrize(("cls", "layout"), [(Step, "N"), (Batched, "N T")])
def test_other_layouts(cls, layout):
    register_neuron(cls, {"decay": 0.5, "reset": "soft", "strict": True}, layout=layout)
    assert read(cls()).layout.axes == layout
    with pytest.raises(ValueError, match="fires otherwise"):
        register_neuron(cls, {"decay": 0.25, "reset": "soft", "strict": True}, layout=layout)
