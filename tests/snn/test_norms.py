"""Batch norm in evaluation mode: gradients of one sample, whatever its layout in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from art_snn import LIF, DirectEncoder, GradientRuleModule, SpikingNetwork
from art_snn.snn.mended import MendedGradients
from tests.rules.networks import RULE_CLASSES


def strided(shape: tuple[int, ...], order: tuple[int, ...]) -> Tensor:
    """Return noise whose dimensions lie in memory in another order."""
    return torch.randn([shape[i] for i in order]).permute([order.index(i) for i in range(len(order))])


def functionally(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


@pytest.mark.parametrize("call", [lambda norm: norm, functionally], ids=["module", "function"])
@pytest.mark.parametrize(
    ("kind", "shape", "orders"),
    [
        (nn.BatchNorm1d, (1, 4, 5), ((0, 1, 2), (2, 1, 0), (1, 2, 0))),
        (nn.BatchNorm2d, (1, 4, 3, 5), ((0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0), (2, 3, 1, 0), (3, 1, 0, 2))),
        (nn.BatchNorm2d, (1, 4, 1, 5), ((0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0), (2, 3, 1, 0), (3, 1, 0, 2))),
        (nn.BatchNorm3d, (1, 4, 2, 3, 5), ((0, 1, 2, 3, 4), (0, 2, 3, 4, 1), (4, 3, 2, 1, 0), (1, 2, 3, 4, 0))),
    ],
)
def test_a_batch_norms_gradient_is_its_scale_in_every_layout(kind, shape, orders, call):
    torch.manual_seed(0)
    norm = kind(4).eval()
    norm.running_var.uniform_(0.1, 3)
    nn.init.uniform_(norm.weight, 0.5, 2)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, -1, *[1] * (len(shape) - 2)).detach()
    for x_order in orders:
        for grad_order in orders:
            x, grad = strided(shape, x_order).requires_grad_(), strided(shape, grad_order)
            with MendedGradients():
                out = call(norm)(x)
            (found,) = torch.autograd.grad(out, x, grad)
            torch.testing.assert_close(found, grad * scale)


class Block(nn.Module):
    """A user's own block: convolution, batch norm, neurons, in one layout."""

    def __init__(self, inputs: int, outputs: int, dims: int, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.conv = (nn.Conv2d, nn.Conv3d)[dims - 2](inputs, outputs, 3, padding=1)
        self.norm = (nn.BatchNorm2d, nn.BatchNorm3d)[dims - 2](outputs)
        self.neurons = LIF(decay=0.9)
        self.memory_format = memory_format

    def forward(self, x_seq: Tensor) -> Tensor:
        rows = x_seq.flatten(0, 1).contiguous(memory_format=self.memory_format)
        return self.neurons(self.norm(self.conv(rows)).unflatten(0, x_seq.shape[:2]))


class Permuted(nn.Module):
    """Batch norm of the last dimension in the channels' place."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, rows: Tensor) -> Tensor:
        return self.norm(rows.transpose(1, 3)).transpose(1, 3)


def one_sample_network(dims: int, time_steps: int, memory_format: torch.memory_format) -> SpikingNetwork:
    torch.manual_seed(0)
    pool = (nn.AvgPool2d, nn.AvgPool3d)[dims - 2](6)
    turned = [Permuted(6), LIF()] if dims == 2 else []
    blocks = [Block(2, 5, dims, torch.contiguous_format), Block(5, 5, dims, memory_format)]
    body = nn.Sequential(*blocks, *turned, pool, nn.Flatten(), nn.Linear(5, 4))
    network = SpikingNetwork(DirectEncoder(time_steps=time_steps), body).eval().double()
    for norm in network.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(norm.weight, 0.5, 3)
            nn.init.uniform_(norm.bias, 0.2, 0.9)
            norm.running_var.uniform_(0.05, 0.5)
    return network


@pytest.mark.parametrize("rule", list(RULE_CLASSES))
@pytest.mark.parametrize("time_steps", [1, 4])
@pytest.mark.parametrize("dims", [2, 3])
def test_one_sample_has_the_gradient_that_it_has_beside_others(dims, time_steps, rule):
    last = torch.channels_last if dims == 2 else torch.channels_last_3d
    for memory_format in (torch.contiguous_format, last):
        network = one_sample_network(dims, time_steps, memory_format)
        module = GradientRuleModule(network, rule).eval()
        x = torch.rand(3, 2, *[6] * dims, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        grads = []
        for batch in (x[:1], x):
            leaf = batch.clone().requires_grad_()
            grads.append(torch.autograd.grad(module(leaf)[:, 1].sum(), leaf)[0][:1])
        assert grads[1].abs().max() > 0
        torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)
