"""Adapted networks whose time-steps are known: one step with a graph where it may stand for all, segments elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from art_snn import (
    LIF,
    GradientRuleModule,
    GradientWarning,
    PyTorchSNNClassifier,
    UnsupportedModelError,
    adapt,
    get_rule,
    rule_names,
)
from art_snn.adapters import Reading
from art_snn.engine.differences import misleading
from art_snn.engine.replaying import rate_logits
from art_snn.engine.unrolling import unroll_rate
from art_snn.rules.base import RateRule
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.layouts import Steps
from tests.adapters.nodes import Node, StatefulNode

pytestmark = pytest.mark.usefixtures("known", "doubles")
RATE_RULES = [name for name in rule_names() if isinstance(get_rule(name), RateRule)]
X = torch.rand(4, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
FRAMES = torch.rand(4, 5, 2, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


class Flat(nn.Module):
    """Put the steps of a sequence (T, N, ...) through a layer as one batch, as SpikingJelly's SeqToANNContainer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.layer(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])


def sequences(pool: nn.Module | None = None) -> nn.Module:
    first, second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
    with torch.no_grad():
        first.weight.mul_(3)
        second.weight.mul_(4)
    middle = Flat(nn.AvgPool2d(2) if pool is None else pool)
    last = Flat(nn.Sequential(nn.Flatten(), nn.Linear(54, 3)))
    return nn.Sequential(Flat(first), LIF(decay=0.9), middle, Flat(second), LIF(decay=0.8), last).eval()


class Single(nn.Module):
    """A network for one step, whose neurons keep their state."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(72, 20), StatefulNode(0.9), nn.Linear(20, 20), StatefulNode(0.8), nn.Linear(20, 3)
        )
        with torch.no_grad():
            self.layers[1].weight.mul_(4)
            self.layers[3].weight.mul_(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def both(network, rule: str, x: Tensor) -> tuple[Tensor, Tensor, str]:
    """Return the gradient of `loss_gradient`'s way, that of segments, and the path of the first."""
    weights = torch.linspace(-1, 2, 12).view(4, 3)
    module = GradientRuleModule(network, get_rule(rule)).eval()
    leaf = x.clone().requires_grad_()
    logits = rate_logits(network, get_rule(rule), network.encode(leaf), parameters=False)
    (found,) = torch.autograd.grad((logits * weights).sum(), leaf)
    path = module.gradient_path
    leaf = x.clone().requires_grad_()
    logits = unroll_rate(network, network.encode(leaf), get_rule(rule), parameters=False)
    (expected,) = torch.autograd.grad((logits * weights).sum(), leaf)
    return found, expected, path


@pytest.mark.parametrize("rule", RATE_RULES)
@pytest.mark.parametrize("readout", ["mean", "sum"])
def test_sequences_are_replayed(rule, readout):
    found, expected, path = both(adapt(sequences(), time_steps=6, readout=readout), rule, X)
    assert path == "replay"
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rule", RATE_RULES)
def test_event_frames_are_replayed(rule):
    found, expected, path = both(adapt(sequences(), frames=True), rule, FRAMES)
    assert path == "replay"
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (lambda: adapt(sequences(nn.MaxPool2d(2)), time_steps=6), X),
        (lambda: adapt(sequences(), time_steps=6, readout="last"), X),
        (lambda: adapt(sequences(), time_steps=6, readout=lambda out: out[:2].sum(0) + out[-1]), X),
        (lambda: adapt(sequences(), frames=True, readout="sum"), FRAMES),
        (lambda: adapt(sequences(), lambda net, x: net(x.expand(6, *x.shape)).mean(0)), X),
    ],
    ids=["max-pool", "last", "own readout", "frames summed", "own forward"],
)
def test_where_one_step_cannot_stand_for_all_the_graph_is_cut(network, x):
    found, expected, path = both(network(), "hart", x)
    assert path in ("segmented", "unrolled")
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def single_steps() -> nn.Module:
    def read(module: nn.Module) -> Reading | None:
        return Reading(NeuronParams(decay=module.decay), Steps()) if type(module) is StatefulNode else None

    readers.register_reader(read)
    return Single().eval()


