"""ASSG and HART-ASSG against the float64 reference; what their slopes are for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from art_snn import ASSG, HART, HARTASSG, DirectEncoder, EventFrameEncoder, GradientRuleModule
from art_snn.engine.unrolling import unroll_rate
from art_snn.rules.assg import adaptive_slope
from art_snn.snn.dynamics import NeuronParams, slope_at
from art_snn.snn.models import digits_net
from tests.reference import forward, input_gradient
from tests.rules.networks import (
    BATCH,
    direct_case,
    draw,
    error,
    firing_network,
    gradient_of,
    loss_gradient,
    max_pool_body,
    neuron_of,
    to_input,
)

RULES = {"assg": ASSG, "hart-assg": HARTASSG}
# Sharp slopes multiply rounding from step to step and layer to layer.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}


def assert_matches(network, x, rule: str, dtype: torch.dtype = torch.float64, **hyper: float) -> None:
    module = GradientRuleModule(copy.deepcopy(network).to(dtype), RULES[rule](**hyper)).eval()
    logits, gradient = gradient_of(module, x.to(dtype))
    x_seq = network.encode(x.double())
    expected_logits, _ = forward(network, x_seq)
    expected = to_input(network, input_gradient(network, x_seq, loss_gradient(expected_logits), rule, **hyper))
    assert expected.abs().max() > 0
    assert error(logits, expected_logits) <= min(TOLERANCE[dtype], 1e-5)
    assert error(gradient, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("time_steps", [1, 4, 8])
@pytest.mark.parametrize("decay", [0.5, 1.0])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_rule_equals_reference(rule, reset, decay, time_steps, dtype):
    assert_matches(*direct_case(decay, reset, time_steps), rule, dtype)


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize(("sharpness", "delta"), [(1.0, 0.05), (6.0, 0.5)])
def test_settings(rule, sharpness, delta):
    assert_matches(*direct_case(0.9, "hard", 4), rule, sharpness=sharpness, delta=delta)


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_event_frames(rule, reset):
    network = firing_network(EventFrameEncoder(), neuron_of(0.9, reset))
    assert_matches(network, draw((BATCH, 4, 2, 8, 8), 3), rule)


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.filterwarnings("ignore::art_snn.InexactReplayWarning")
def test_where_one_step_cannot_stand_for_all(rule):
    network = firing_network(DirectEncoder(time_steps=4), neuron_of(0.9, "hard"), body=max_pool_body)
    assert_matches(network, draw((BATCH, 2, 8, 8), 3), rule)


def test_the_replay_of_hart_assg_is_its_unrolled_form():
    network, x = direct_case(0.9, "hard", 8)
    network, x = copy.deepcopy(network).double(), x.double()
    _, replayed = gradient_of(GradientRuleModule(network, HARTASSG()).eval(), x)
    _, unrolled = gradient_of(lambda x: unroll_rate(network, network.encode(x), HARTASSG()), x)
    assert error(replayed, unrolled) <= 1e-10


@pytest.mark.parametrize("rule", [ASSG(), HARTASSG()])
def test_a_samples_gradient_does_not_depend_on_the_others(rule):
    network, x = direct_case(0.9, "hard", 4)
    module = GradientRuleModule(copy.deepcopy(network).double(), rule).eval()
    leaf = x[1:2].double().requires_grad_()
    logits = module(leaf)
    row = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.tensor([3])), leaf)[0]
    full = x.double().requires_grad_()
    losses = nn.functional.cross_entropy(module(full), torch.tensor([0, 3, 4]), reduction="none")
    expected = torch.autograd.grad(losses[1], full)[0]
    torch.testing.assert_close(row[0], expected[1], rtol=1e-9, atol=1e-14)
    assert expected[0].abs().max() == 0
    assert expected[1].abs().max() > 0


@pytest.mark.parametrize("sharpness", [1.0, 3.07])
def test_the_slope_falls_as_the_inverse_distance(sharpness):
    u = torch.tensor([0.0, 0.5, 100.0, 200.0], dtype=torch.float64)
    slope = adaptive_slope(u, sharpness, 0.2)
    alpha = sharpness / (u + 0.2)
    torch.testing.assert_close(slope, alpha / 2 / (1 + (torch.pi / 2 * alpha * u) ** 2), rtol=1e-12, atol=0)
    assert slope[2] / slope[3] == pytest.approx(2.0, rel=1e-2)
    torch.testing.assert_close(adaptive_slope(-u, sharpness, 0.2), slope)


def test_potentials_beyond_a_triangle_have_a_gradient():
    torch.manual_seed(0)
    network = digits_net(time_steps=4).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.constant_(module.bias, -9.0)  # all potentials are far below the threshold
    x = torch.rand(3, 1, 8, 8)
    _, blind = gradient_of(GradientRuleModule(network, HART()).eval(), x)
    assert blind.abs().max() == 0
    for rule in (ASSG(), HARTASSG()):
        _, seeing = gradient_of(GradientRuleModule(network, rule).eval(), x)
        assert (seeing.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("rule", list(RULES.values()))
@pytest.mark.parametrize("setting", ["sharpness", "delta"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_bad_settings_are_refused(rule, setting, value):
    with pytest.raises(ValueError, match=setting):
        rule(**{setting: value})


@pytest.mark.parametrize("slope", [ASSG().slope, HART(gamma=5.0).slope])
def test_several_spikes_have_slopes_that_do_not_depend_on_other_samples(slope):
    params = NeuronParams(threshold=0.5, several=True)
    distance = torch.tensor([[0.2, -0.7, 1.4]], dtype=torch.float64)
    alone = slope_at(slope, distance, params)
    beside = slope_at(slope, torch.cat([distance, torch.full_like(distance, 9.0)]), params)[:1]
    u = 2 * distance
    ks = [torch.tensor(float(k)) for k in range(20)]
    expected = sum(slope(u - k) * ((u - k >= -3) | (k == 0)) for k in ks)
    torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(beside, alone, rtol=0, atol=0)
