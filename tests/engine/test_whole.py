from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import (
    LIF,
    GradientRuleModule,
    PoissonEncoder,
    PyTorchSNNClassifier,
    UnsupportedModelError,
    adapt,
    rule_names,
)
from art_snn.adapters import Reading, Steps, register_reader
from art_snn.engine.outputs import output_reasons
from art_snn.engine.whole import whole_reasons
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from tests.adapters import nodes
from tests.adapters.nodes import Loop, Node, StatefulNode, Surrogate

X = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def known(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    register_reader(nodes.read)


def reasons(model, forward=None, nb_classes=3, **options):
    return whole_reasons(adapt(model.eval(), forward, **options), X, nb_classes)


def test_a_network_that_is_right_has_no_reason():
    assert not reasons(Loop())
    assert not reasons(Loop(readout="potentials"))


class Hidden(nn.Module):
    def forward(self, x):
        return Surrogate.apply(x - 0.5)


def test_a_spike_function_that_nobody_reads():
    loop = Loop()
    loop.layers[1] = nn.Sequential(loop.layers[1], Hidden())
    (reason,) = reasons(loop)
    assert "between its neurons lies Surrogate" in reason


def test_one_step_alone_looks_right_and_is_not():
    (reason,) = reasons(Loop(time_steps=1))
    assert "single time-step" in reason
    sequence = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), LIF(), nn.Linear(8, 3))
    (reason,) = reasons(sequence, lambda model, x: model(9 * x))  # the batch is read as time
    assert "depend on the other samples" in reason


def test_a_batch_that_is_read_as_time_is_seen_though_nothing_fires():
    sequence = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), LIF(), nn.Linear(8, 3))
    with torch.no_grad():
        sequence[1].weight.mul_(0.1)
        assert torch.equal(sequence(X), sequence(0 * X))
    (reason,) = reasons(sequence)
    assert "depend on the other samples" in reason


def test_logits_without_a_graph_are_refused():
    (reason,) = reasons(Loop(), lambda model, x: model(x).detach())
    assert "its logits have no graph to its neurons" in reason


def test_a_graph_that_torch_cannot_go_back_through_is_refused():
    def forward(model, x):
        squared = (model(x) * 2).square()
        squared.add_(1)
        root = squared.sqrt()
        root.mul_(2)
        return root

    (reason,) = reasons(Loop(), forward)
    assert "cannot be gone back through" in reason


def test_an_encoder_that_draws_spikes_cuts_the_gradient():
    loop = Loop()
    (reason,) = reasons(loop, lambda model, x: model((torch.rand_like(x) < x).float()))
    assert "encoder that draws spikes" in reason


def test_spikes_that_are_drawn_with_a_gradient_of_zero_are_refused():
    (reason,) = reasons(Loop(), lambda model, x: model(torch.bernoulli(x)))
    assert "spikes are drawn from its input" in reason
    assert not reasons(Loop(), lambda model, x: model(nn.functional.dropout(x, 0.1)))


def test_random_networks_are_known_as_such():
    loop = Loop()
    network = adapt(loop.eval(), lambda model, x: model(x + torch.rand_like(x)))
    assert not whole_reasons(network, X, 3)
    assert network.encoder.random
    steady = adapt(loop)
    assert not whole_reasons(steady, X, 3)
    assert not steady.encoder.random


class Encoded(Loop):
    """A loop over what an encoder makes of the input."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        states, outputs = [x.new_zeros(len(x), 16)] * 2, []
        for step in self.encoder(x):
            first, states[0] = self.nodes[0](self.layers[0](3 * step.flatten(1)), states[0])
            second, states[1] = self.nodes[1](self.layers[1](first), states[1])
            outputs.append(self.layers[2](second))
        return torch.stack(outputs).mean(0)


class Noisy(nn.Module):
    """Add noise from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.source = torch.Generator().manual_seed(3)

    def forward(self, x):
        return (x + 0.1 * torch.randn(x.shape, generator=self.source)).expand(6, *x.shape)


ENCODERS = {"poisson": lambda: PoissonEncoder(time_steps=6), "noise": Noisy}


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_network_that_draws_from_its_own_generator_is_random_and_has_gradients(encoder, rule):
    made = ENCODERS[encoder]()
    (generator,) = (value for value in vars(made).values() if isinstance(value, torch.Generator))
    before = generator.get_state()
    classifier = PyTorchSNNClassifier(
        Encoded(made), nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu", gradient_rule=rule
    )
    assert classifier.model.network.encoder.random
    assert torch.equal(generator.get_state(), before)
    assert classifier.loss_gradient(X.numpy(), np.array([0, 1, 2, 0])).any()
    assert not torch.equal(generator.get_state(), before)
    with classifier.common_random_numbers():
        first, second = (classifier.predict(X.numpy()) for _ in range(2))
    assert np.array_equal(first, second)