@pytest.mark.parametrize("rule", RATE_RULES)
def test_single_steps_are_tied(rule):
    found, expected, path = both(adapt(single_steps(), time_steps=6), rule, X)
    assert path == "tied"
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_another_model_in_its_place_is_what_is_differentiated():
    network = adapt(sequences(), time_steps=6)
    both(network, "hart", X)
    network.model = sequences()
    found, expected, path = both(network, "hart", X)
    assert path == "replay"
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_one_time_step_is_taken_if_it_is_asked_for():
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": (2, 6, 6), "nb_classes": 3, "device_type": "cpu"}
    classifier = PyTorchSNNClassifier(adapt(sequences().float(), time_steps=1), **options)
    assert abs(classifier.loss_gradient(X.float().numpy(), [0, 1, 2, 0])).max() > 0


class Crossed(nn.Module):
    """The second layer begins with the state of the first, or in each step gets its spikes of the step before."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.into, self.between, self.out = nn.Linear(72, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        with torch.no_grad():
            self.into.weight.mul_(5)
            self.between.weight.mul_(5)
        self.nodes, self.how = nn.ModuleList([Node(), Node()]), how

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        states = [x.new_zeros(len(x), 12) for _ in self.nodes]
        first, outputs = x.new_zeros(len(x), 12), []
        for t in range(5):
            if self.how == "pipeline":  # the second layer is called first
                second, states[1] = self.nodes[1](self.between(first), states[1])
                first, states[0] = self.nodes[0](self.into(x), states[0])
            else:
                first, states[0] = self.nodes[0](self.into(x), states[0])
                second, states[1] = self.nodes[1](self.between(first), states[0] if t == 2 else states[1])
            outputs.append(self.out(second))
        return torch.stack(outputs).mean(0)


def explicit_hart(model: Crossed, x: Tensor, weights: Tensor) -> Tensor:
    """Differentiate the pipeline by hand: HART's gradient of the input, layer after layer."""
    steps, (w1, b1), (w2, b2), (w3, _) = 5, *((m.weight, m.bias) for m in (model.into, model.between, model.out))
    rows = x.flatten(1)
    spikes, slopes, state = {1: [], 2: []}, {1: [], 2: []}, {1: 0.0, 2: 0.0}
    first = rows.new_zeros(len(rows), 12)
    for _ in range(steps):
        for layer, current in ((2, first @ w2.T + b2), (1, rows @ w1.T + b1)):
            membrane = 0.9 * state[layer] + current
            fired = (membrane >= 1).double()
            spikes[layer].append(fired)
            slopes[layer].append((1 - (membrane - 1).abs()).clamp(min=0))
            state[layer] = membrane * (1 - fired)
        first = spikes[1][-1]
    of_second = [weights @ w3 / steps] * steps
    of_current_2 = torch.stack([k * g for k, g in zip(slopes[2], of_second, strict=True)]).mean(0)
    of_first = [of_current_2 @ w2] * (steps - 1) + [torch.zeros_like(first)]  # the last spikes reach nothing
    of_current_1 = torch.stack([k * g for k, g in zip(slopes[1], of_first, strict=True)]).mean(0)
    return (steps * of_current_1 @ w1).view_as(x)


def test_a_pipeline_is_no_recurrence():
    model = Crossed("pipeline").eval()
    weights = torch.linspace(-1, 2, 12).view(4, 3)
    leaf = X.clone().requires_grad_()
    logits = GradientRuleModule(adapt(model), get_rule("hart")).eval()(leaf)
    torch.testing.assert_close(logits, model(X))
    (found,) = torch.autograd.grad((logits * weights).sum(), leaf)
    expected = explicit_hart(model, X, weights).detach()
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_state_of_another_layer_is_refused():
    module = GradientRuleModule(adapt(Crossed("state of another").eval()), get_rule("hart")).eval()
    with pytest.raises(UnsupportedModelError, match="a state of another layer"):
        module(X.clone().requires_grad_())


