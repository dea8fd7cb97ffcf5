"""One pass: the first of T steps carries the graph, and one sample is replayed beside the last steps."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from art_snn import (
    BPTR,
    HART,
    LIF,
    RGA,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    InexactReplayWarning,
    PoissonEncoder,
    RateGradient,
    SpikingNetwork,
    rule_names,
)
from art_snn.adapters import register_reader
from art_snn.engine import recording, replaying
from art_snn.engine.graphs import InputsOnly
from art_snn.engine.module import attack_logits, rule_logits
from art_snn.engine.unrolling import unroll_rate
from art_snn.rules import get_rule
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from tests.classifier.classifiers import small_classifier
from tests.conftest import make_body, make_network, settle

RATE_RULES = (HART(gamma=0.6), BPTR(), RGA(), RateGradient())
KINDS = ("plain", "residual", "event-frame")


def gradient(logits: Tensor, leaf: Tensor) -> Tensor:
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    return torch.autograd.grad((logits * weights).sum(), leaf, retain_graph=True)[0]


def assert_close(found: Tensor, expected: Tensor, limit: float = 1e-10) -> None:
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() <= limit * expected.abs().max()


@pytest.mark.parametrize("rule", RATE_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_replay_and_unrolled_rule_are_the_same(kind, rule):
    network, x = make_network(kind, dtype=torch.float64)
    leaf = x.requires_grad_()
    unrolled = unroll_rate(network, network.encode(leaf), rule)
    for parameters in (True, False):
        found = rule_logits(network, rule, leaf, parameters=parameters)
        torch.testing.assert_close(found, unrolled, rtol=1e-12, atol=1e-12)
        assert_close(gradient(found, leaf), gradient(unrolled, leaf))


@pytest.mark.parametrize("rule", RATE_RULES, ids=lambda rule: rule.name)
def test_one_pass_averages_over_the_frames_that_an_encoder_draws(rule):
    network, x = make_network("poisson", dtype=torch.float64)
    leaf = x.requires_grad_()
    found = []
    for parameters in (True, False):
        network.encoder.generator.manual_seed(5)
        found.append(gradient(rule_logits(network, rule, leaf, parameters=parameters), leaf))
    assert_close(found[1], found[0])


@settings(deadline=None, max_examples=25)
@given(
    time_steps=st.integers(1, 9),
    batch=st.integers(1, 5),
    rows=st.integers(1, 12),
    reset=st.sampled_from(["hard", "soft"]),
    frames=st.booleans(),
    rule=st.sampled_from(RATE_RULES),
)
def test_one_pass_in_chunks_of_any_size(time_steps, batch, rows, reset, frames, rule):
    torch.manual_seed(time_steps)
    encoder = EventFrameEncoder() if frames else DirectEncoder(time_steps=time_steps)
    network = SpikingNetwork(encoder, make_body(lambda: LIF(decay=0.8, reset=reset), residual=True))
    shape = (time_steps, 2, 8, 8) if frames else (2, 8, 8)
    settle(network, torch.rand(4, *shape)).double()
    leaf = (2 * torch.rand(batch, *shape, dtype=torch.float64)).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "ROWS_CPU", rows)
        found = rule_logits(network, rule, leaf, parameters=False)
    expected = unroll_rate(network, network.encode(leaf), rule)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    size = gradient(expected, leaf).abs().max()
    assert (gradient(found, leaf) - gradient(expected, leaf)).abs().max() <= 1e-10 * size


def test_a_layer_may_be_called_twice_and_outputs_changed_in_place():
    torch.manual_seed(0)
    shared = LIF(decay=0.7)
    layers = [nn.Flatten(), nn.Linear(16, 12), shared, nn.Linear(12, 12), shared, nn.Linear(12, 3)]
    network = SpikingNetwork(DirectEncoder(time_steps=5), nn.Sequential(*layers)).eval().double()
    leaf = (3 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    found, expected = (
        rule_logits(network, HART(), leaf, parameters=False),
        unroll_rate(network, network.encode(leaf), HART()),
    )
    found -= 1
    assert_close(gradient(found, leaf), gradient(expected, leaf))


def test_a_neuron_with_parameters_of_its_own_for_each_sample():
    class Foreign(nn.Module):
        def forward(self, current_seq: Tensor) -> Tensor:
            raise AssertionError("the engine runs it from its parameters")

    decay = torch.tensor([[0.2], [0.5], [0.8], [0.9]], dtype=torch.float64)
    reader = register_reader(
        lambda module: NeuronParams(decay=decay, threshold=decay + 0.3, c=2.0) if isinstance(module, Foreign) else None
    )
    torch.manual_seed(0)
    try:
        body = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), Foreign(), nn.Linear(12, 8), Foreign(), nn.Linear(8, 3))
        network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval().double()
        leaf = (2 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
        expected = gradient(unroll_rate(network, network.encode(leaf), HART()), leaf)
        for _ in range(8):  # samples are drawn
            assert_close(gradient(rule_logits(network, HART(), leaf, parameters=False), leaf), expected)
    finally:
        readers._READERS.pop(reader)


def test_it_takes_the_rows_of_t_steps_and_of_one_sample():
    network, x = make_network("plain", dtype=torch.float64)
    rows = []
    convolution, run = network.body[5], network.body[5].forward
    convolution.forward = lambda inputs: rows.append(len(inputs)) or run(inputs)  # a hook would be shown two passes
    leaf = x.requires_grad_()
    rule_logits(network, HART(), leaf)  # the trial is over then
    for parameters, expected in ((False, 4 * 5 + 1), (True, 4 * 5 + 4)):
        rows.clear()
        rule_logits(network, HART(), leaf, parameters=parameters)
        assert sum(rows) == expected


def test_hooks_see_whole_steps():
    network, x = make_network("plain", dtype=torch.float64)
    rows = []
    network.body[5].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    rule_logits(network, HART(), x.requires_grad_(), parameters=False)
    assert rows == [4 * 5, 2 * 5, 2, 4]  # recorded, tried on two samples, replayed


def test_an_empty_batch_says_nothing_about_a_network():
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), LIF(), nn.ReLU(), nn.Linear(12, 12), LIF(), nn.Linear(12, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval().double()
    leaf = (4 * torch.rand(3, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    for parameters in (True, False):
        assert rule_logits(network, HART(), leaf[:0], parameters=parameters).shape == (0, 3)
    with pytest.warns(InexactReplayWarning):
        found = rule_logits(network, HART(), leaf, parameters=False)
    assert_close(gradient(found, leaf), gradient(unroll_rate(network, network.encode(leaf), HART()), leaf))


def test_neurons_in_the_readout_and_neurons_that_never_run():
    class SpikingReadout(SpikingNetwork):
        def readout(self, out_seq: Tensor) -> Tensor:
            return self.last(self.neuron(out_seq).mean(0))

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), LIF(decay=0.8), nn.Linear(12, 3))
    network = SpikingReadout(DirectEncoder(time_steps=6), body)
    network.neuron, network.last, network.idle = LIF(decay=0.9, threshold=0.3), nn.Linear(3, 3), LIF()
    network.eval().double()
    leaf = (4 * torch.rand(3, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    for rule in RATE_RULES:
        expected = gradient(unroll_rate(network, network.encode(leaf), rule), leaf)
        assert_close(gradient(rule_logits(network, rule, leaf, parameters=False), leaf), expected)
    del network.neuron
    body.append(LIF())
    plain = SpikingNetwork(DirectEncoder(time_steps=6), body[:4]).eval().double()
    plain.idle = LIF()
    expected = gradient(unroll_rate(plain, plain.encode(leaf), HART()), leaf)
    assert_close(gradient(rule_logits(plain, HART(), leaf, parameters=False), leaf), expected)


@pytest.mark.filterwarnings("ignore::art_snn.errors.InexactReplayWarning")
@pytest.mark.parametrize("frames", [False, True], ids=["image", "frames"])
@pytest.mark.parametrize("name", rule_names())
def test_a_first_layer_that_works_in_place_leaves_the_input_alone(name, frames, monkeypatch):
    monkeypatch.setattr(recording, "ROWS_CPU", 8)
    torch.manual_seed(0)
    encoder = EventFrameEncoder() if frames else DirectEncoder(time_steps=5)

    def build(inplace: bool) -> SpikingNetwork:
        torch.manual_seed(1)
        layers = [nn.LeakyReLU(0.5, inplace=inplace), nn.Flatten(), nn.Linear(16, 12), LIF(threshold=0.2, decay=0.8)]
        return SpikingNetwork(encoder, nn.Sequential(*layers, nn.Linear(12, 4))).eval().double()

    shape = (6, 5, 1, 4, 4) if frames else (6, 1, 4, 4)
    x = 3 * torch.rand(shape, dtype=torch.float64) - 1.5
    results = []
    for inplace in (True, False):
        network, leaf = build(inplace), x.clone().requires_grad_()
        module = GradientRuleModule(network, name).eval()
        with torch.no_grad():
            predicted = module(leaf)
        logits = next(module.attack_samples(leaf, parameters=False))
        results.append((predicted, gradient(logits, leaf), gradient(module(leaf), leaf)))
        assert torch.equal(leaf, x)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)


def test_two_passes_for_the_input_have_no_parameter_either():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.neuron, self.last = nn.Linear(128, 12), LIF(decay=0.8), nn.Linear(12, 5)

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.last(self.neuron(self.linear(x_seq.flatten(2))))

    torch.manual_seed(0)
    network = SpikingNetwork(DirectEncoder(time_steps=6), Own()).eval().double()
    leaf = (2 * torch.rand(4, 2, 8, 8, dtype=torch.float64)).requires_grad_()
    logits = rule_logits(network, HART(), leaf, parameters=False)
    assert_close(gradient(logits, leaf), gradient(unroll_rate(network, network.encode(leaf), HART()), leaf))
    grads = torch.autograd.grad(logits.sum(), list(network.parameters()), allow_unused=True)
    assert [g for g in grads if g is not None] == []


class TestCheck:
    """The replayed sample shows that one step cannot stand for all; the trial is left out here."""

    @pytest.fixture(autouse=True)
    def no_trial(self, monkeypatch):
        monkeypatch.setattr(replaying, "obstacles", lambda *_: ())

    @pytest.mark.parametrize("rule", [HART(), RGA()], ids=lambda rule: rule.name)
    def test_max_pooling_is_noticed_in_the_first_call(self, rule):
        network, x = make_network("max-pool", dtype=torch.float64)
        leaf = x.requires_grad_()
        with pytest.warns(InexactReplayWarning, match=r"the layer body\.6 \(off by "):
            found = rule_logits(network, rule, leaf, parameters=False)
        assert_close(gradient(found, leaf), gradient(unroll_rate(network, network.encode(leaf), rule), leaf), 1e-12)

    def test_outputs_that_are_not_affine_are_noticed(self):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), LIF(decay=0.7), nn.Linear(12, 3), nn.Sigmoid())
        network = SpikingNetwork(DirectEncoder(time_steps=5), body).eval().double()
        leaf = (5 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
        with pytest.warns(InexactReplayWarning, match=r"the logits \(off by "):
            rule_logits(network, HART(), leaf, parameters=False)

    def test_every_sample_gets_its_turn(self, monkeypatch):
        drawn = []
        one_pass = replaying.one_pass
        monkeypatch.setattr(replaying, "one_pass", lambda *a: drawn.append(a[3]) or one_pass(*a))
        network, x = make_network("plain")
        state = torch.get_rng_state(), np.random.get_state()[1].tolist()
        for _ in range(40):
            rule_logits(network, HART(), x.requires_grad_(), parameters=False)
        assert set(drawn) == {0, 1, 2, 3}
        assert torch.equal(torch.get_rng_state(), state[0])
        assert np.random.get_state()[1].tolist() == state[1]

    def test_a_sample_that_is_not_drawn_does_not_warn(self, monkeypatch):
        # Sample 0 has equal inputs in each window of the max-pooling, where it is affine.
        network, x = make_network("max-pool", dtype=torch.float64)
        x[0] = 0.0
        monkeypatch.setattr(replaying._DRAW, "randrange", lambda n: 0)
        with torch.no_grad():
            network.body[0].bias.zero_()
            network.body[1].running_mean.zero_()
            network.body[1].bias.zero_()
        rule_logits(network, HART(), x.requires_grad_(), parameters=False)
        monkeypatch.setattr(replaying._DRAW, "randrange", lambda n: 1)
        with pytest.warns(InexactReplayWarning):
            rule_logits(network, HART(), x, parameters=False)


class TestParameters:
    """A graph of one step's activations would give parameters wrong gradients."""

    @pytest.mark.parametrize("name", rule_names())
    @pytest.mark.parametrize("kind", [*KINDS, "poisson"])
    def test_the_graph_of_the_input_has_no_parameter(self, kind, name):
        network, x = make_network(kind, dtype=torch.float64)
        rule = get_rule(name)
        for run in (rule_logits, attack_logits):
            logits = run(network, rule, x.requires_grad_(), parameters=False)
            grads = torch.autograd.grad(logits.sum(), [x, *network.parameters()], allow_unused=True)
            assert grads[0].abs().max() > 0
            assert [g for g in grads[1:] if g is not None] == []

    @pytest.mark.parametrize("rule", RATE_RULES, ids=lambda rule: rule.name)
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_modules_own_graph_has_the_unrolled_rules_gradients(self, kind, rule):
        network, x = make_network(kind, dtype=torch.float64)
        leaf, parameters = x.requires_grad_(), list(network.parameters())
        expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), rule).square().sum(), parameters)
        found = torch.autograd.grad(GradientRuleModule(network, rule).eval()(leaf).square().sum(), parameters)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)

    def test_gradients_of_the_classifier_take_one_pass(self, monkeypatch):
        passes = []
        one_pass = replaying.one_pass
        monkeypatch.setattr(replaying, "one_pass", lambda *a: passes.append(1) or one_pass(*a))
        network, x = make_network("plain")
        classifier = small_classifier(network)
        y = np.array([0, 1, 2, 3])
        gradients = classifier.class_gradient(x.numpy())
        classifier.loss_gradient(x.numpy(), y)
        assert len(passes) == 2
        leaf = x.clone().requires_grad_()
        expected = torch.autograd.grad(classifier.model(leaf)[:, 2].sum(), leaf)[0]
        assert len(passes) == 2  # the module's own forward replays
        np.testing.assert_allclose(gradients[:, 2], expected.numpy(), rtol=1e-4, atol=1e-6)

    def test_other_leaves_are_left_out_and_other_threads_are_not_affected(self):
        weight = torch.ones(3, requires_grad=True)
        x = torch.ones(3, requires_grad=True) * 1
        results = {}

        def other() -> None:
            results["other"] = torch.autograd.grad((weight * 2).sum(), weight)[0]

        with InputsOnly():
            joined = torch.cat([x * weight, weight]) + torch.stack((weight, weight)).sum()
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        assert torch.autograd.grad(joined.sum(), [x, weight], allow_unused=True)[1] is None
        assert results["other"].tolist() == [2.0, 2.0, 2.0]


def test_random_encodings_are_averaged_in_class_gradients():
    network, x = make_network("poisson")
    classifier = small_classifier(network, eot_samples=3)
    network.encoder.generator.manual_seed(1)
    found = classifier.class_gradient(x.numpy(), 1)[:, 0]
    network.encoder.generator.manual_seed(1)
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(classifier.model(leaf)[:, 1].sum(), leaf)[0]
    assert isinstance(network.encoder, PoissonEncoder)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)
