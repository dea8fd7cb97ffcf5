"""Networks of norse, as its documentation and its MNIST task build them, against an independent truth."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from art_snn import GradientRuleModule, PyTorchSNNClassifier, UnsupportedModelError, adapt, rule_names
from tests.adapters.truth import TOLERANCES, Equation, Layer, true_gradient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    from norse.torch.functional.lif import LIFFeedForwardState, LIFParameters

STEPS = 8


class Current(Equation):
    """LIF with a synaptic current, as norse's functional/lif.py writes it."""

    strict = True

    def __init__(self, layer) -> None:
        p = layer.p
        self.k, self.theta = float(layer.dt * p.tau_mem_inv), float(p.v_th)
        self.decay, self.c, self.alpha = 1 - self.k, self.k, 1 - float(layer.dt * p.tau_syn_inv)
        self.d = self.k * float(p.v_leak)
        self.p, self.dt = p, layer.dt
        self.v, self.i = torch.tensor(float(p.v_leak), dtype=torch.float64), torch.zeros((), dtype=torch.float64)

    def charge(self, current):
        jumped = self.i + current
        decayed = self.v + self.dt * self.p.tau_mem_inv * ((self.p.v_leak - self.v) + jumped)
        self.i = jumped - self.dt * self.p.tau_syn_inv * jumped
        return decayed

    def reset(self, membrane, spikes):
        self.v = (1 - spikes) * membrane + spikes * self.p.v_reset


class Box(Current):
    """LIF without one, as functional/lif_box.py and lif_current_encoder write it."""

    def __init__(self, layer) -> None:
        super().__init__(layer)
        self.alpha = 0.0
        if isinstance(layer, norse.ConstantCurrentLIFEncoder):
            self.v = torch.zeros((), dtype=torch.float64)

    def charge(self, current):
        return self.v + self.dt * self.p.tau_mem_inv * ((self.p.v_leak - self.v) + current)


class Integrator(Equation):
    """IAF, as functional/iaf.py writes it."""

    strict = True

    def __init__(self, layer) -> None:
        self.p, self.theta = layer.p, float(layer.p.v_th)
        self.v = torch.tensor(float(layer.p.v_reset.detach()), dtype=torch.float64)

    def charge(self, current):
        return self.v + current

    def reset(self, membrane, spikes):
        self.v = (1 - spikes) * membrane + spikes * self.p.v_reset.detach()


def stand_in(module, rule):
    if isinstance(module, norse.ConstantCurrentLIFEncoder):
        shown = Layer(Box(module), rule)
        return shown, lambda x: torch.stack([shown.step(x) for _ in range(module.seq_length)])
    if isinstance(module, norse.LIF):
        whole = Layer(Current(module), rule)
        return whole, lambda x_seq, state=None: (torch.stack([whole.step(x) for x in x_seq]), None)
    if isinstance(module, (norse.LIFCell, norse.IAFCell)):
        equation = (Current if isinstance(module, norse.LIFCell) else Integrator)(module)
        layer = Layer(equation, rule)

        def cell(x, state=None):
            spikes = layer.step(x)
            return spikes, LIFFeedForwardState(equation.v, getattr(equation, "i", None))

        return layer, cell
    return None


def conv_net():
    """Single steps, of which norse hands on the state; a leaky integrator is read."""
    return norse.SequentialState(
        nn.Conv2d(1, 4, 3, padding=1),
        norse.LIFCell(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        norse.LIFCell(LIFParameters(v_th=torch.tensor(0.7))),
        nn.Flatten(),
        nn.Linear(64, 10),
        norse.LICell(),
    )


def lifted_net():
    """Sequences, through which other layers are lifted."""
    return norse.SequentialState(
        norse.Lift(nn.Conv2d(1, 4, 3, padding=1)),
        norse.LIF(),
        norse.Lift(nn.AvgPool2d(2)),
        norse.Lift(nn.Conv2d(4, 4, 3, padding=1)),
        norse.LIF(LIFParameters(v_leak=torch.tensor(0.1), v_reset=torch.tensor(-0.2))),
        nn.Flatten(2),
        norse.Lift(nn.Linear(64, 10)),
        norse.LI(),
    )


class Task(nn.Module):
    """The network of norse's MNIST task: an encoder that fires, a loop over its steps, potentials, the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = norse.ConstantCurrentLIFEncoder(2 * STEPS)
        self.conv1, self.lif0 = nn.Conv2d(1, 4, 3, 1), norse.LIFCell()
        self.conv2, self.lif1 = nn.Conv2d(4, 6, 2, 1), norse.LIFCell()
        self.fc, self.lif2 = nn.Linear(6, 12), norse.LIFCell()
        self.out, self.leak = nn.Linear(12, 10), norse.LICell()

    def forward(self, x):
        states, voltages = [None] * 4, []
        for z in self.encoder(5 * x):
            z, states[0] = self.lif0(self.conv1(z.to(x)), states[0])
            z = functional.max_pool2d(z, 2, 2)
            z, states[1] = self.lif1(10 * self.conv2(z), states[1])
            z = functional.max_pool2d(z, 2, 2)
            z, states[2] = self.lif2(self.fc(z.flatten(1)), states[2])
            v, states[3] = self.leak(self.out(torch.nn.functional.relu(z)), states[3])
            voltages.append(v)
        return torch.stack(voltages).amax(0)


class Membranes(nn.Module):
    """Single steps whose last potentials, and those on the way, are read; the first neurons start from a state."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.integrate = nn.Linear(64, 24), norse.IAFCell()
        self.last, self.fire = nn.Linear(24, 10), norse.LIFCell()

    def forward(self, x):
        one = two = None
        total = 0
        for _ in range(STEPS):
            z, one = self.integrate(self.first(x.flatten(1)), one)
            _, two = self.fire(self.last(z), two)
            total = total + two.v + 0.1 * two[1]
        return total + 2 * two.v + self.last(one.v)


CASES = {
    "conv, max": (conv_net, 3.0, {"time_steps": STEPS, "readout": "max"}),
    "conv, last": (conv_net, 3.0, {"time_steps": STEPS, "readout": "last"}),
    "lifted": (lifted_net, 3.0, {"time_steps": STEPS}),
    "task": (Task, 2.0, {}),
    "membranes": (Membranes, 1.5, {}),
}
X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
V = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))


