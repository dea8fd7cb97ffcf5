"""Gradients of networks of other libraries, slowly and by the formulas, in float64; nothing of the engine is used.

A library's neurons are replaced by `Equation`, which a test writes from the library's source. Rate rules go layer by
layer, from the last to the first: every spike is a leaf, and F is the functional of the logits plus, for each layer
that is done, the sum over t of its currents times their gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Equation:
    """The equation of one layer. ``charge`` gives the potential before firing, ``reset`` takes what is fired.

    Attributes:
        c: What a unit of current adds to the potential.
        theta: The threshold.
        decay: Retention of the potential.
        strict: Whether a potential at the threshold does not fire.
        several: Whether a step gives a spike for each threshold that the potential holds.
        alpha, d: Retention of the synaptic current; constant drive.
    """

    c: Any = 1.0
    d: Any = 0.0
    alpha: Any = 0.0
    theta: Any = 1.0
    decay: Any = 1.0
    strict = False
    several = False

    def charge(self, current: Tensor) -> Tensor:
        raise NotImplementedError

    def reset(self, membrane: Tensor, spikes: Tensor) -> None:
        raise NotImplementedError

    def fire(self, membrane: Tensor) -> Tensor:
        if self.several:
            return torch.div(membrane, self.theta, rounding_mode="floor").clamp(min=0)
        return (membrane > self.theta if self.strict else membrane >= self.theta).to(membrane.dtype)


def triangle(u: Tensor, gamma: float = 1.0) -> Tensor:
    return (gamma - u.abs()).clamp(min=0) / gamma**2


def adaptive(u: Tensor) -> Tensor:
    alpha = 3.07 / (u.abs() + 0.2)
    return alpha / 2 / (1 + (math.pi / 2 * alpha * u) ** 2)


def spread(u: Tensor, before: list[Tensor] = []) -> Tensor:  # noqa: B006
    """PDSG's slope, with the deviation over the sample's channel, or its layer, in these steps."""
    values = torch.stack([*before, u]).transpose(0, 1)  # (N, T', *F)
    if u.ndim > 2:
        values = values.transpose(1, 2)  # (N, C, T', ...)
    values = values.flatten(u.ndim - 1 if u.ndim == 2 else 2).double()
    sigma = values.std(-1) if values.shape[-1] > 1 else torch.zeros(values.shape[:-1], dtype=torch.double)
    sigma = torch.where(sigma > 0, sigma, 1.0).reshape(*sigma.shape, *[1] * (u.ndim - sigma.ndim))
    return (torch.exp(-((u - sigma / 2) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)).to(u.dtype)


SHAPES = {"assg": adaptive, "hart-assg": adaptive, "pdsg": spread}


def slope(equation: Equation, membrane: Tensor, rule: str = "hart") -> Tensor:
    """Return the derivative of the spikes by the potential in thresholds: one at each threshold it may hold.

    For slopes without an end these are the thresholds up to three above the potential.
    """
    u = (membrane - equation.theta) / equation.theta
    shape = SHAPES.get(rule, triangle)
    total, count = shape(u), int(u.max().clamp(min=0)) + 4 if equation.several else 1
    for k in range(1, count):
        total = total + shape(u - k) * (u - k >= -3)
    return total


THROUGH_TIME = ("stbp", "assg", "pdsg")


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, membrane: Tensor, equation: Equation, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(slopes)
        ctx.theta = equation.theta
        return equation.fire(membrane)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.saved_tensors[0] / ctx.theta, None, None


class Layer:
    """One layer's neurons in one run, with what each step showed."""

    def __init__(self, equation: Equation, rule: str) -> None:
        self.equation, self.rule = equation, rule
        self.currents: list[Tensor] = []
        self.spikes: list[Tensor] = []
        self.slopes: list[Tensor] = []
        self.distances: list[Tensor] = []
        self.synapse: Any = 0.0
        self.drives: list[Tensor] = []

    def step(self, current: Tensor) -> Tensor:
        equation = self.equation
        if self.rule == "cba":
            drive = (equation.c * current / (1 - equation.alpha) + equation.d) / equation.theta
            top = math.inf if equation.several else 1.0
            levels = (drive.clamp(0, top) * 8 + 0.5).floor() / 8
            inside = ((drive >= 0) & (drive <= top)).to(drive.dtype)
            return levels.detach() + (drive - drive.detach()) * inside
        membrane = equation.charge(current)
        if self.rule in THROUGH_TIME:
            spikes = _Spike.apply(membrane, equation, self.slopes_now(membrane.detach()))
            equation.reset(membrane, spikes if self.rule == "stbp" else spikes.detach())
            return spikes
        spikes = equation.fire(membrane.detach()).requires_grad_()
        equation.reset(membrane, spikes.detach())
        self.currents.append(current)
        self.spikes.append(spikes)
        self.slopes.append(slope(equation, membrane.detach(), self.rule))
        self.synapse = equation.alpha * self.synapse + current.detach()
        self.drives.append((equation.c * self.synapse + equation.d) / equation.theta)
        return spikes

    def slopes_now(self, membrane: Tensor) -> Tensor:
        if self.rule != "pdsg" or self.equation.several:
            return slope(self.equation, membrane, self.rule)
        u = (membrane - self.equation.theta) / self.equation.theta
        slopes = spread(u, self.distances)
        self.distances.append(u)
        return slopes

    def factors(self) -> list[Tensor]:
        """Return k(t) for each step, in thresholds."""
        if self.rule in ("hart", "hart-assg"):
            return self.slopes
        rate, drive = torch.stack(self.spikes).detach().mean(0), torch.stack(self.drives).mean(0)
        if self.rule == "bptr":
            gain = (rate > 0).double()
        elif self.rule == "rga":
            onset = 1 - self.equation.decay
            above = (1 - 0.2 * onset) / (1 + self.equation.decay)
            end = math.inf if self.equation.several else 2
            gain = 0.2 * ((drive >= 0) & (drive < onset)) + above * ((drive >= onset) & (drive <= end))
        else:
            gain = torch.zeros_like(rate)
            for sample in range(len(rate)):
                positive = drive[sample] > 0
                if positive.any():
                    gain[sample] = (rate[sample][positive] / drive[sample][positive]).mean() * positive
        return [gain.to(rate.dtype)] * len(self.spikes)