class Watched(Loop):
    """Note whether autocast is on."""

    def forward(self, x):
        self.autocast = getattr(self, "autocast", False) or torch.is_autocast_enabled(x.device.type)
        return super().forward(x)


def test_autocast_where_a_classifier_is_built_changes_nothing():
    model = Watched()
    with torch.autocast("cpu"):
        PyTorchSNNClassifier(model, nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu")
        GradientRuleModule(model).eval()(X.clone().requires_grad_())
    assert not model.autocast


class Keeps(Loop):
    """Node that the reader knows and whose state nobody resets."""

    def __init__(self):
        super().__init__()
        self.nodes = nn.ModuleList([StatefulNode(), StatefulNode()])

    def forward(self, x):
        outputs = []
        for _ in range(6):
            spikes = self.nodes[0](self.layers[0](3 * x.flatten(1)))
            outputs.append(self.layers[2](self.nodes[1](self.layers[1](spikes))))
        return torch.stack(outputs).mean(0)


def test_a_state_that_nobody_resets():
    register_reader(
        lambda module: Reading(NeuronParams(decay=0.9), Steps()) if isinstance(module, StatefulNode) else None
    )
    (reason,) = reasons(Keeps())
    assert "keeps a state" in reason

    def anew(model, x):
        for node in model.nodes:
            node.potential = 0.0
        return model(x)

    assert not reasons(Keeps(), anew)


def test_neurons_that_compute_something_else_than_was_read():
    register_reader(
        lambda module: Reading(NeuronParams(decay=0.5), nodes.InAndOut()) if isinstance(module, Node) else None
    )
    readers._READERS.pop(nodes.read)
    (reason,) = reasons(Loop())
    assert "give other logits" in reason


def test_neurons_out_of_the_forward():
    loop = Loop()
    (reason,) = reasons(loop, lambda model, x: model.layers[2](torch.relu(model.layers[0](x.flatten(1)))))
    assert "takes part" in reason


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ((torch.rand(6, 4, 3), torch.rand(6, 4, 3)), r"2 outputs, .*model\(x\)\[0\].sum\(0\)"),
        ((torch.rand(4, 3), None), r"'NoneType'.*model\(x\)\[0\]\)"),
        ({"logits": 0}, "returns a dict"),
        (torch.rand(6, 4, 3), r"shape \(6, 4, 3\).*model\(x\).mean\(0\)"),
        (torch.rand(4, 6, 3), r"model\(x\).mean\(1\)"),
        (torch.rand(4, 30), r"10 a class.*unflatten\(1, \(3, 10\)\).sum\(2\)"),
        (torch.rand(24, 3), "give time_steps=T"),
        (torch.rand(4, 2), "expected logits"),
        (torch.full((4, 3), torch.nan), "NaN"),
        (torch.rand(4, 3).softmax(1), "softmax"),
    ],
)
def test_outputs_that_are_no_logits_come_with_the_line_to_write(outputs, text):
    (reason,) = output_reasons(adapt(Loop()), outputs, 4, 3)
    assert re.search(text, reason)


class Clip(nn.Module):
    """Take event frames (N, T, ...), with the loop over their steps inside."""

    def __init__(self, *, over_steps=False):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(2), nn.Linear(8, 16), LIF(decay=0.9), nn.Linear(16, 3))
        self.over_steps = over_steps

    def forward(self, frames):
        if frames.ndim != 5:
            raise ValueError(f"frames must be (N, T, C, H, W), got {tuple(frames.shape)}")
        out_seq = self.layers(4 * frames.transpose(0, 1))
        return out_seq if self.over_steps else out_seq.mean(0)


FRAMES = torch.rand(4, 5, 2, 2, 2, generator=torch.Generator().manual_seed(2))


def test_a_network_that_takes_frames_itself_comes_with_the_line_that_works():
    line = "art_snn.adapt(model, lambda model, x: model(x), frames=True)"
    for model in (Clip().eval(), Clip(over_steps=True).eval()):
        (reason,) = whole_reasons(adapt(model, frames=True), FRAMES, 3)
        assert "shown sequences (T, N, ...)" in reason
        assert "give time_steps" not in reason
        assert reason.endswith(line)
    network = adapt(Clip().eval(), lambda model, x: model(x), frames=True)
    assert not whole_reasons(network, FRAMES, 3)
    assert network.encoder.frames
    (reason,) = whole_reasons(adapt(model, lambda model, x: model(x), frames=True), FRAMES, 3)
    assert reason.endswith("art_snn.adapt(model, lambda model, x: model(x).mean(0), frames=True)")
    assert "give time_steps" not in reason
    assert not whole_reasons(adapt(model, lambda model, x: model(x).mean(0), frames=True), FRAMES, 3)


