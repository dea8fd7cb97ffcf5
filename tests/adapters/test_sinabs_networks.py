"""Networks of sinabs, as `from_model` and its tutorials build them, against an independent truth."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from art_snn import GradientRuleModule, PyTorchSNNClassifier, UnsupportedModelError, adapt, rule_names
from art_snn.adapters.libraries import reset_states
from tests.adapters.truth import TOLERANCES, Equation, Layer, true_gradient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    from sinabs import activation, layers
    from sinabs.from_torch import from_model

STEPS = 6


class Forward(Equation):
    """LIF and IAF, as sinabs's layers/functional/lif.py writes them."""

    def __init__(self, layer) -> None:
        self.layer, self.theta = layer, float(layer.spike_threshold)
        self.several = layer.spike_fn is activation.MultiSpike
        self.decay = float(layer.alpha_mem_calculated.detach())
        syn = layer.alpha_syn_calculated
        self.alpha = 0.0 if syn is None else float(syn.detach())
        self.c = (1 - self.decay if layer.norm_input else 1.0) * (self.alpha if syn is not None else 1.0)
        self.v, self.i = (torch.zeros((), dtype=torch.float64) for _ in range(2))

    def charge(self, current):
        self.i = current if self.alpha == 0 else self.alpha * (self.i + current)
        return self.decay * self.v + (1 - self.decay if self.layer.norm_input else 1.0) * self.i

    def reset(self, membrane, spikes):
        if isinstance(self.layer.reset_fn, activation.MembraneReset):
            left = membrane * (1 - spikes)
        else:
            left = membrane - spikes * (self.layer.reset_fn.subtract_value or self.theta)
        low = self.layer.min_v_mem
        self.v = left if low is None else functional.relu(left - low) + low


def stand_in(module, rule):
    if isinstance(module, layers.SumPool2d):  # torch's own gradient of it is 0 where the sum is 0
        module.forward = lambda x: 4 * functional.avg_pool2d(x, 2)
    if not isinstance(module, layers.LIF) or module.spike_fn is None:
        return None
    layer = Layer(Forward(module), rule)

    def steps(x):
        return torch.stack([layer.step(current) for current in x.unbind(1)], 1)

    if not isinstance(module, layers.SqueezeMixin):
        return layer, steps
    return layer, lambda x: steps(x.unflatten(0, (-1, STEPS))).flatten(0, 1)


def converted_net(pool=None, **options):
    """A convolutional network made of an ordinary one."""
    pool = layers.SumPool2d(2) if pool is None else pool
    first = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), pool]
    second = [nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2)]
    ann = nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(24, 16, bias=False), nn.ReLU(), nn.Linear(16, 10))
    return from_model(ann, **({"num_timesteps": STEPS, "add_spiking_output": True} | options))


def batch_first_net():
    """Inputs (N, T, ...), through which other layers are repeated; spikes are read."""
    return nn.Sequential(
        layers.Repeat(nn.Conv2d(1, 4, 3, padding=1)),
        layers.IAF(),
        layers.Repeat(nn.MaxPool2d(2)),
        layers.Repeat(nn.Conv2d(4, 4, 3, padding=1)),
        layers.IAF(spike_fn=activation.SingleSpike, reset_fn=activation.MembraneReset(), min_v_mem=-1.0),
        nn.Flatten(2),
        nn.Linear(64, 10),
        layers.IAF(min_v_mem=-1.0),
    )


def leaky_net():
    """LIF with several spikes a step and a floor, with synaptic currents; potentials that do not fire are read."""
    return nn.Sequential(
        nn.Flatten(2),
        nn.Linear(64, 24),
        layers.LIF(10.0, min_v_mem=-1.0),
        nn.Linear(24, 24),
        layers.LIF(5.0, tau_syn=3.0, norm_input=False, min_v_mem=-1.0, reset_fn=activation.MembraneSubtract(0.75)),
        nn.Linear(24, 10),
        layers.ExpLeak(10.0),
    )


CASES = {
    "converted": (converted_net, 1.2),
    "converted, averages": (lambda: converted_net(nn.AvgPool2d(2)), 2.0),
    "batch first": (batch_first_net, 1.5),
    "leaky": (leaky_net, 4.0),
}
X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
V = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))


