"""Networks that loop over time themselves: the graph of one step, and the graph that is cut at the spikes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from art_snn import (
    CBA,
    LIF,
    STBP,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    InexactReplayWarning,
    SpikingNetwork,
    UnsupportedModelError,
    rule_names,
)
from art_snn.adapters import register_reader
from art_snn.engine import looping, replaying
from art_snn.engine.looping import segmented, tied
from art_snn.engine.module import rule_logits
from art_snn.engine.recording import record, simulate
from art_snn.engine.unrolling import unroll_rate
from art_snn.rules import get_rule
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel
from tests.classifier.classifiers import small_classifier
from tests.engine.test_one_pass import RATE_RULES, assert_close, gradient


class Step(nn.Module):
    """A neuron as other libraries have them: one step a call, with its state in itself."""

    def __init__(self, **params: object) -> None:
        super().__init__()
        self.params = NeuronParams(**params)
        self.potential: Tensor | float = 0.0

    def forward(self, current: Tensor) -> Tensor:
        membrane = self.params.decay * self.potential + current
        spikes = (membrane >= self.params.threshold).to(current.dtype)
        self.potential = membrane * (1 - spikes)
        return spikes


class Loop(SequenceModel):
    """A network that runs its layers step by step."""

    def __init__(self, encoder: nn.Module, layers: nn.Module) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def body(self, x_seq: Tensor) -> Tensor:
        for layer in self.layers.modules():
            if isinstance(layer, Step):
                layer.potential = 0.0
        return torch.stack([self.layers(x) for x in x_seq])

    def readout(self, out_seq: Tensor) -> Tensor:
        return out_seq.mean(0)


@pytest.fixture(autouse=True)
def reader() -> Iterator[None]:
    def read(module: nn.Module) -> NeuronParams | None:
        return module.params if isinstance(module, Step) else None

    register_reader(read, single_step=True)
    yield
    readers._READERS.pop(read)


def layers(neuron: Callable[[], nn.Module], pool: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        neuron(),
        nn.AvgPool2d(2) if pool is None else pool,
        nn.Conv2d(6, 6, 3, padding=1),
        neuron(),
        nn.Flatten(),
        nn.Linear(96, 5),
    )


def make_pair(frames: bool = False, pool: nn.Module | None = None) -> tuple[Loop, SpikingNetwork, Tensor]:
    """A network that loops, the same as a sequence model, and inputs."""
    encoder = EventFrameEncoder() if frames else DirectEncoder(time_steps=6)
    loop = Loop(encoder, layers(lambda: Step(decay=0.8, threshold=0.3), pool)).double().eval()
    sequence = SpikingNetwork(encoder, layers(lambda: LIF(decay=0.8, threshold=0.3), pool)).double().eval()
    shape = (4, 6, 2, 8, 8) if frames else (4, 2, 8, 8)
    return loop, sequence, (2 * torch.rand(shape, dtype=torch.float64)).requires_grad_()


@pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2)], ids=["tied", "segmented"])
@pytest.mark.parametrize("name", rule_names())
@pytest.mark.filterwarnings("ignore::art_snn.errors.InexactReplayWarning")
def test_a_loop_has_the_gradient_of_the_sequence_model_in_all_units(name, pool):
    loop, sequence, leaf = make_pair(pool=pool)
    for layer in (*loop.layers, *sequence.body):
        if isinstance(layer, (Step, LIF)):
            layer.params = NeuronParams(decay=0.8, threshold=0.7, alpha=0.4, c=0.6, d=0.05, v0=0.1, reset="soft")
    found = []
    for network in (loop, sequence):
        logits = rule_logits(network, get_rule(name), leaf, parameters=False)
        found.append(torch.autograd.grad(logits.square().sum(), leaf)[0])
    assert found[1].abs().max() > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("frames", [False, True], ids=["image", "frames"])
@pytest.mark.parametrize("name", rule_names())
def test_a_loop_has_the_gradient_of_the_sequence_model(name, frames):
    loop, sequence, leaf = make_pair(frames)
    rule = get_rule(name)
    expected = rule_logits(sequence, rule, leaf)
    for parameters in (True, False):
        found = rule_logits(loop, rule, leaf, parameters=parameters)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert_close(gradient(found, leaf), gradient(expected, leaf))
    torch.testing.assert_close(loop(leaf), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(simulate(loop, loop.encode(leaf)), expected, rtol=1e-12, atol=1e-12)


class CheckpointedLoop(Loop):
    """A loop whose steps are checkpointed."""

    def body(self, x_seq: Tensor) -> Tensor:
        return torch.stack([checkpoint(self.layers, x, use_reentrant=False) for x in x_seq])


@pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2)], ids=["tied", "segmented"])
@pytest.mark.parametrize("name", rule_names())
@pytest.mark.filterwarnings("ignore::art_snn.errors.InexactReplayWarning")
def test_a_loop_of_checkpoints_has_the_gradient_of_the_loop(name, pool):
    loop, _, leaf = make_pair(pool=pool)
    expected = rule_logits(loop, get_rule(name), leaf)
    for parameters in (True, False):
        kept = CheckpointedLoop(loop.encoder, loop.layers).eval()
        found = rule_logits(kept, get_rule(name), leaf, parameters=parameters)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert_close(gradient(found, leaf), gradient(expected, leaf))


@pytest.mark.parametrize("frames", [False, True], ids=["image", "frames"])
@pytest.mark.parametrize("rule", RATE_RULES, ids=lambda rule: rule.name)
def test_max_pooling_between_neurons_is_cut_at_the_spikes(rule, frames):
    loop, sequence, leaf = make_pair(frames, nn.MaxPool2d(2))
    with pytest.warns(InexactReplayWarning, match=r"layers\.4"):
        found = rule_logits(loop, rule, leaf, parameters=False)
    expected = unroll_rate(sequence, sequence.encode(leaf), rule)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert_close(gradient(found, leaf), gradient(expected, leaf))
    assert_close(gradient(found, leaf), gradient(expected, leaf))  # once more through the same graph


@pytest.mark.parametrize("rule", [*RATE_RULES, STBP(gamma=0.7), CBA()], ids=lambda rule: rule.name)
@pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2)], ids=["average", "max"])
@pytest.mark.filterwarnings("ignore::art_snn.errors.InexactReplayWarning")
def test_gradients_of_weights_are_those_of_the_sequence_model(rule, pool):
    loop, sequence, leaf = make_pair(pool=pool)
    for one, other in zip(
        torch.autograd.grad(rule_logits(loop, rule, leaf).square().sum(), list(loop.parameters())),
        torch.autograd.grad(rule_logits(sequence, rule, leaf).square().sum(), list(sequence.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2)], ids=["tied", "segmented"])
@pytest.mark.filterwarnings("ignore::art_snn.errors.InexactReplayWarning")
def test_the_graph_of_the_input_has_no_parameter(pool):
    loop, _, leaf = make_pair(pool=pool)
    logits = rule_logits(loop, get_rule("hart"), leaf, parameters=False)
    grads = torch.autograd.grad(logits.sum(), [leaf, *loop.parameters()], allow_unused=True)
    assert grads[0].abs().max() > 0
    assert [g for g in grads[1:] if g is not None] == []


def test_tied_runs_the_loop_once_and_replays_a_sample(monkeypatch):
    loop, _, leaf = make_pair()
    rows = []
    loop.layers[3].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    rule_logits(loop, get_rule("hart"), leaf, parameters=False)  # the trial is over then
    rows.clear()
    monkeypatch.setattr(replaying, "tied", lambda *a: rows.append("tied") or tied(*a))
    rule_logits(loop, get_rule("hart"), leaf, parameters=False)
    assert rows == ["tied", 4, 4, 4, 4, 4, 4, 1]


def test_a_neuron_that_is_called_twice_a_step_is_cut():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.neuron = nn.Linear(128, 12), Step(decay=0.8, threshold=0.3)
            self.again, self.last = nn.Linear(12, 12), nn.Linear(12, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.neuron(self.first(x.flatten(1)))) + self.last(self.neuron(3 * x.flatten(1)[:, :12]))

    torch.manual_seed(0)
    loop = Loop(DirectEncoder(time_steps=6), Twice()).double().eval()
    leaf = (2 * torch.rand(4, 2, 8, 8, dtype=torch.float64)).requires_grad_()
    with pytest.warns(InexactReplayWarning, match="the layer layers.neuron is called 12 times in 6 steps"):
        found = rule_logits(loop, get_rule("hart"), leaf, parameters=False)
    assert_close(gradient(found, leaf), gradient(segmented(loop, loop.encode(leaf), get_rule("hart")), leaf))
    (layer,) = record(loop, loop.encode(leaf).detach()).layers["layers.neuron"]
    torch.testing.assert_close(found, loop(leaf), rtol=1e-12, atol=1e-12)
    assert 0 < layer.rate.mean() < 1


def test_recurrence_is_refused_in_the_backward_pass():
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.neuron = nn.Linear(128, 12), Step(decay=0.8, threshold=0.3)
            self.again, self.last = nn.Linear(12, 12), nn.Linear(12, 5)
            self.spikes: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            current = self.first(x.flatten(1))
            if self.spikes is not None and self.spikes.shape == current[:, :12].shape:
                current = current + self.again(self.spikes)
            self.spikes = self.neuron(current)
            return self.last(self.spikes)

    class Reset(Loop):
        def body(self, x_seq: Tensor) -> Tensor:
            self.layers.spikes = None
            return super().body(x_seq)

    torch.manual_seed(0)
    loop = Reset(DirectEncoder(time_steps=6), Recurrent()).double().eval()
    leaf = (2 * torch.rand(4, 2, 8, 8, dtype=torch.float64)).requires_grad_()
    with pytest.warns(InexactReplayWarning):
        logits = rule_logits(loop, get_rule("hart"), leaf, parameters=False)
    with pytest.raises(UnsupportedModelError, match="recurrent"):
        gradient(logits, leaf)


def test_spikes_may_be_changed_in_place():
    class InPlace(nn.Module):
        def __init__(self, neuron: nn.Module) -> None:
            super().__init__()
            self.neuron = neuron

        def forward(self, x: Tensor) -> Tensor:
            out = self.neuron(x)
            out += 0.5 * x
            return out

    def build(cls: type, neuron: Callable[[], nn.Module], pool: nn.Module | None) -> nn.Module:
        stack = layers(lambda: InPlace(neuron()), pool)
        return cls(DirectEncoder(time_steps=6), stack).double().eval()

    for pool in (None, nn.MaxPool2d(2)):
        loop = build(Loop, lambda: Step(decay=0.8, threshold=0.3), pool)
        sequence = build(SpikingNetwork, lambda: LIF(decay=0.8, threshold=0.3), pool)
        torch.manual_seed(1)
        leaf = (2 * torch.rand(4, 2, 8, 8, dtype=torch.float64)).requires_grad_()
        expected = unroll_rate(sequence, sequence.encode(leaf), get_rule("hart"))
        if pool is None:
            found, _, odd = tied(loop, loop.encode(leaf), get_rule("hart"), 1)
            assert odd == ()
            assert_close(gradient(found, leaf), gradient(expected, leaf))
        found = segmented(loop, loop.encode(leaf), get_rule("hart"))
        assert_close(gradient(found, leaf), gradient(expected, leaf))


def test_the_classifier_takes_a_loop_and_keeps_no_graph(monkeypatch):
    loop, sequence, leaf = make_pair()
    x = leaf.detach().float().numpy()
    found = small_classifier(loop.float()).loss_gradient(x, np.arange(4))
    expected = small_classifier(sequence.float()).loss_gradient(x, np.arange(4))
    assert abs(found - expected).max() <= 1e-5 * abs(expected).max()
    graphs = []

    class Watched(looping._Tied):
        def finish(self, *args: object) -> object:
            graphs.append(weakref.ref(self))
            return super().finish(*args)

    monkeypatch.setattr(looping, "_Tied", Watched)
    small_classifier(loop).loss_gradient(x, np.arange(4))
    gc.collect()
    assert len(graphs) == 2
    assert [graph() for graph in graphs] == [None, None]


def test_the_module_of_a_loop_is_differentiated_by_the_rule():
    loop, sequence, leaf = make_pair()
    found, expected = (GradientRuleModule(network, "hart").eval()(leaf) for network in (loop, sequence))
    assert_close(gradient(found, leaf), gradient(expected, leaf))


def test_activations_of_a_loop_are_averaged_over_its_calls():
    loop, sequence, leaf = make_pair()
    x = leaf.detach().float().numpy()
    found = small_classifier(loop.float()).get_activations(x, "network.layers.3")
    expected = small_classifier(sequence.float()).get_activations(x, "network.body.3")
    assert found.shape == (4, 6, 4, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match="has no graph here"):
        small_classifier(loop).get_activations(
            leaf.detach().float().requires_grad_(), "network.layers.3", framework=True
        )