class Late(nn.Module):
    """What looks right on one sample, or as long as nothing fires: spikes are compared over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out, self.node = nn.Linear(72, 12), nn.Linear(12, 3), Node()
        nn.init.normal_(self.into.weight)

    def forward(self, x: Tensor) -> Tensor:
        current, state, outputs = self.into(x.flatten(1)), x.new_zeros(len(x), 12), []
        for _ in range(4):
            spikes, state = self.node(current, state)
            outputs.append(self.out(spikes - spikes.mean(0)))
        return torch.stack(outputs).mean(0)


def test_a_network_is_looked_at_until_two_samples_have_made_it_fire():
    module = GradientRuleModule(adapt(Late().eval()), get_rule("hart")).eval()
    for seen in (X[:1], X[2:3]):  # one sample is its own mean
        module(seen.clone().requires_grad_()).sum().backward()
    with pytest.raises(UnsupportedModelError, match="depend on the other samples"):
        module(X.clone().requires_grad_())


class Odd(nn.Module):
    """A network of nodes with something between them that has no gradient, or another."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.into, self.middle, self.out = nn.Linear(72, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        with torch.no_grad():
            self.into.weight.mul_(5)
            self.middle.weight.mul_(5)
        self.nodes, self.between = nn.ModuleList([Node(), Node()]), between

    def forward(self, x: Tensor) -> Tensor:
        states = [x.new_zeros(len(x), 12) for _ in self.nodes]
        outputs = []
        for _ in range(4):
            first, states[0] = self.nodes[0](self.into(x.flatten(1)), states[0])
            second, states[1] = self.nodes[1](self.between(self.middle(first)), states[1])
            outputs.append(self.out(second))
        return torch.stack(outputs).mean(0)


def own_spike(current: Tensor) -> Tensor:
    surrogate = torch.sigmoid(4 * (current - 0.5))
    return (current > 0.5).to(current.dtype) + (surrogate - surrogate.detach())


def half_detached(current: Tensor) -> Tensor:
    return torch.cat([current[:, :6].detach(), current[:, 6:]], 1)


def without_grad(current: Tensor) -> Tensor:
    with torch.no_grad():
        doubled = 2 * current
    return doubled + current


def looked_at(network: nn.Module) -> GradientRuleModule:
    module = GradientRuleModule(adapt(network.eval()), get_rule("hart")).eval()
    module(X.clone().requires_grad_()).sum().backward()
    return module


@pytest.mark.parametrize("between", [own_spike, half_detached, without_grad, lambda c: c.data + 0.1 * c, torch.round])
def test_a_gradient_that_is_not_that_of_the_values_is_warned_of(between):
    with pytest.warns(GradientWarning, match=r"before model\.nodes\.1 has another gradient"):
        module = looked_at(Odd(between))
    module(X.clone().requires_grad_()).sum().backward()  # once a network


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "between",
    [torch.relu, torch.abs, torch.tanh, lambda c: c.softmax(1), lambda c: torch.maximum(c[:, :1], c), nn.LayerNorm(12)],
)
def test_kinks_and_curves_are_no_reason_to_warn(between, dtype):
    torch.manual_seed(3)
    network = adapt(Odd(between).to(dtype).eval())
    assert misleading(network, X[:2].to(dtype)) == []
    assert misleading(adapt(sequences(nn.MaxPool2d(2)).to(dtype), time_steps=4), X[:2].to(dtype)) == []


