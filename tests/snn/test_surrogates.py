"""Surrogate slopes and the spike that has them."""

from __future__ import annotations

import pytest
import torch

from art_snn.snn.surrogates import ATan, Sigmoid, Triangle, spike, triangle, triangle_


@pytest.mark.parametrize("slope", [Triangle(width=0.7), ATan(alpha=3.0), Sigmoid(alpha=2.0)], ids=repr)
def test_slopes_have_area_one_and_are_even(slope):
    u = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    assert torch.trapezoid(slope(u), u).item() == pytest.approx(1, abs=1e-2)
    torch.testing.assert_close(slope(u), slope(-u))
    torch.testing.assert_close(slope(torch.zeros((), dtype=u.dtype)), slope(u).max(), rtol=1e-9, atol=0)


def test_in_place_triangle_equals_the_formula():
    u = torch.randn(1000, dtype=torch.float64)
    for width in (0.3, 1.0, 2.4):
        scratch = u.clone()
        assert triangle_(scratch, width) is scratch
        torch.testing.assert_close(scratch, triangle(u, width), rtol=1e-12, atol=1e-14)


def test_spike_fires_on_equality():
    u = torch.tensor([-1e-9, 0.0, 1e-9], requires_grad=True)
    assert spike(u, Triangle()).tolist() == [0, 1, 1]