def make(case):
    build, factor, options = CASES[case]
    torch.manual_seed(0)
    net = build().eval()
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=factor / module.weight[0].numel() ** 0.5)
    return net, options


def own_code(net, x):
    """The lines of norse's documentation."""
    if isinstance(net, (Task, Membranes)):
        return net(x)
    if isinstance(net[0], norse.Lift):
        return net(x.expand(STEPS, *x.shape))[0].mean(0)
    state, outputs = None, []
    for _ in range(STEPS):
        out, state = net(x, state)
        outputs.append(out)
    return torch.stack(outputs)


def logits_of(options):
    readout = options.get("readout")
    pick = {"max": lambda out: out.amax(0), "last": lambda out: out[-1]}.get(readout, lambda out: out)
    return lambda net, x: pick(own_code(net, x))


def gradient(network, rule):
    x = X.clone().requires_grad_()
    return torch.autograd.grad((GradientRuleModule(network, rule).eval()(x) * V).sum(), x)[0]


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_librarys_to_the_last_bit(case):
    net, options = make(case)
    network = adapt(net, **options)
    with torch.no_grad():
        expected = logits_of(options)(net, X)
    assert expected.std() > 0
    assert torch.equal(network(X), expected)
    stepped = GradientRuleModule(network).eval()(X.clone().requires_grad_())
    if case == "membranes":  # whose last bits depend on the order of operations
        torch.testing.assert_close(stepped, expected, rtol=1e-5, atol=1e-5)
    else:
        assert torch.equal(stepped, expected)


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_truth(case, rule):
    if (case, rule) == ("membranes", "cba"):
        pytest.skip("an ANN has no potentials")
    net, options = make(case)
    truth = true_gradient(copy.deepcopy(net).double(), logits_of(options), X.double(), V.double(), rule, stand_in)
    assert truth.abs().max() > 0
    found = gradient(adapt(net, **options), rule)
    assert (found - truth).abs().max() <= TOLERANCES[rule] * truth.abs().max()


def test_a_lifted_cell_takes_sequences():
    net = nn.Sequential(nn.Flatten(2), norse.Lift(nn.Linear(64, 10)), norse.Lift(norse.LIFCell()))
    network = adapt(net, lambda net, x: net(10 * x.expand(STEPS, *x.shape))[0].mean(0))
    standard = adapt(net, time_steps=STEPS)
    assert "sequences (T, N, ...)" in repr(standard)
    assert torch.equal(network(X), standard(10 * X))


def test_an_encoder_that_shows_time_steps_needs_no_others():
    net = norse.SequentialState(nn.Flatten(), norse.ConstantCurrentLIFEncoder(STEPS), nn.Linear(64, 10), norse.LIF())
    with pytest.raises(
        UnsupportedModelError, match=r"1 takes single steps .* 3 takes sequences .* adapt\(model, forward"
    ):
        adapt(net, time_steps=STEPS)
    assert adapt(net, lambda net, x: net(10 * x)[0].mean(0))(X).shape == (3, 10)


def test_a_model_that_takes_a_state_is_given_it():
    class Wrapped(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x, state=None):
            return self.net(x, state)

    net, options = make("conv, max")
    assert torch.equal(adapt(Wrapped(net), **options)(X), adapt(net, **options)(X))


@pytest.mark.parametrize("case", ["conv, max", "lifted", "task"])
def test_a_fit_trains_with_the_librarys_surrogate_and_gradients_leave_the_model_alone(case):
    net, options = make(case)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    classifier = PyTorchSNNClassifier(
        adapt(net, **options), nn.CrossEntropyLoss(), (1, 8, 8), 10, optimizer=optimizer, clip_values=(0, 1)
    )
    before = copy.deepcopy(net.state_dict())
    y = np.eye(10, dtype=np.float32)[[1, 2, 3]]
    assert np.abs(classifier.loss_gradient(X.numpy(), y)).max() > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    classifier.fit(X.numpy(), y, nb_epochs=1, batch_size=3)
    assert not any(torch.equal(p, before[name]) for name, p in net.named_parameters() if "weight" in name)
