"""Gradients of torch's functions that are mended: sums over windows (norms have a file of their own)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from art_snn.snn.mended import MendedGradients


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        (nn.LPPool1d(1, 2), (3, 2, 8)),
        (nn.LPPool2d(1, 2), (3, 2, 8, 8)),
        (nn.LPPool2d(1.0, (2, 3), stride=(1, 2), ceil_mode=True), (3, 2, 8, 8)),
        (nn.LPPool3d(1, 2), (3, 2, 4, 4, 4)),
    ],
)
def test_a_sum_over_windows_without_spikes_has_the_gradient_of_a_sum(pool, shape):
    torch.manual_seed(0)
    spikes = (torch.rand(shape) < 0.1).float().requires_grad_()
    torchs = pool(spikes)
    with MendedGradients():
        sums = pool(spikes)
    assert torch.equal(sums, torchs)
    v = torch.randn_like(sums)
    everywhere = spikes.detach().add(1).requires_grad_()
    (expected,) = torch.autograd.grad(pool(everywhere), everywhere, v)
    (found,) = torch.autograd.grad(sums, spikes, v)
    torch.testing.assert_close(found, expected)
    (cut,) = torch.autograd.grad(torchs, spikes, v)
    assert (cut == 0).sum() > (found == 0).sum()


def test_another_norm_is_left_alone():
    x = torch.rand(2, 1, 4, 4).requires_grad_()
    pool = nn.LPPool2d(2, 2)
    with MendedGradients():
        found = pool(x)
    assert torch.equal(found, pool(x))
    gradients = [torch.autograd.grad(out.sum(), x)[0] for out in (found, pool(x))]
    assert torch.equal(*gradients)
