"""Networks that change currents, spikes and states in place: exact, or refused with the line to write."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from art_snn import GradientRuleModule, UnsupportedModelError, adapt, get_rule, rule_names
from art_snn.adapters import Reading, Steps
from art_snn.rules.base import RateRule
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from tests.adapters.nodes import Node, Surrogate

pytestmark = pytest.mark.usefixtures("known", "doubles")
RATE_RULES = [name for name in rule_names() if isinstance(get_rule(name), RateRule)]
# PDSG sharpens its slope by what a layer's neurons saw since they began, which a state that is made anew lets them do.
OTHER_RULES = [name for name in rule_names() if name not in (*RATE_RULES, "pdsg")]
X = torch.rand(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
V = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


class Plain(nn.Module):
    """LIF that keeps its state, with a reset to 0."""

    params = NeuronParams(decay=0.9)
    potential: Any = 0.0

    def forward(self, current: Tensor) -> Tensor:
        membrane = 0.9 * self.potential + current
        spikes = Surrogate.apply(membrane - 1)
        self.potential = membrane * (1 - spikes)
        return spikes


class Late(nn.Module):
    """LIF whose potential begins as the current itself, and is reset one step late, as snnTorch's."""

    params = NeuronParams(decay=0.9, reset="late soft")
    potential: Any = 0.0
    spikes: Any = 0.0

    def forward(self, current: Tensor) -> Tensor:
        self.potential = 0.9 * self.potential + current - self.spikes
        self.spikes = Surrogate.apply(self.potential - 1)
        return self.spikes.clone()


class Synaptic(Plain):
    """LIF whose synaptic current begins as the current itself, as norse's."""

    params = NeuronParams(decay=0.9, alpha=0.5)
    synapse: Any = 0.0

    def forward(self, current: Tensor) -> Tensor:
        self.synapse = 0.5 * self.synapse + current
        return super().forward(self.synapse)


def read(module: nn.Module) -> Reading | None:
    return Reading(module.params, Steps()) if isinstance(module, (Plain, Late)) else None


class Loop(nn.Module):
    """Changes a current or spikes after its neurons, in place or anew."""

    def __init__(self, kind: type, what: str, *, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 3)])
        self.nodes = nn.ModuleList([kind(), kind()])
        self.what, self.in_place = what, in_place
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.mul_(3)

    def forward(self, x: Tensor) -> Tensor:
        for node in self.nodes:
            node.potential = node.synapse = node.spikes = 0.0
        outputs = []
        for _ in range(6):
            current = self.layers[0](x)
            spikes = self.nodes[0](current)
            if self.what == "current":
                current = current.mul_(0.5) if self.in_place else 0.5 * current
                spikes = spikes + current
            elif self.in_place:
                spikes *= 2
                spikes += 0.5
            else:
                spikes = 2 * spikes + 0.5
            outputs.append(self.layers[2](self.nodes[1](self.layers[1](spikes))))
        return torch.stack(outputs).mean(0)


def gradient(network: nn.Module, rule: str) -> Tensor:
    x = X.clone().requires_grad_()
    return torch.autograd.grad((GradientRuleModule(adapt(network.eval()), rule).eval()(x) * V).sum(), x)[0]


@pytest.mark.parametrize("what", ["current", "spikes"])
@pytest.mark.parametrize("kind", [Plain, Late, Synaptic])
@pytest.mark.parametrize("rule", rule_names())
def test_what_is_changed_in_place_after_neurons_is_as_if_made_anew(rule, kind, what):
    readers.register_reader(read)
    found, expected = (gradient(Loop(kind, what, in_place=in_place), rule) for in_place in (True, False))
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


class States(nn.Module):
    """Changes the state of its first layer between steps."""

    def __init__(self, change: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(4, 16), nn.Linear(16, 3)])
        self.node, self.change = Node(), change
        with torch.no_grad():
            self.layers[0].weight.mul_(4)

    def forward(self, x: Tensor) -> Tensor:
        potential, outputs = x.new_zeros(len(x), 16), []
        for _ in range(6):
            spikes, potential = self.node(self.layers[0](x), potential)
            read = potential
            if self.change == "in place":
                potential.mul_(0.5)
            elif self.change == "anew":
                potential = 0.5 * potential
            elif self.change == "no graph":
                with torch.no_grad():
                    potential.mul_(0.5)
            elif self.change == "data":
                potential.data.mul_(0.5)
            elif self.change == "copy":
                read = potential.clone().mul_(0.5)
            elif self.change == "copy anew":
                read = 0.5 * potential
            outputs.append(self.layers[1](spikes + read if self.change.startswith("copy") else spikes))
        return torch.stack(outputs).mean(0)


@pytest.mark.parametrize("change", ["in place", "no graph"])
@pytest.mark.parametrize("rule", RATE_RULES)
def test_a_state_that_comes_back_changed_is_refused_by_the_name_of_its_layer(rule, change):
    with pytest.raises(UnsupportedModelError, match=r"model\.node gets back a state .*read = mem\.clone\(\)"):
        gradient(States(change), rule)


@pytest.mark.parametrize("rule", OTHER_RULES)
def test_rules_through_time_go_through_a_change_of_state(rule):
    found, expected = gradient(States("in place"), rule), gradient(States("anew"), rule)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    unchanged = gradient(States("none"), rule)
    assert rule == "cba" or not torch.allclose(unchanged, expected)


@pytest.mark.parametrize("rule", rule_names())
def test_a_change_past_the_graph_is_refused(rule):
    with pytest.raises(UnsupportedModelError, match=r"past every graph; write mem = 0\.5 \* mem"):
        gradient(States("data"), rule)


@pytest.mark.parametrize("rule", rule_names())
def test_a_copy_of_a_state_may_be_changed_as_the_message_says(rule):
    found, expected = gradient(States("copy"), rule), gradient(States("copy anew"), rule)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
