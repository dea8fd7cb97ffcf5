"""Rules through time with the graph of a few steps at a time, built again in the backward pass."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from art_snn import (
    LIF,
    STBP,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    Normalize,
    SpikingNetwork,
    UnsupportedModelError,
)
from art_snn.adapters import register_reader
from art_snn.engine import unrolling
from art_snn.engine.unrolling import unroll_temporal
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from tests.classifier.classifiers import small_classifier
from tests.conftest import make_body, make_network, settle


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("frames", [False, True], ids=["image", "frames"])
@pytest.mark.parametrize("time_chunk", [1, 3, 4, 7, 9])
def test_any_chunk_gives_the_gradient_of_all_steps(time_chunk, frames, reset, detach_reset):
    torch.manual_seed(0)
    encoder = EventFrameEncoder() if frames else DirectEncoder(time_steps=7)
    network = SpikingNetwork(encoder, make_body(lambda: LIF(decay=0.8, reset=reset), residual=True))
    shape = (7, 2, 8, 8) if frames else (2, 8, 8)
    settle(network, torch.rand(4, *shape)).double()
    leaf = (2 * torch.rand(3, *shape, dtype=torch.float64)).requires_grad_()
    rule = STBP(gamma=0.8, detach_reset=detach_reset)
    wanted = [leaf, *network.parameters()]
    expected = unroll_temporal(network, network.encode(leaf), rule)
    found = unroll_temporal(network, network.encode(leaf), rule, time_chunk=time_chunk)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    network.train()  # the caller goes on before the backward pass
    grads = torch.autograd.grad(found.square().sum(), wanted)
    for one, other in zip(grads, torch.autograd.grad(expected.square().sum(), wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
    assert grads[0].abs().max() > 0
    network.eval()
    alone = unroll_temporal(network, network.encode(leaf), rule, parameters=False, time_chunk=time_chunk)
    of_input, *of_weights = torch.autograd.grad(alone.square().sum(), wanted, allow_unused=True)
    torch.testing.assert_close(of_input, grads[0], rtol=1e-10, atol=1e-13)
    assert not frames or of_input.abs().amax((0, 2, 3, 4)).min() > 0
    assert of_weights == [None] * len(of_weights)


def test_neurons_with_synaptic_memory_hand_on_both_states():
    params = NeuronParams(decay=0.7, alpha=0.4, c=0.8, d=0.05, v0=0.2, threshold=0.6)

    class Foreign(nn.Module):
        def forward(self, current_seq: Tensor) -> Tensor:
            raise AssertionError("the engine runs it from its parameters")

    reader = register_reader(lambda module: params if isinstance(module, Foreign) else None)
    try:
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(16, 12), Foreign(), nn.Linear(12, 8), Foreign(), nn.Linear(8, 3)]
        network = SpikingNetwork(DirectEncoder(time_steps=7), nn.Sequential(*layers)).eval().double()
        leaf = (2 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
        grads = [
            torch.autograd.grad(
                unroll_temporal(network, network.encode(leaf), STBP(), time_chunk=chunk).square().sum(), leaf
            )[0]
            for chunk in (None, 2)
        ]
    finally:
        readers._READERS.pop(reader)
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-10, atol=1e-13)


def test_it_holds_the_graph_of_one_chunk():
    network, x = make_network("plain", dtype=torch.float64)
    kept = {}
    for chunk in (None, 2):
        sizes = []

        def note(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        x_seq = network.encode(x.requires_grad_())
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            if chunk is None:  # taps refuse the hooks of others, so the layers are run as in training
                network(x)
            else:
                unroll_temporal(network, x_seq, STBP(), parameters=False, time_chunk=chunk)
        kept[chunk] = sum(sizes)
    assert 0 < kept[2] < 0.5 * kept[None]


def test_a_body_that_may_mix_steps_is_refused():
    class Own(nn.Module):
        def forward(self, x_seq: Tensor) -> Tensor:
            return x_seq.flatten(2)

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.linear, self.neuron = Own(), nn.Linear(128, 5), LIF()

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.linear(self.own(x_seq)) + self.neuron(self.linear(self.own(x_seq)))

    network = SpikingNetwork(DirectEncoder(time_steps=4), Body()).eval()
    x = torch.rand(2, 2, 8, 8, requires_grad=True)
    with pytest.raises(UnsupportedModelError, match="time_chunk=2 needs a body of torch's own layers"):
        unroll_temporal(network, network.encode(x), STBP(), time_chunk=2)
    assert unroll_temporal(network, network.encode(x), STBP(), time_chunk=4).shape == (2, 5)


def test_the_classifier_has_it_as_a_parameter():
    network, x = make_network("plain")
    y = np.array([0, 1, 2, 3])
    classifier = small_classifier(network, gradient_rule="stbp")
    expected = classifier.loss_gradient(x.numpy(), y)
    chunked = small_classifier(network, gradient_rule="stbp", time_chunk=2)
    assert chunked.get_params()["time_chunk"] == chunked.with_rule("stbp").time_chunk == 2
    np.testing.assert_allclose(chunked.loss_gradient(x.numpy(), y), expected, rtol=1e-4, atol=1e-7)
    classifier.set_params(time_chunk=3)
    assert classifier.model.time_chunk == GradientRuleModule(classifier.model).time_chunk == 3
    for wrong in (0, 1.5, "2"):
        with pytest.raises((TypeError, ValueError), match="time_chunk"):
            classifier.time_chunk = wrong


def chunked(network: nn.Module, leaf: Tensor) -> Tensor:
    return unroll_temporal(network, network.encode(leaf), STBP(), time_chunk=2)


@pytest.mark.parametrize("change", ["weights", "statistics"])
def test_a_network_that_has_changed_before_the_backward_pass_is_refused(change):
    network, x = make_network("plain", dtype=torch.float64)
    network.requires_grad_(False)  # torch itself looks after those that are in the graph
    logits = chunked(network, x.requires_grad_())
    if change == "weights":
        with torch.no_grad():
            network.body[0].weight.mul_(3)
    else:
        network.train()(2 * x.detach())
    with pytest.raises(RuntimeError, match="changed between the forward and the backward pass"):
        torch.autograd.grad(logits.sum(), x)


def test_weights_that_are_frozen_before_the_backward_pass():
    network, x = make_network("plain", dtype=torch.float64)
    expected = torch.autograd.grad(chunked(network, x.requires_grad_()).sum(), x)[0]
    logits = chunked(network, x)
    network.requires_grad_(False)
    assert torch.equal(torch.autograd.grad(logits.sum(), x)[0], expected)


def test_buffers_that_require_grad_get_theirs():
    network, x = make_network("plain", dtype=torch.float64)
    network = SpikingNetwork(network.encoder, nn.Sequential(Normalize([0.4, 0.5], [0.3, 0.2]), *network.body))
    shift = network.eval().double().body[0].mean.requires_grad_()
    x_seq = network.encode(x)
    found, expected = (
        torch.autograd.grad(unroll_temporal(network, x_seq, STBP(), time_chunk=chunk).square().sum(), shift)[0]
        for chunk in (2, None)
    )
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_dropout_that_is_left_on_and_neurons_in_the_readout_are_refused():
    network, x = make_network("plain", dtype=torch.float64)
    network.body.append(nn.Dropout(0.5).eval())
    chunked(network, x)
    network.body[-1].train()
    with pytest.raises(UnsupportedModelError, match="dropout that is left on"):
        chunked(network, x)

    class SpikingReadout(SpikingNetwork):
        def readout(self, out_seq: Tensor) -> Tensor:
            return self.neuron(out_seq).mean(0)

    other = SpikingReadout(network.encoder, network.body[:-1])
    other.neuron = LIF()
    with pytest.raises(UnsupportedModelError, match="time_chunk=2 needs"):
        chunked(other.eval().double(), x)


def test_activations_do_not_depend_on_it():
    network, x = make_network("plain")
    classifier = small_classifier(network, gradient_rule="stbp")
    expected = classifier.get_activations(x.clone().requires_grad_(), "network.body.6", framework=True)
    classifier.time_chunk = 2
    leaf = x.clone().requires_grad_()
    found = classifier.get_activations(leaf, "network.body.6", framework=True)
    torch.testing.assert_close(found, expected)
    assert torch.autograd.grad(found.sum(), leaf)[0].abs().max() > 0
    assert classifier.time_chunk == 2


@pytest.mark.parametrize("chunk", [None, 2])
def test_nothing_is_kept_alive_by_a_circle(chunk, monkeypatch):
    network, x = make_network("plain")
    made = []

    class Watched(unrolling.StepNeurons):
        def __init__(self, *args: object, **options: bool) -> None:
            super().__init__(*args, **options)
            made.append(weakref.ref(self))

    monkeypatch.setattr(unrolling, "StepNeurons", Watched)
    gc.disable()
    try:
        logits = unroll_temporal(network, network.encode(x.requires_grad_()), STBP(), time_chunk=chunk)
        torch.autograd.grad(logits.sum(), x)
        del logits
        assert len(made) >= 3
        assert [neurons() for neurons in made] == [None] * len(made)
    finally:
        gc.enable()
