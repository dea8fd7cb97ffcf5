from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import (
    HART,
    LIF,
    DirectEncoder,
    GradientRuleModule,
    PyTorchSNNClassifier,
    RandomnessWarning,
    SpikingNetwork,
    UnsupportedModelError,
    adapt,
    get_rule,
    rule_names,
)
from art_snn.evaluation import temporal_retention
from art_snn.rules.base import RateRule
from tests.adapters.nodes import Loop

pytestmark = pytest.mark.usefixtures("known", "doubles")


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def sequence_model(loop: Loop) -> SpikingNetwork:
    first, second, last = loop.layers
    layers = [nn.Flatten(), Scale(3), first, LIF(decay=0.9), second, Scale(2), LIF(decay=0.9), last]
    return SpikingNetwork(DirectEncoder(time_steps=loop.time_steps), nn.Sequential(*layers)).eval()


X = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
V = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def gradients(model: GradientRuleModule, weights: list[torch.Tensor]) -> list[torch.Tensor]:
    x = X.clone().requires_grad_()
    return list(torch.autograd.grad((model(x) * V).sum(), [x, *weights]))


@pytest.mark.parametrize("name", rule_names())
def test_a_loop_of_ones_own_has_the_gradient_of_the_sequence_model(name):
    loop = Loop().eval()
    whole, parts = GradientRuleModule(loop, name).eval(), GradientRuleModule(sequence_model(loop), name).eval()
    for here, there in zip(*(gradients(each, list(loop.layers.parameters())) for each in (whole, parts)), strict=True):
        assert there.abs().max() > 0
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-12)


def states_by_hand(loop: Loop, rule: RateRule) -> torch.Tensor:
    """Every spike of the first layer is a leaf; the potentials of the second are functions of its currents."""
    first, second, last = loop.layers
    x = X.clone().requires_grad_()
    current = first(3 * x.flatten(1))
    membrane, spikes, slopes = torch.zeros(5, 16), [], []
    for _ in range(loop.time_steps):
        membrane = 0.9 * membrane + current.detach()
        fired = (membrane >= 1).double()
        spikes.append(fired.clone().requires_grad_())
        slopes.append(rule.slope(membrane - 1))
        membrane = membrane * (1 - fired)
    potential, outputs = torch.zeros(5, 16), []
    for fired in spikes:
        potential = 0.9 * potential + 2 * second(fired)
        potential = potential * (potential.detach() < 1)
        outputs.append(last(potential))
    grads = torch.autograd.grad((torch.stack(outputs).mean(0) * V).sum(), spikes)
    merged = torch.stack([k * g for k, g in zip(slopes, grads, strict=True)]).mean(0)
    return torch.autograd.grad(current, x, merged * loop.time_steps)[0]


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_potentials_that_are_read_are_affine_in_the_currents(gamma):
    loop = Loop(readout="potentials").eval()
    model = GradientRuleModule(loop, HART(gamma=gamma)).eval()
    expected = states_by_hand(loop, HART(gamma=gamma))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(gradients(model, [])[0], expected, rtol=1e-10, atol=1e-12)


def stbp_by_hand(loop: Loop) -> torch.Tensor:
    slope = get_rule("stbp").slope

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, distance):
            ctx.save_for_backward(distance)
            return (distance >= 0).double()

        @staticmethod
        def backward(ctx, grad):
            return grad * slope(ctx.saved_tensors[0])

    x = X.clone().requires_grad_()
    potentials, outputs = [torch.zeros(5, 16), torch.zeros(5, 16)], []
    for _ in range(loop.time_steps):
        values = 3 * x.flatten(1)
        for i, weigh in enumerate((loop.layers[0], lambda spikes: 2 * loop.layers[1](spikes))):
            membrane = 0.9 * potentials[i] + weigh(values)
            values = Spike.apply(membrane - 1)
            potentials[i] = membrane * (1 - values)
        outputs.append(loop.layers[2](values if loop.readout == "outputs" else potentials[1]))
    return torch.autograd.grad((torch.stack(outputs).mean(0) * V).sum(), x)[0]