@contextmanager
def replaced(model: nn.Module, rule: str, stand_in: Callable[[nn.Module, str], Any]) -> Iterator[list[Layer]]:
    """Let ``stand_in(module, rule)`` give a layer and a forward for each neuron, None for other modules."""
    layers, changed = [], []
    for module in model.modules():
        found = stand_in(module, rule)
        if found is not None:
            layer, forward = found
            layers.append(layer)
            changed.append(module)
            module.forward = forward
    try:
        yield layers
    finally:
        for module in changed:
            del module.forward


def true_gradient(
    model: nn.Module,
    forward: Callable[[nn.Module, Tensor], Tensor],
    x: Tensor,
    v: Tensor,
    rule: str,
    stand_in: Callable[[nn.Module, str], Any],
) -> Tensor:
    """Return a rule's gradient of ``(logits * v).sum()``; neurons must be defined in the order in which they run."""
    x = x.clone().requires_grad_()
    with replaced(model, rule, stand_in) as layers:
        total = (forward(model, x) * v).sum()
        if rule in (*THROUGH_TIME, "cba"):
            return torch.autograd.grad(total, x)[0]
        for layer in reversed(layers):
            grads = torch.autograd.grad(total, layer.spikes, retain_graph=True, allow_unused=True)
            pairs = zip(layer.factors(), layer.spikes, grads, strict=True)
            merged = torch.stack([k * (torch.zeros_like(s) if g is None else g) for k, s, g in pairs]).mean(0)
            of_current = merged * layer.equation.c / layer.equation.theta
            total = total + sum((current * of_current).sum() for current in layer.currents)
        return torch.autograd.grad(total, x)[0]


TOLERANCES = {
    "hart": 1e-5,
    "stbp": 1e-5,
    "rga": 5e-4,
    "bptr": 1e-5,
    "rate": 2e-3,
    "cba": 1e-5,
    "assg": 1e-4,
    "hart-assg": 1e-4,
    "pdsg": 1e-5,
}
