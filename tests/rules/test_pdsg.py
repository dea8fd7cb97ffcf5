"""PDSG and the annealed arctangent against the float64 reference."""

from __future__ import annotations

import copy

import pytest
import torch

from art_snn import DirectEncoder, EventFrameEncoder, GradientRuleModule
from art_snn.errors import UnsupportedRuleError
from art_snn.rules import PDSG, Annealed
from art_snn.rules.memory import Memory
from tests.reference import forward, input_gradient
from tests.rules.networks import (
    BATCH,
    TOLERANCE,
    assert_matches_reference,
    direct_case,
    draw,
    error,
    firing_network,
    gradient_of,
    loss_gradient,
    max_pool_body,
    mixed_neuron,
    neuron_of,
    to_input,
)


def assert_matches(network, x, dtype=torch.float64, **hyper) -> None:
    assert assert_matches_reference(network, x, "pdsg", dtype=dtype, **hyper).abs().max() > 0


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("statistics", ["sample", "batch"])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("time_steps", [1, 4])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_rule_equals_reference(reset, time_steps, detach_reset, statistics, dtype):
    network, x = direct_case(0.9, reset, time_steps)
    assert_matches(network, x, dtype, statistics=statistics, detach_reset=detach_reset)


def test_thresholds_of_all_sizes_on_event_frames():
    network = firing_network(EventFrameEncoder(), mixed_neuron)
    assert_matches(network, draw((BATCH, 4, 2, 8, 8), 3))


def test_through_max_pooling():
    network = firing_network(DirectEncoder(time_steps=4), neuron_of(0.9, "hard"), body=max_pool_body)
    assert_matches(network, draw((BATCH, 2, 8, 8), 3))


def test_a_sample_does_not_depend_on_its_batch_unless_it_is_told_to():
    network, x = direct_case(0.9, "hard", 4)
    network, x = copy.deepcopy(network).double(), x.double()
    changed = torch.cat([x[:1], 0.3 * x[1:]])
    for statistics, same in (("sample", True), ("batch", False)):
        module = GradientRuleModule(network, PDSG(statistics=statistics)).eval()
        gradients = []
        for batch in (x, changed):
            leaf = batch.clone().requires_grad_()
            gradients.append(torch.autograd.grad(module(leaf)[0, 2], leaf)[0][0])
        assert torch.allclose(*gradients, rtol=1e-9, atol=1e-14) == same


def test_slopes_that_need_earlier_steps_are_not_run_again_in_chunks():
    network, x = direct_case(0.9, "hard", 4)
    module = GradientRuleModule(network, PDSG(), time_chunk=2).eval()
    with pytest.raises(UnsupportedRuleError, match="set time_chunk to None"):
        module(x.requires_grad_())


@pytest.mark.parametrize("value", ["image", None, 1])
def test_bad_statistics_are_refused(value):
    with pytest.raises(ValueError, match="statistics must be 'sample' or 'batch'"):
        PDSG(statistics=value)


def test_one_value_alone_has_no_deviation():
    slope = PDSG().stepwise("layer", 0)
    first = slope(torch.tensor([[0.3], [-0.2]]))
    torch.testing.assert_close(first, torch.exp(-((torch.tensor([[0.3], [-0.2]]) - 0.5) ** 2) / 2) / 2.5066283)


def test_annealed_width_in_each_gradient_of_an_attack():
    network, x = direct_case(0.9, "hard", 4)
    network = copy.deepcopy(network).double()
    rule, memory = Annealed(sharpness=5.0, end=0.3, momentum=0.8), Memory()
    module = GradientRuleModule(network, rule.remembering(memory)).eval()
    width = 1.0
    for k in range(3):
        inputs = draw(tuple(x.shape), k).double()
        _, gradient = gradient_of(module, inputs)
        memory.settle()
        width = 0.8 * width + 0.2 * 0.3
        x_seq = network.encode(inputs)
        logits, traces = forward(network, x_seq)
        slopes = [5 / width / 2 / (1 + (torch.pi / 2 * 5 / width * t.distance) ** 2) for t in traces]
        expected = to_input(network, input_gradient(network, x_seq, loss_gradient(logits), "given", slopes=slopes))
        assert error(gradient, expected) <= 1e-10


def test_annealed_width_without_a_memory_is_the_last_one():
    network, x = direct_case(0.9, "hard", 4)
    network, inputs = copy.deepcopy(network).double(), x.double()
    _, gradient = gradient_of(GradientRuleModule(network, Annealed()).eval(), inputs)
    x_seq = network.encode(inputs)
    logits, traces = forward(network, x_seq)
    slopes = [15 / 2 / (1 + (torch.pi / 2 * 15 * t.distance) ** 2) for t in traces]
    expected = to_input(network, input_gradient(network, x_seq, loss_gradient(logits), "given", slopes=slopes))
    assert error(gradient, expected) <= 1e-10


@pytest.mark.parametrize(("name", "value"), [("sharpness", 0), ("end", -1), ("momentum", 1.0), ("momentum", 0)])
def test_bad_settings_of_annealing_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Annealed(**{name: value})
