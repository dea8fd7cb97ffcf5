"""A rule's gradient depends on the network, not on how it is written: units of potential and of current cancel."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from art_snn import LIF, DirectEncoder, EventFrameEncoder, GradientRuleModule, Residual, SpikingNetwork
from art_snn.engine.recording import record
from art_snn.engine.unrolling import unroll_rate
from art_snn.rules.base import LayerRecord, RateRule
from art_snn.snn.dynamics import NeuronParams
from tests.reference import RATE_RULES
from tests.rules.networks import RULE_CLASSES, assert_matches_reference, draw, firing_network

FEATURES = 12


class Neurons(LIF):
    """Neurons of the whole family."""

    def __init__(self, params: NeuronParams) -> None:
        super().__init__()
        self.params = params


def per_neuron(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, FEATURES, dtype=torch.float64)


def linear(inputs: int, outputs: int, weight: Any = 1.0, shift: Any = 0.0) -> nn.Linear:
    """Return a layer whose output is a random one's times ``weight`` plus ``shift``."""
    layer = nn.Linear(inputs, outputs).double()
    weight, shift = (torch.as_tensor(value, dtype=torch.float64) for value in (weight, shift))
    with torch.no_grad():
        layer.weight.mul_(3 * weight.reshape(-1, 1))
        layer.bias.uniform_(0.0, 0.6).mul_(weight).add_(shift)
    return layer


def make_network(kind: str, params: NeuronParams, weight: Any = 1.0, shift: Any = 0.0) -> SpikingNetwork:
    """Return a network whose neurons get ``weight`` times the random currents plus ``shift``."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = linear(16, FEATURES, weight, shift)
        neurons = Neurons(NeuronParams(decay=0.8))
        middle: nn.Module = nn.Sequential(
            linear(FEATURES, FEATURES), neurons, linear(FEATURES, FEATURES, weight, shift)
        )
        if kind == "residual":
            middle = Residual(middle, linear(FEATURES, FEATURES, weight))
        gate = nn.ReLU() if kind == "unrolled" else nn.Identity()
        body = nn.Sequential(nn.Flatten(), first, Neurons(params), gate, middle, Neurons(params), linear(FEATURES, 4))
    return SpikingNetwork(DirectEncoder(time_steps=6), body).eval()


def written(kind: str, params: NeuronParams, threshold: Any, c: Any, d: Any) -> SpikingNetwork:
    """Return the network of neurons with threshold 1, written with another threshold, input weight and drive."""
    if isinstance(params.alpha, Tensor) or params.alpha != 0:
        d = 0.0  # a current would come to it through the synapse, and not at once
    values = {name: getattr(params, name) * threshold for name in ("threshold", "d", "v_reset", "v0")}
    values["rho"] = None if params.rho is None else params.rho * threshold
    values["d"] = values["d"] + d
    return make_network(kind, params._replace(c=c, **values), threshold / c, -d / c)


def gradient(network: SpikingNetwork, rule: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits that an attack takes its loss of, and a gradient."""
    leaf = x.clone().requires_grad_()
    logits = next(GradientRuleModule(network, rule).eval().attack_samples(leaf))
    return logits.detach(), torch.autograd.grad((logits * torch.tensor([1.0, -0.5, 0.3, 0.8])).sum(), leaf)[0]


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


PLAIN = st.builds(
    NeuronParams,
    decay=st.sampled_from([0.5, 0.9, 1.0, per_neuron(0.4, 1.0)]),
    threshold=st.just(1.0),
    c=st.just(1.0),
    reset=st.sampled_from(["hard", "soft"]),
    alpha=st.one_of(st.just(0.0), numbers(0.1, 0.9), st.just(per_neuron(0.1, 0.6))),
    d=st.sampled_from([0.0, 0.1, per_neuron(-0.2, 0.2)]),
    v_reset=st.sampled_from([0.0, -0.2, 0.1]),
    v0=st.sampled_from([0.0, 0.3]),
    rho=st.one_of(st.none(), numbers(0.5, 1.5)),
    strict=st.booleans(),
    several=st.just(False),
    floor=st.none(),
)