@pytest.mark.parametrize("kind", ["sequences", "frames", "single steps", "own forward"])
def test_activations_are_batch_first_and_averaged_over_time(kind):
    x = (FRAMES if kind == "frames" else X).float()
    if kind == "own forward":
        model, layer = Crossed("pipeline").float().eval(), "nodes.1"
        network = adapt(model)
    elif kind == "single steps":
        model, layer = single_steps().float(), "layers.4"

        def forward(net: nn.Module, x: Tensor) -> Tensor:
            for node in (net.layers[2], net.layers[4]):
                node.potential = 0.0
            return torch.stack([net(x) for _ in range(6)]).mean(0)

        network = adapt(model, forward)
    else:
        model, layer = sequences().float(), "3.layer"
        network = adapt(model, frames=True) if kind == "frames" else adapt(model, time_steps=6)
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": tuple(x.shape[1:]), "nb_classes": 3}
    classifier = PyTorchSNNClassifier(network, clip_values=(0, 1), device_type="cpu", **options)
    seen: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        network(x)
    handle.remove()
    steps = 5 if kind == "frames" else 6
    outs = [out[0] if isinstance(out, tuple) else out for out in seen]
    expected = torch.stack(outs).mean(0) if len(outs) > 1 else outs[0].unflatten(0, (steps, 4)).mean(0)
    name = next(each for each in classifier.layer_names if each.endswith(layer))
    found = classifier.get_activations(x.numpy(), name)
    assert found.shape == expected.shape
    assert found.std() > 0
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    with pytest.raises(ValueError, match="has no graph here"):
        classifier.get_activations(x.requires_grad_(), name, framework=True)


def test_time_is_told_from_the_batch_in_a_forward_of_ones_own():
    model = sequences().float().eval()
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": (2, 6, 6), "nb_classes": 3, "device_type": "cpu"}
    own = PyTorchSNNClassifier(adapt(model, lambda net, x: net(x.expand(6, *x.shape)).mean(0)), **options)
    declared = PyTorchSNNClassifier(adapt(model, time_steps=6), **options)
    x = torch.cat([X, X])[:6].float().numpy()  # as many samples as steps
    found = own.get_activations(x, "network.model.1")
    np.testing.assert_allclose(found, declared.get_activations(x, "network.model.1"), atol=1e-6)


def test_an_output_whose_order_of_time_and_batch_cannot_be_told_is_refused():
    class Merged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.steps = nn.Conv2d(2, 2, 1), single_steps().float()

        def forward(self, x: Tensor) -> Tensor:
            for node in (self.steps.layers[2], self.steps.layers[4]):
                node.potential = 0.0
            currents = self.first(x.repeat(6, 1, 1, 1)).unflatten(0, (6, -1))
            return torch.stack([self.steps(current) for current in currents]).mean(0)

    options = {"loss": nn.CrossEntropyLoss(), "input_shape": (2, 6, 6), "nb_classes": 3, "device_type": "cpu"}
    classifier = PyTorchSNNClassifier(adapt(Merged().float().eval()), **options)
    with pytest.raises(ValueError, match="which of time and batch comes first cannot be seen"):
        classifier.get_activations(X.float().numpy(), "first")


class Slow(nn.Module):
    """Note whether another thread runs it at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.inside, self.overlaps = sequences(), 0, [False]

    def forward(self, x_seq: Tensor) -> Tensor:
        self.inside += 1
        self.overlaps.append(self.inside > 1)
        time.sleep(2e-3)
        out_seq = self.layers(x_seq)
        self.inside -= 1
        return out_seq


def test_threads_that_predict_and_attack_wait_for_each_other():
    """A library's neurons keep their states in the model, and each run resets them."""
    model = Slow().float().eval()
    network = adapt(model, time_steps=4)
    module = GradientRuleModule(network, get_rule("hart")).eval()
    x = X.float()

    def attack() -> None:
        for _ in range(5):
            next(module.attack_samples(x.clone().requires_grad_(), parameters=False)).sum().backward()

    def predict() -> None:
        for _ in range(20):
            with torch.no_grad():
                network(x)

    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(attack), pool.submit(predict)]:
            job.result(timeout=60)
    assert module.gradient_path == "replay"
    assert len(model.overlaps) > 30
    assert not any(model.overlaps)
