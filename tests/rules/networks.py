"""Networks that fire with a margin, and what compares a rule on them with the float64 reference."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from art_snn import (
    IF,
    LIF,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    Normalize,
    Residual,
    SpikingNetwork,
)
from art_snn.rules import BPTR, CBA, HART, RGA, STBP, RateGradient, get_rule
from art_snn.rules.base import GradientRule
from tests.reference import (
    Trace,
    ann_forward,
    cross_entropy_gradient,
    decision_margin,
    forward,
    input_gradient,
    rate_magnification,
)

RULE_CLASSES: dict[str, Callable[..., GradientRule]] = {
    "hart": HART,
    "stbp": STBP,
    "rga": RGA,
    "bptr": BPTR,
    "rate": RateGradient,
    "cba": CBA,
}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
MARGIN = 5e-6  # no membrane potential lies nearer to its threshold, so that float32's rounding flips no spike
MAGNIFICATION = 15.0  # the rate gradient divides by mean currents: near 0 they are inaccurate in any low precision
BATCH, CLASSES = 3, 5
LABELS = torch.tensor([0, 3, 4])

NeuronFactory = Callable[[int], nn.Module]


def same_neuron(**params: Any) -> NeuronFactory:
    """Return a factory of LIF neurons that are alike in every layer."""
    return lambda layer: LIF(**params)


def neuron_of(decay: float, reset: str) -> NeuronFactory:
    """Return a factory of neurons with a retention and a reset; IF where there is no leak."""
    return lambda layer: IF(reset=reset) if decay == 1.0 else LIF(decay=decay, reset=reset)


def mixed_neuron(layer: int) -> nn.Module:
    """Return a neuron that differs from its neighbours' in retention, threshold and reset."""
    return LIF(
        decay=(0.5, 0.9, 1.0)[layer % 3], threshold=(0.7, 1.0, 1.3, 1.6)[layer % 4], reset=("hard", "soft")[layer % 2]
    )