@pytest.mark.filterwarnings("ignore::art_snn.errors.InexactReplayWarning")
@pytest.mark.parametrize("kind", ["sequential", "residual", "unrolled"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    params=PLAIN,
    threshold=st.one_of(numbers(0.05, 20.0), st.just(per_neuron(0.3, 3.0))),
    c=st.one_of(numbers(0.05, 20.0), st.just(per_neuron(0.2, 5.0))),
    d=st.one_of(numbers(-3.0, 3.0), st.just(per_neuron(-1.0, 1.0))),
)
def test_a_network_written_twice_has_one_gradient(kind, params, threshold, c, d):
    one, other = make_network(kind, params), written(kind, params, threshold, c, d)
    x = draw((2, 1, 4, 4), seed=5).double()
    for rule in RULE_CLASSES:
        (logits, found), (other_logits, other_found) = gradient(one, rule, x), gradient(other, rule, x)
        torch.testing.assert_close(other_logits, logits, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other_found, found, rtol=1e-8, atol=1e-9)


CHANNELS = torch.tensor([0.6, 0.8, 1.0, 1.3, 1.6, 2.0], dtype=torch.float64).view(-1, 1, 1)
FAMILY = {
    "half of the input": {"c": 0.5, "threshold": 0.6},
    "a tenth of the input": {"c": 0.1, "decay": 0.9, "threshold": 0.1},
    "a drive": {"c": 0.8, "d": 0.15, "threshold": 0.9},
    "a synapse": {"alpha": 0.6, "c": 0.5, "decay": 0.7, "threshold": 1.4},
    "a synapse, soft": {"alpha": 0.3, "c": 0.7, "d": 0.05, "reset": "soft", "threshold": 0.8, "rho": 0.5},
    "resting elsewhere": {"v_reset": -0.2, "v0": 0.3, "threshold": 0.8, "d": -0.05},
    "by channel": {"decay": (CHANNELS / 2).clamp(max=1), "threshold": CHANNELS, "c": 1.2 / CHANNELS, "d": CHANNELS / 9},
    "synapses by channel": {"alpha": CHANNELS / 4, "c": 0.6 * CHANNELS, "threshold": CHANNELS.flip(0), "reset": "soft"},
}


def family_network(encoder: nn.Module, changes: dict[str, Any]) -> SpikingNetwork:
    """Return a residual network in float64 whose neurons, but the last, have ``changes``."""
    network = copy.deepcopy(firing_network(encoder, lambda layer: Neurons(NeuronParams(decay=0.5)))).double()
    for layer in [module for module in network.modules() if isinstance(module, Neurons)][:-1]:
        layer.params = layer.params._replace(**changes)
    return network


@pytest.mark.parametrize("changes", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("rule", list(RULE_CLASSES))
class TestTheWholeFamily:
    """Neurons with an input weight, a drive, a synapse, ... in numbers or tensors that broadcast."""

    def test_rule_equals_reference(self, rule: str, changes: dict[str, Any]) -> None:
        assert_matches_reference(family_network(DirectEncoder(time_steps=5), changes), draw((3, 2, 8, 8), 1), rule)

    def test_rule_equals_reference_on_frames(self, rule: str, changes: dict[str, Any]) -> None:
        assert_matches_reference(family_network(EventFrameEncoder(), changes), draw((3, 4, 2, 8, 8), 1), rule)


@pytest.mark.parametrize("changes", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("rule", RATE_RULES)
def test_the_unrolled_form_equals_the_replay(rule: str, changes: dict[str, Any]) -> None:
    network, x = family_network(DirectEncoder(time_steps=5), changes), draw((3, 2, 8, 8), 1).double().requires_grad_()
    found = torch.autograd.grad(GradientRuleModule(network, rule).eval()(x).square().sum(), x)[0]
    unrolled: Callable[[], Tensor] = lambda: unroll_rate(network, network.encode(x), RULE_CLASSES[rule]())  # noqa: E731
    expected = torch.autograd.grad(unrolled().square().sum(), x)[0]
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.7, torch.tensor([0.2, 0.9], dtype=torch.float64)])
def test_the_mean_drive_is_what_the_steps_add(alpha):
    params = NeuronParams(decay=0.9, threshold=2.0, alpha=alpha, c=0.3, d=-0.2)
    network = SpikingNetwork(DirectEncoder(time_steps=2), nn.Sequential(nn.Identity(), Neurons(params)))
    x_seq = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    synapse, drives = torch.zeros(3, 2, dtype=torch.float64), []
    for x in x_seq:
        synapse = alpha * synapse + x
        drives.append(0.3 * synapse - 0.2)
    ((layer,),) = record(network, x_seq).layers.values()
    torch.testing.assert_close(layer.mean_drive, torch.stack(drives).mean(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(layer.mean_current, x_seq.mean(0), rtol=1e-12, atol=1e-14)


def test_a_rule_sees_thresholds_and_leaves_the_factor_to_the_engine():
    seen = {}

    class Watch(RateRule):
        def slope(self, distance: Tensor) -> Tensor:
            seen["distance"] = distance.clone()
            return torch.ones_like(distance)

    class Gain(RateRule):
        def gain(self, record: LayerRecord) -> Tensor:
            return torch.ones_like(record.rate)

    network = SpikingNetwork(DirectEncoder(time_steps=1), nn.Sequential(nn.Identity(), LIF(threshold=4.0)))
    layer = network.body[1]
    layer.params = layer.params._replace(c=0.5)
    x = torch.tensor([[2.0, 10.0]], dtype=torch.float64, requires_grad=True)
    for rule in (Watch(), Gain()):
        grad = torch.autograd.grad(GradientRuleModule(network, rule).eval()(x).sum(), x)[0]
        assert grad.tolist() == [[0.125, 0.125]]
    assert seen["distance"].tolist() == [[-0.75, 0.25]]