@pytest.mark.parametrize("readout", ["outputs", "potentials"])
def test_a_rule_through_time_goes_through_the_loop(readout):
    loop = Loop(readout=readout).eval()
    model = GradientRuleModule(loop, "stbp").eval()
    torch.testing.assert_close(gradients(model, [])[0], stbp_by_hand(loop), rtol=1e-10, atol=1e-12)


class InPlace(Loop):
    """Reads the currents of its first layer again, after the neurons, and changes them in place."""

    def forward(self, x):
        x = 3 * x.flatten(1)
        states, total = [x.new_zeros(len(x), 16) for _ in self.nodes], 0
        for _ in range(self.time_steps):
            current = self.layers[0](x)
            spikes, states[0] = self.nodes[0](current, states[0])
            current = current.mul_(2) if self.readout == "in place" else 2 * current
            second, states[1] = self.nodes[1](self.layers[1](spikes) + current, states[1])
            total = total + self.layers[2](second)
        return total / self.time_steps


@pytest.mark.parametrize("name", rule_names())
def test_a_current_that_is_changed_in_place_after_its_neurons(name):
    first, second = (InPlace(readout=readout).eval() for readout in ("in place", "anew"))
    second.load_state_dict(first.state_dict())
    found, expected = (gradients(GradientRuleModule(loop, name).eval(), [])[0] for loop in (first, second))
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", rule_names())
def test_nothing_is_left_on_the_model(name):
    loop = Loop().eval()
    before, state = pickle.dumps(loop), copy.deepcopy(loop.state_dict())
    gradients(GradientRuleModule(adapt(loop), name).eval(), [])
    assert pickle.dumps(loop) == before
    assert all(torch.equal(value, state[key]) for key, value in loop.state_dict().items())


def test_a_model_of_ones_own_is_adapted_by_itself_and_predicts_as_it_does(known):
    torch.set_default_dtype(torch.float32)
    loop = Loop().eval()
    classifier = PyTorchSNNClassifier(loop, nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu")
    x = X.float()
    with torch.no_grad():
        expected = loop(x).numpy()
    assert np.array_equal(classifier.predict(x.numpy()), expected)
    assert classifier.model.network.model is loop
    assert classifier.loss_gradient(x.numpy(), np.array([0, 1, 2, 0, 1])).any()
    assert "forward=model(x)" in repr(classifier.model.network)


def test_fit_trains_the_users_weights_with_their_surrogate(known):
    torch.set_default_dtype(torch.float32)
    loop = Loop()
    optimizer = torch.optim.Adam(loop.parameters(), lr=0.01)
    classifier = PyTorchSNNClassifier(loop, nn.CrossEntropyLoss(), (1, 2, 2), 3, optimizer, device_type="cpu")
    before = loop.layers[0].weight.detach().clone()
    classifier.fit(X.float().numpy(), np.array([0, 1, 2, 0, 1]), nb_epochs=2, batch_size=5)
    assert not torch.equal(loop.layers[0].weight, before)


def test_temporal_retention_sees_all_steps():
    (first, second) = temporal_retention(adapt(Loop().eval()), X)
    parts = temporal_retention(sequence_model(Loop().eval()), X)
    assert first.layer == "model.nodes.0"
    assert 0 < first.rate < 1
    assert len(parts) == 2
    assert second.identity_error < 1e-12


FRAMES = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("readout", ["mean", "sum", "last", "max", lambda out_seq: 2 * out_seq.mean(0)])
@pytest.mark.parametrize("frames", [False, True])
def test_time_is_what_the_neurons_take(readout, frames):
    net = nn.Sequential(nn.Linear(4, 8), LIF(decay=0.9), nn.Linear(8, 3)).eval()
    network = adapt(net, frames=True, readout=readout) if frames else adapt(net, time_steps=6, readout=readout)
    x = FRAMES if frames else FRAMES[:, 0]
    out_seq = net(FRAMES.transpose(0, 1) if frames else x.expand(6, 3, 4))
    reads = {"mean": out_seq.mean(0), "sum": out_seq.sum(0), "last": out_seq[-1], "max": out_seq.amax(0)}
    expected = 2 * out_seq.mean(0) if callable(readout) else reads[readout]
    assert torch.equal(network(x), expected)
    assert ("event frames" if frames else "T=6") in repr(network)


def test_a_conversion_rule_takes_the_mean_of_frames():
    net = nn.Sequential(nn.Linear(4, 8), LIF(decay=0.9), nn.Linear(8, 3)).eval()
    model = GradientRuleModule(adapt(net, frames=True), "cba").eval()
    x = FRAMES.clone().requires_grad_()
    grad = torch.autograd.grad((model(x) * V[:3]).sum(), x)[0]
    assert grad.abs().max() > 0
    torch.testing.assert_close(grad, grad.mean(1, keepdim=True).expand_as(grad))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"time_steps": 0}, ValueError, "time_steps"),
        ({"time_steps": 4, "frames": True}, ValueError, "not both"),
        ({"readout": "median"}, ValueError, "'median'"),
        ({"output": 1.0}, TypeError, "1.0"),
        ({"forward": 3}, TypeError, "forward must be a function"),
        ({"forward": lambda model, x: model(x), "time_steps": 4}, ValueError, "leave them out"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, error, text):
    with pytest.raises(error, match=text):
        adapt(Loop(), **options)


