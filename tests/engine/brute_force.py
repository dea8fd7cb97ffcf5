"""Gradients by brute force: every step of every layer alone, in float64, the rules written in plain autograd.

Nothing here uses the package's rules or engine. A module that mixes sequences takes part by a method
``step_by_step(run, x_seq)``; any other one that holds no neuron is called once for each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from art_snn import LIF, Residual, SpikingNetwork
from art_snn.snn.dynamics import NeuronParams

Run = Callable[[nn.Module, Tensor], Tensor]
RULES = ("hart", "stbp", "rga", "bptr", "rate", "cba")


class _Heaviside(torch.autograd.Function):
    """One where ``u >= 0``; its derivative is a triangle of width and area 1."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).double()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * (1 - ctx.saved_tensors[0].abs()).clamp(min=0)


class _Put(torch.autograd.Function):
    """A value in the place of another one, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, value: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * ctx.saved_tensors[0], None, None


def _simulate(x_seq: Tensor, p: NeuronParams) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, distances from the threshold and drives, both in thresholds; each (T, N, *F)."""
    rho = p.threshold if p.rho is None else p.rho
    v, i = torch.zeros_like(x_seq[0]) + p.v0, torch.zeros_like(x_seq[0])
    spikes, distances, drives = [], [], []
    for x in x_seq:
        i = p.alpha * i + x
        drive = p.c * i + p.d
        m = p.decay * v + drive
        u = (m - p.threshold) / p.threshold
        s = _Heaviside.apply(u)
        v = m - s * (m - p.v_reset) if p.reset == "hard" else m - rho * s
        spikes.append(s)
        distances.append(u)
        drives.append(drive / p.threshold)
    return torch.stack(spikes), torch.stack(distances), torch.stack(drives)


def _slope(rule: str, p: NeuronParams, rate: Tensor, u_seq: Tensor, z: Tensor) -> Tensor:
    """Return the derivative of spikes by the drive in thresholds, (T, N, *F) or (N, *F)."""
    if rule == "hart":
        return (1 - u_seq.abs()).clamp(min=0)
    if rule == "bptr":
        return (rate > 0).double()
    if rule == "rga":
        leak = 1 - p.decay + torch.zeros_like(z)
        steep = (1 - 0.2 * leak) / (2 - leak)
        return torch.where(z < leak, 0.2, steep) * ((z >= 0) & (z <= 2))
    ratios = torch.zeros_like(z)
    for sample, (r, driven) in enumerate(zip(rate, z, strict=True)):
        chosen = driven > 0
        if chosen.any():
            ratios[sample][chosen] = (r[chosen] / driven[chosen]).mean()
    return ratios


def _neurons(rule: str, p: NeuronParams, x_seq: Tensor) -> Tensor:
    if rule == "stbp":
        return _simulate(x_seq, p)[0]
    if rule == "cba":
        z = (p.c * x_seq / (1 - p.alpha) + p.d) / p.threshold
        return _Put.apply(z, (8 * z.clamp(0, 1) + 0.5).floor() / 8, ((z >= 0) & (z <= 1)).double())
    with torch.no_grad():
        spikes, u_seq, drives = _simulate(x_seq, p)
        factor = _slope(rule, p, spikes.mean(0), u_seq, drives.mean(0)) * p.c / p.threshold
    merged = x_seq.mean(0).expand_as(x_seq)  # hands each step the mean of all gradients
    return _Put.apply(merged, spikes, factor)


def _batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Batch norm in evaluation mode by its formula: torch's own is wrong for one sample in some layouts."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    normal = (x - norm.running_mean.view(shape)) / (norm.running_var + norm.eps).sqrt().view(shape)
    return normal * norm.weight.view(shape) + norm.bias.view(shape) if norm.affine else normal


def gradient(network: SpikingNetwork, rule: str, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (N, K), of the ANN for "cba", and the gradient of their sum weighted by ``weights``."""

    def run(module: nn.Module, x_seq: Tensor) -> Tensor:
        if isinstance(module, LIF):
            return _neurons(rule, module.params, x_seq)
        if hasattr(module, "step_by_step"):
            return module.step_by_step(run, x_seq)
        if isinstance(module, nn.Sequential):
            for child in module:
                x_seq = run(child, x_seq)
            return x_seq
        if isinstance(module, Residual):
            return run(module.branch, x_seq) + (x_seq if module.shortcut is None else run(module.shortcut, x_seq))
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            return torch.stack([_batch_norm(module, step) for step in x_seq])
        return torch.stack([module(step.clone(memory_format=torch.contiguous_format)) for step in x_seq])

    leaf = x.clone().requires_grad_()
    x_seq = torch.stack([step.clone() for step in network.encode(leaf)])
    out_seq = run(network.body, x_seq.mean(0, keepdim=True) if rule == "cba" else x_seq)
    logits = network.readout(out_seq)
    return logits.detach(), torch.autograd.grad((logits * weights).sum(), leaf)[0]