def test_a_network_that_fails_on_its_steps_comes_with_the_line_that_works():
    loop = Loop()
    loop.register_forward_pre_hook(lambda module, args: args[0].reshape(-1, 5, 1, 2, 2).mean(1))
    frames = FRAMES[:, :, :1]
    (reason,) = whole_reasons(adapt(loop.eval(), frames=True), frames, 3)
    assert "it fails on inputs" in reason
    assert reason.endswith("art_snn.adapt(model, lambda model, x: model(x), frames=True)")
    assert not whole_reasons(adapt(loop, lambda model, x: model(x), frames=True), frames, 3)
    (reason,) = whole_reasons(adapt(Loop().eval(), time_steps=6, readout=lambda out_seq: out_seq), X, 3)
    assert reason.endswith("if it takes inputs (N, ...) itself, leave time_steps out")


def test_several_outputs_a_class_in_steps_come_with_the_readout_that_works():
    layers = nn.Sequential(nn.Flatten(2), nn.Linear(4, 16), LIF(), nn.Linear(16, 6)).eval()
    (reason,) = whole_reasons(adapt(layers, time_steps=6), X, 3)
    assert reason.endswith("readout=lambda out_seq: out_seq.mean(0).unflatten(1, (3, 2)).sum(2)")
    readout = adapt(layers, time_steps=6, readout=lambda out_seq: out_seq.mean(0).unflatten(1, (3, 2)).sum(2))
    assert not whole_reasons(readout, X, 3)


def test_rates_are_logits():
    assert not output_reasons(adapt(Loop()), torch.tensor([[1.0, 0.0, 0.0]] * 4), 4, 3)


def test_what_fails_is_said_at_the_door():
    with pytest.raises(UnsupportedModelError, match=r"it fails on inputs of shape .*say how: art_snn.adapt") as said:
        PyTorchSNNClassifier(Loop(), nn.CrossEntropyLoss(), (1, 3, 3), 3, device_type="cpu")
    assert "RuntimeError: mat1 and mat2" in str(said.value)
    assert "(T, N, ...)" not in str(said.value)  # which is how networks in parts are written
    with pytest.raises(UnsupportedModelError, match="single time-step"):
        PyTorchSNNClassifier(Loop(time_steps=1), nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu")


def test_a_module_without_a_classifier_is_looked_at_with_its_first_batch():
    model = GradientRuleModule(Loop(time_steps=1)).eval()
    with pytest.raises(UnsupportedModelError, match="single time-step"):
        model(X.clone().requires_grad_())


class Crossed(Loop):
    """The second layer starts each step from a state that is not the one that it returned last."""

    def __init__(self, start):
        super().__init__()
        self.start = start

    def forward(self, x):
        x = 3 * x.flatten(1)
        first_state = second_state = x.new_zeros(len(x), 16)
        outputs, older = [], second_state
        for _ in range(4):
            first, first_state = self.nodes[0](self.layers[0](x), first_state)
            start = {"other": first_state, "older": older, "zeros": x.new_zeros(len(x), 16)}[self.start]
            older = second_state
            second, second_state = self.nodes[1](2 * self.layers[1](first), start)
            outputs.append(self.layers[2](second))
        return torch.stack(outputs).mean(0)


@pytest.mark.parametrize("start", ["other", "older"])
def test_rate_rules_refuse_to_start_a_layer_from_a_state_that_depends_on_the_input(start):
    leaf = X.clone().requires_grad_()
    network = adapt(Crossed(start).eval())
    with pytest.raises(UnsupportedModelError, match="starts from a state of another layer"):
        GradientRuleModule(network, "hart").eval()(leaf)
    logits = GradientRuleModule(network, "stbp").eval()(leaf)
    assert torch.autograd.grad(logits.sum(), leaf)[0].abs().sum() > 0


def test_rate_rules_start_a_layer_from_zeros():
    leaf = X.clone().requires_grad_()
    logits = GradientRuleModule(adapt(Crossed("zeros").eval()), "hart").eval()(leaf)
    assert torch.isfinite(torch.autograd.grad(logits.sum(), leaf)[0]).all()