def test_only_modules_with_neurons_are_adapted():
    with pytest.raises(TypeError, match="got int"):
        adapt(3)
    with pytest.raises(TypeError, match="needs no adapt"):
        adapt(sequence_model(Loop()))
    with pytest.raises(UnsupportedModelError, match="no spiking layer"):
        adapt(nn.Linear(3, 4))
    with pytest.raises(UnsupportedModelError, match="take time in different ways"):
        adapt(nn.Sequential(LIF(), Loop()), time_steps=4)


def test_time_chunk_is_refused():
    model = GradientRuleModule(adapt(Loop().eval()), "stbp", time_chunk=2).eval()
    with pytest.raises(UnsupportedModelError, match="time_chunk=2"):
        gradients(model, [])


def test_copies_and_files_keep_what_was_adapted(tmp_path):
    torch.set_default_dtype(torch.float32)
    net = nn.Sequential(nn.Flatten(2), nn.Linear(4, 64), LIF(decay=0.9), nn.Linear(64, 3))
    classifier = PyTorchSNNClassifier(adapt(net, time_steps=6), nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu")
    x, y = 3 * X.float().numpy(), np.array([0, 1, 2, 0, 1])
    gradient = classifier.loss_gradient(x, y)
    for other in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        assert np.array_equal(other.loss_gradient(x, y), gradient)
        assert other.model.network.model is not net
    classifier.save("weights.safetensors", str(tmp_path))
    with torch.no_grad():
        net[1].weight.mul_(0.5)
    assert not np.array_equal(classifier.loss_gradient(x, y), gradient)
    classifier.load_state(tmp_path / "weights.safetensors")
    assert np.array_equal(classifier.loss_gradient(x, y), gradient)


def test_a_forward_that_cannot_be_pickled_is_said_so():
    model = adapt(Loop().eval(), lambda model, x: model(x))
    assert copy.deepcopy(model)(X).shape == (5, 3)
    with pytest.raises(TypeError, match=r"forward of an adapted network cannot be pickled.*def"):
        pickle.dumps(model)


def drawing(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Dropout that stays on, as a defence has it."""
    return model(nn.functional.dropout(x, 0.2))


def test_draws_of_a_network_that_is_random_inside_are_no_waste():
    module = GradientRuleModule(adapt(Loop().eval(), drawing), "hart", eot_samples=3).eval()
    gradients(module, [])
    module.eot_samples = 5
    assert gradients(module, [])[0].any()
    classifier = PyTorchSNNClassifier(
        adapt(Loop().float(), drawing), nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu", eot_samples=3
    )
    classifier.eot_samples = 4


def test_draws_of_a_steady_network_are_said_to_be_the_same_as_soon_as_that_is_known():
    module = GradientRuleModule(adapt(Loop().eval()), "hart", eot_samples=3).eval()
    with pytest.warns(RandomnessWarning, match="eot_samples=3 .* its forward is not random"):
        gradients(module, [])
    gradients(module, [])
    with pytest.warns(RandomnessWarning, match="eot_samples=2"):
        module.eot_samples = 2
