"""Classes that `register_neuron` cannot take, and the messages that say what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from art_snn import GradientRuleModule, UnsupportedModelError, adapt
from art_snn.adapters import register_neuron
from art_snn.snn import readers
from art_snn.snn.layouts import Steps
from art_snn.snn.readers import read
from tests.adapters.nodes import Surrogate
from tests.adapters.test_registered import Step


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    monkeypatch.setattr("art_snn.adapters.registered._REGISTERED", {})


class Cell(nn.Module):
    """Takes its state, and returns it."""

    def forward(self, x, mem):
        mem = 0.5 * mem + x
        spike = (mem > 1).float()
        return spike, mem - spike


class Begins(Cell):
    def forward(self, x, mem=None):
        return super().forward(x, 0.0 if mem is None else mem)


@pytest.mark.parametrize("cls", [Cell, Begins])
@pytest.mark.parametrize("layout", ["N", Steps()])
def test_a_state_in_an_argument_is_said_to_be_one(cls, layout):
    text = rf"{cls.__name__}.*forward takes mem beside its currents.*keeps its potential in an attribute"
    with pytest.raises(ValueError, match=text) as error:
        register_neuron(cls, {"decay": 0.5, "reset": "soft", "strict": True}, layout=layout)
    assert "would" not in str(error.value)
    assert read(cls()) is None


class Scaled(Step):
    thresh = 0.5

    def forward(self, x):
        return super().forward(x / self.thresh) * self.thresh


class Potential(Step):
    def forward(self, x):
        super().forward(x)
        return self.mem


@pytest.mark.parametrize(("cls", "values"), [(Scaled, "0, 0.5;"), (Potential, r"-?\d.*, \.\.\.;")])
def test_outputs_that_are_no_spikes_are_shown(cls, values):
    with pytest.raises(ValueError, match=rf"{cls.__name__} .*its outputs are not 0 and 1, but {values}"):
        register_neuron(cls, {"decay": 0.5, "threshold": 0.5, "reset": "soft", "strict": True}, layout="N")


class Counts(Step):
    """Gives several spikes in a step."""

    def forward(self, x):
        self.mem = 0.5 * self.mem + x
        spikes = self.mem.floor().clamp(min=0)
        self.mem = self.mem - spikes
        return spikes


def test_several_spikes_in_a_step_are_spikes():
    register_neuron(Counts, {"decay": 0.5, "reset": "soft", "several": True}, layout="N")
    assert read(Counts()).params.several


class Inline(nn.Module):
    """Neurons written into the loop over time."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, x):
        mem, total = 0.0, 0.0
        for _ in range(6):
            mem = 0.5 * mem + 4 * self.into(x.flatten(1))
            spikes = Surrogate.apply(mem - 1)
            mem, total = mem - spikes, total + self.out(spikes)
        return total


class Moved(Inline):
    """The same, as the message says."""

    def __init__(self):
        super().__init__()
        self.neurons = Kept()

    def forward(self, x):
        self.neurons.mem = 0.0
        current = 4 * self.into(x.flatten(1))
        return sum(self.out(self.neurons(current)) for _ in range(6))


class Kept(nn.Module):
    mem = 0.0

    def forward(self, x):
        mem = 0.5 * self.mem + x
        spikes = Surrogate.apply(mem - 1)
        self.mem = mem - spikes
        return spikes


def test_neurons_in_a_loop_are_said_to_move_into_a_module():
    for take in (GradientRuleModule, adapt):
        with pytest.raises((TypeError, UnsupportedModelError), match=r"loop over time first moves into an nn\.Module"):
            take(Inline())
    register_neuron(Kept, {"decay": 0.5, "reset": "soft"}, layout="N")
    torch.manual_seed(0)
    model, x = GradientRuleModule(Moved()).eval(), torch.rand(4, 1, 2, 2, requires_grad=True)
    assert torch.autograd.grad(model(x).square().sum(), x)[0].any()