ONE_SAMPLE = {"one sample": (lambda: converted_net(num_timesteps=None, batch_size=1), 1.2)}


def make(case):
    build, factor = (CASES | ONE_SAMPLE)[case]
    torch.manual_seed(0)
    net = build().eval()
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=factor / module.weight[0].numel() ** 0.5)
    return net


def own_code(net, x):
    """The lines of sinabs's documentation."""
    x = x.unsqueeze(1).expand(len(x), STEPS, *x.shape[1:])
    if isinstance(net, nn.Sequential):
        return net(x).sum(1)
    return net(x.flatten(0, 1)).unflatten(0, (len(x), STEPS)).sum(1)


def gradient(network, rule):
    x = X.clone().requires_grad_()
    return torch.autograd.grad((GradientRuleModule(network, rule).eval()(x) * V).sum(), x)[0]


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_librarys_to_the_last_bit(case):
    net = make(case)
    network = adapt(net, time_steps=STEPS, readout="sum")
    with torch.no_grad():
        expected = own_code(net, X)
    reset_states(net)
    assert expected.std() > 0
    for _ in range(2):  # the states are reset
        assert torch.equal(network(X), expected)
        assert torch.equal(GradientRuleModule(network).eval()(X.clone().requires_grad_()), expected)
    assert torch.equal(network(X[:2]), expected[:2])


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_truth(case, rule):
    net = make(case)
    truth = true_gradient(copy.deepcopy(net).double(), own_code, X.double(), V.double(), rule, stand_in)
    assert truth.abs().max() > 0
    found = gradient(adapt(net, time_steps=STEPS, readout="sum"), rule)
    assert (found - truth).abs().max() <= TOLERANCES[rule] * truth.abs().max()


def test_a_batch_that_is_read_as_time_is_refused():
    network = adapt(make("one sample"), lambda net, x: net(5 * x))
    with pytest.raises(UnsupportedModelError, match="depend on the other samples of the batch"):
        gradient(network, "hart")


def classifier(net, **options):
    network = adapt(net, time_steps=STEPS, readout="sum")
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), **options)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["weights.safetensors", "weights"])
def test_states_are_no_weights_that_are_saved_or_loaded(case, name, tmp_path):
    net, other = make(case), make(case)
    torch.nn.init.zeros_(other.get_parameter(next(name for name, _ in other.named_parameters() if "weight" in name)))
    first, second = classifier(net), classifier(other)
    own_code(net, X[:2])  # leaves states of two samples
    own_code(other, X)  # and of three
    assert not [key for key in first.model.state_dict() if "v_mem" in key.replace("min_v_mem", "")]
    assert [key for key in net.state_dict() if "v_mem" in key.replace("min_v_mem", "")]
    first.save(name, str(tmp_path))
    second.load_state(tmp_path / (name if "." in name else f"{name}.model"))
    assert np.array_equal(second.predict(X.numpy()), first.predict(X.numpy()))
    own_code(other, X)
    second.model.load_state_dict({f"network.model.{key}": value for key, value in net.state_dict().items()})
    assert np.array_equal(second.predict(X.numpy()), first.predict(X.numpy()))


def test_a_network_is_copied_and_pickled_with_its_states_left_out():
    network = adapt(make("batch first"), time_steps=STEPS)
    own_code(network.model, X)
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert again.state_dict().keys() == network.state_dict().keys()
        assert torch.equal(again(X), network(X))


@pytest.mark.parametrize("case", CASES)
def test_a_fit_trains_with_the_librarys_surrogate_and_gradients_leave_the_model_alone(case):
    net = make(case)
    trained = classifier(net, optimizer=torch.optim.SGD(net.parameters(), 0.1))
    before = copy.deepcopy(trained.model.state_dict())
    y = np.eye(10, dtype=np.float32)[[1, 2, 3]]
    assert np.abs(trained.loss_gradient(X.numpy(), y)).max() > 0
    assert all(torch.equal(value, before[name]) for name, value in trained.model.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    trained.fit(X.numpy(), y, nb_epochs=2, batch_size=2)
    after = trained.model.state_dict()
    weights = [name for name in after if name.endswith("weight") and "analog" not in name]
    assert len(weights) >= 3
    assert not any(torch.equal(after[name], before[name]) for name in weights)