def residual_body(neuron: NeuronFactory) -> nn.Sequential:
    """Return a body with 2 x 8 x 8 inputs and six spiking layers: average-pool, both kinds of residual, strides."""
    identity_block = Residual(
        nn.Sequential(
            nn.Conv2d(6, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            neuron(1),
            nn.Conv2d(6, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
        )
    )
    strided_block = Residual(
        nn.Sequential(
            nn.Conv2d(6, 6, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(6),
            neuron(3),
            nn.Conv2d(6, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
        ),
        nn.Sequential(nn.Conv2d(6, 6, 1, stride=2, bias=False), nn.BatchNorm2d(6)),
    )
    return nn.Sequential(
        Normalize((0.4, 0.5), (0.2, 0.3)),
        nn.Conv2d(2, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        neuron(0),
        nn.AvgPool2d(2),
        identity_block,
        neuron(2),
        strided_block,
        neuron(4),
        nn.Flatten(),
        nn.Linear(24, 12),
        neuron(5),
        nn.Identity(),
        nn.Linear(12, CLASSES),
    )


def max_pool_body(neuron: NeuronFactory) -> nn.Sequential:
    """Return a body with 2 x 8 x 8 inputs and a max-pool between currents (overlapping) and one between spikes."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        neuron(0),
        nn.Conv2d(6, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.MaxPool2d(2, stride=1),
        neuron(1),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(6, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        neuron(2),
        nn.Flatten(),
        nn.Linear(54, CLASSES),
    )


def firing_network(
    encoder: nn.Module, neuron: NeuronFactory, *, body: Callable[[NeuronFactory], nn.Sequential] = residual_body
) -> SpikingNetwork:
    """Return a float32 network in evaluation mode whose neurons fire in every layer, at every threshold used here."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        network = SpikingNetwork(encoder, body(neuron))
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.8, 1.6)
                layer.bias.uniform_(0.1, 0.7)
                layer.momentum = 0.4
            elif isinstance(layer, nn.Linear):
                layer.weight.mul_(4)
                layer.bias.uniform_(-0.2, 0.6)
        network.train()
        shape = (16, 4, 2, 8, 8) if isinstance(encoder, EventFrameEncoder) else (16, 2, 8, 8)
        for _ in range(4):  # the running statistics become the data's
            network(torch.rand(shape))
    return network.eval()


def draw(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return float32 uniform noise in [0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def draw_for_float32(network: SpikingNetwork, shape: tuple[int, ...], **cba: Any) -> Tensor:
    """Return an input on which float32 takes every decision as float64 does, and divides by nothing near 0.

    Args:
        network: The network.
        shape: Shape of the input.
        **cba: Settings of CBA, where not the defaults.
    """
    for seed in range(500):
        x = draw(shape, seed)
        x_seq = network.encode(x.double())
        _, traces = forward(network, x_seq)
        _, ann_traces = ann_forward(network, x_seq, **cba)
        margin = decision_margin(traces, ann_traces, levels=cba.get("levels", 8))
        if margin > MARGIN and rate_magnification(traces) < MAGNIFICATION:
            return x
    raise AssertionError("no input leaves a margin")


@cache
def direct_case(decay: float, reset: str, time_steps: int) -> tuple[SpikingNetwork, Tensor]:
    """Return a network with direct encoding, and a batch for it; both shared between tests, and in float32."""
    network = firing_network(DirectEncoder(time_steps=time_steps), neuron_of(decay, reset))
    return network, draw_for_float32(network, (BATCH, 2, 8, 8))


@cache
def event_case(decay: float, reset: str, time_steps: int) -> tuple[SpikingNetwork, Tensor]:
    """Return a network for event frames, and a batch for it; both shared between tests, and in float32."""
    network = firing_network(EventFrameEncoder(), neuron_of(decay, reset))
    return network, draw_for_float32(network, (BATCH, time_steps, 2, 8, 8))


THRESHOLDS: dict[str, NeuronFactory] = {
    "low": same_neuron(threshold=0.7, decay=0.5),
    "high": same_neuron(threshold=1.6, decay=0.9, reset="soft"),
    "mixed": mixed_neuron,
}


@cache
def threshold_case(thresholds: str) -> tuple[SpikingNetwork, Tensor]:
    """Return a network with other thresholds than 1, and a batch for it; both shared between tests, and in float32."""
    network = firing_network(DirectEncoder(time_steps=4), THRESHOLDS[thresholds])
    return network, draw_for_float32(network, (BATCH, 2, 8, 8))


def error(value: Tensor, reference: Tensor) -> float:
    """Return ``max |value - reference| / max |reference|``; both must not vanish, and must have one shape."""
    assert value.shape == reference.shape
    scale = reference.abs().max()
    assert scale > 0, "a comparison with zero shows nothing"
    assert value.isfinite().all()
    return float((value.double() - reference).abs().max() / scale)


def assert_every_layer_fires(traces: list[Trace]) -> None:
    """Check that no layer is silent or saturated: its gradient would say nothing."""
    rates = [float(trace.spikes.mean()) for trace in traces]
    assert all(0.02 < rate < 0.98 for rate in rates), rates


def gradient_of(logits_of: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits, and the gradient of their cross-entropy with respect to the input ``x``."""
    x = x.clone().requires_grad_()
    logits = logits_of(x)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, LABELS), x)
    return logits.detach(), gradient


def assert_matches_reference(
    network: SpikingNetwork,
    x: Tensor,
    rule: str,
    *,
    dtype: torch.dtype = torch.float64,
    tolerance: float | None = None,
    **hyper: Any,
) -> Tensor:
    """Compare logits and input gradient of the rule's module with the reference's; return the package's gradient.

    Args:
        network: A float32 network without randomness.
        x: A float32 input.
        rule: The rule's name.
        dtype: What the package computes in; the reference computes in float64.
        tolerance: Largest relative error of the gradient; None for that of the dtype.
        **hyper: The rule's hyperparameters.
    """
    module = GradientRuleModule(copy.deepcopy(network).to(dtype), type(get_rule(rule))(**hyper)).eval()
    logits, gradient = gradient_of(module, x.to(dtype))

    x_seq = network.encode(x.double())
    expected_logits, _ = forward(network, x_seq)
    expected = to_input(network, input_gradient(network, x_seq, loss_gradient(expected_logits), rule, **hyper))
    assert logits.dtype == gradient.dtype == dtype
    assert error(logits, expected_logits) <= TOLERANCE[dtype]
    assert error(gradient, expected) <= (TOLERANCE[dtype] if tolerance is None else tolerance)
    return gradient


def loss_gradient(logits: Tensor) -> Tensor:
    """Return the cross-entropy's gradient at logits, by formula."""
    return cross_entropy_gradient(logits, LABELS)


def to_input(network: SpikingNetwork, gradient_seq: Tensor) -> Tensor:
    """Pull a gradient (T, N, ...) back through direct encoding, or through that of event frames."""
    return gradient_seq.transpose(0, 1) if isinstance(network.encoder, EventFrameEncoder) else gradient_seq.sum(0)
