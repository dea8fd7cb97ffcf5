"""Record passes that runs on the same inputs share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from art_snn import HART, LIF, RGA, GradientRuleModule, PoissonEncoder, RateGradient, SpikingNetwork


def gradient(module: GradientRuleModule, x: torch.Tensor) -> torch.Tensor:
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(module.attack_logits(leaf)[:, 0].sum(), leaf)
    return grad


@pytest.mark.parametrize("rule", [HART(gamma=0.3), HART(gamma=2.0), RGA(), RateGradient()])
@pytest.mark.parametrize("limit", [2**30, 0])
def test_shared_records_change_no_gradient(networks, rule, limit):
    for network in networks:
        network = network.double().eval()
        shape = (3, 4, 2, 8, 8) if "EventFrame" in repr(network.encoder) else (3, 2, 8, 8)
        x = torch.rand(shape, dtype=torch.float64)
        module = GradientRuleModule(network, rule)
        expected = gradient(module, x)
        with module.shared_records(limit) as memory:
            for other in (HART(gamma=1.0), rule):
                module.rule = other
                found = gradient(module, x)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
            assert memory.passes == (1 if limit else 2)
            gradient(module, x + 1e-3)
            assert memory.passes == (2 if limit else 3)


@pytest.fixture
def networks():
    from art_snn import DirectEncoder, EventFrameEncoder
    from tests.conftest import make_body

    torch.manual_seed(0)
    return [
        SpikingNetwork(encoder, make_body(lambda: LIF(decay=0.8, threshold=0.3), residual=residual))
        for encoder in (DirectEncoder(time_steps=4), EventFrameEncoder())
        for residual in (False, True)
    ]


def test_random_encodings_are_not_shared():
    body = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), LIF(decay=0.9), nn.Linear(6, 2))
    module = GradientRuleModule(SpikingNetwork(PoissonEncoder(time_steps=4), body), "hart").eval()
    with module.shared_records() as memory:
        gradient(module, torch.rand(2, 8))
        gradient(module, torch.rand(2, 8))
    assert memory.passes == 2


def test_memory_has_a_limit(networks):
    module = GradientRuleModule(networks[0].eval(), "hart")
    x = torch.rand(4, 2, 8, 8)
    with module.shared_records() as memory:
        gradient(module, x)
    size = memory.used
    assert size > 0
    with module.shared_records(size) as memory:
        for shift in (0.0, 0.1, 0.0, 0.1):
            gradient(module, x + shift)
        assert memory.used == size
        assert memory.passes == 3  # the second input does not fit
    with module.shared_records() as memory:  # a quarter of this machine's memory
        gradient(module, x)
        memory.close()
        gradient(module, x + 0.1)
        gradient(module, x)
        assert memory.used == size < memory.limit
        assert memory.passes == 2
    with pytest.raises(ValueError, match="limit must be >= 0 bytes, got -1"), module.shared_records(-1):
        pass
