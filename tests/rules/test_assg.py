"""ASSG and HART-ASSG against the float64 reference; what their slopes are for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from art_snn import ASSG, HART, HARTASSG, DirectEncoder, EventFrameEncoder, GradientRuleModule
from art_snn.engine.unrolling import unroll_rate
from art_snn.errors import UnsupportedRuleError
from art_snn.rules.assg import adaptive_slope
from art_snn.rules.memory import Memory
from art_snn.snn.dynamics import NeuronParams, slope_at
from art_snn.snn.models import digits_net
from tests.reference import forward, input_gradient, remembered_slopes
from tests.rules.networks import (
    BATCH,
    assert_matches_reference,
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
    gradient = assert_matches_reference(network, x, rule, dtype=dtype, tolerance=TOLERANCE[dtype], **hyper)
    assert gradient.abs().max() > 0


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


CASES = {
    "one pass": lambda: direct_case(0.9, "hard", 4),
    "soft": lambda: direct_case(0.5, "soft", 8),
    "event frames": lambda: (firing_network(EventFrameEncoder(), neuron_of(0.9, "hard")), draw((BATCH, 4, 2, 8, 8), 3)),
    "max-pooling": lambda: (
        firing_network(DirectEncoder(time_steps=4), neuron_of(0.9, "hard"), body=max_pool_body),
        draw((BATCH, 2, 8, 8), 3),
    ),
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.filterwarnings("ignore::art_snn.InexactReplayWarning")
def test_memory_of_an_attack_equals_reference(rule, case, parameters):
    network, x = CASES[case]()
    network = copy.deepcopy(network).double()
    settings = {"sharpness": 4.0, "momentum": 0.8, "relax": 1.2}
    memory, expected_memory = Memory(), {}
    module = GradientRuleModule(network, RULES[rule](**settings).remembering(memory)).eval()
    for k in range(3):
        inputs = (x + 0.1 * draw(tuple(x.shape), k)).double()
        leaf = inputs.clone().requires_grad_()
        (logits,) = module.samples(leaf, parameters=parameters)
        losses = nn.functional.cross_entropy(logits, torch.tensor([0, 3, 4]), reduction="sum") / 3
        gradient = torch.autograd.grad(losses, leaf)[0]
        memory.settle()
        x_seq = network.encode(inputs)
        expected_logits, traces = forward(network, x_seq)
        given = {"slopes": remembered_slopes(traces, expected_memory, **settings)}
        kind = "given" if rule == "assg" else "given-rate"
        of_steps = input_gradient(network, x_seq, loss_gradient(expected_logits), kind, **given)
        expected = to_input(network, of_steps)
        assert expected.abs().max() > 0
        assert error(gradient, expected) <= 1e-10


@pytest.mark.parametrize("rule", list(RULES))
def test_a_gradient_that_is_taken_twice_is_remembered_once(rule):
    network, x = direct_case(0.9, "hard", 4)
    memory = Memory()
    module = GradientRuleModule(copy.deepcopy(network).double(), RULES[rule]().remembering(memory)).eval()
    _, first = gradient_of(module, x.double())
    _, again = gradient_of(module, x.double())
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    memory.settle()
    _, sharper = gradient_of(module, x.double())
    assert (sharper - first).abs().max() > 1e-3 * first.abs().max()


@pytest.mark.parametrize("rule", list(RULES))
def test_rows_of_a_memory_begin_anew(rule):
    network, x = direct_case(0.9, "hard", 4)
    memory = Memory()
    module = GradientRuleModule(copy.deepcopy(network).double(), RULES[rule]().remembering(memory)).eval()
    _, first = gradient_of(module, x.double())
    memory.settle()
    memory.restart(torch.tensor([1]))
    _, second = gradient_of(module, x.double())
    torch.testing.assert_close(second[1], first[1], rtol=1e-12, atol=0)
    assert (second[0] - first[0]).abs().max() > 1e-3 * first[0].abs().max()


def test_a_second_derivative_takes_remembered_slopes_for_constants():
    network, x = direct_case(0.9, "soft", 4)
    module = GradientRuleModule(copy.deepcopy(network).double(), ASSG().remembering(Memory())).eval()
    leaf = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(module(leaf), torch.tensor([0, 3, 4])), leaf)
    (kept,) = torch.autograd.grad(
        nn.functional.cross_entropy(module(leaf), torch.tensor([0, 3, 4])), leaf, create_graph=True
    )
    assert error(kept.detach(), gradient) <= 1e-10


def test_attacks_give_the_rule_a_memory_and_arts_do_not():
    assert ASSG().remembers
    assert not ASSG(momentum=None).remembers
    assert ASSG() == ASSG().remembering(Memory())
    assert repr(ASSG().remembering(Memory())) == repr(ASSG())
    with pytest.raises(TypeError, match="HART does not remember"):
        HART().remembering(Memory())


@pytest.mark.parametrize("rule", list(RULES.values()))
@pytest.mark.parametrize(("name", "value"), [("momentum", 1.0), ("momentum", 0.0), ("relax", -1.0), ("relax", "x")])
def test_bad_settings_of_the_memory_are_refused(rule, name, value):
    with pytest.raises(ValueError, match=name):
        rule(**{name: value})


def test_a_memory_and_chunks_of_steps_do_not_go_together():
    network, x = direct_case(0.9, "hard", 4)
    module = GradientRuleModule(network, ASSG().remembering(Memory()), time_chunk=2).eval()
    with pytest.raises(UnsupportedRuleError, match="set time_chunk to None"):
        module(x.requires_grad_())
