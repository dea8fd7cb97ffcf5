"""Neurons of other libraries, from their equations, and what the page on one's own models makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from art_snn import IF, LIF
from art_snn.snn.dynamics import NeuronParams, integrate

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "own_model.md"


def run(
    charge: Callable[[Tensor, Tensor], Tensor], current_seq: Tensor, *, threshold: float, reset: float | None
) -> Tensor:
    """Charge, fire at the threshold, and reset to a potential, or by the threshold (None), as SpikingJelly has it."""
    potential, spikes_seq = torch.zeros_like(current_seq[0]), []
    for x in current_seq:
        potential = charge(potential, x)
        spikes = (potential >= threshold).to(x.dtype)
        potential = potential - threshold * spikes if reset is None else torch.where(spikes > 0, reset, potential)
        spikes_seq.append(spikes)
    return torch.stack(spikes_seq)


def currents(scale: float, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.rand(24, 4, 500, generator=generator, dtype=dtype)


@pytest.mark.parametrize("reset", [0.0, None])
@pytest.mark.parametrize("threshold", [1.0, 0.7])
@pytest.mark.parametrize("tau", [1.5, 2.0, 3.0, 20.0])
def test_lif_nodes_of_spikingjelly(tau, threshold, reset):
    kind = "soft" if reset is None else "hard"
    x_seq = currents(3.0)
    there = run(lambda v, x: v + (x - v) / tau, x_seq, threshold=threshold, reset=reset)
    here = LIF(decay=1 - 1 / tau, threshold=tau * threshold, reset=kind)(x_seq)
    assert 0 < there.mean() < 1
    assert torch.equal(here, there)
    obvious = LIF(decay=1 - 1 / tau, threshold=threshold, reset=kind)(x_seq)
    assert (obvious != there).double().mean() > 0.01
    there = run(lambda v, x: v - v / tau + x, x_seq / 3, threshold=threshold, reset=reset)
    assert torch.equal(LIF(decay=1 - 1 / tau, threshold=threshold, reset=kind)(x_seq / 3), there)


@pytest.mark.parametrize("tau", [2.0, 4.0])
def test_powers_of_two_are_the_same_bit_for_bit_also_at_the_threshold(tau):
    x_seq = (currents(6.0, torch.float32) * 4).round() / 4  # many potentials are the threshold
    there = run(lambda v, x: v + (x - v) / tau, x_seq, threshold=1.0, reset=0.0)
    assert torch.equal(LIF(decay=1 - 1 / tau, threshold=tau)(x_seq), there)


@pytest.mark.parametrize("reset", [0.0, None])
def test_if_nodes_of_spikingjelly(reset):
    there = run(lambda v, x: v + x, currents(0.8), threshold=0.7, reset=reset)
    assert torch.equal(IF(threshold=0.7, reset="soft" if reset is None else "hard")(currents(0.8)), there)


def test_a_reset_to_another_potential():
    """SpikingJelly's v_reset, which is also the potential at rest: v + (x - (v - v_reset)) / tau."""
    tau, rest = 3.0, -0.2
    params = NeuronParams(decay=1 - 1 / tau, c=1 / tau, d=rest / tau, v_reset=rest, v0=rest)
    potential, there, x_seq = torch.full((4, 500), rest, dtype=torch.float64), [], currents(3.0)
    for x in x_seq:
        potential = potential + (x - (potential - rest)) / tau
        there.append((potential >= 1).double())
        potential = torch.where(potential >= 1, rest, potential)
    here = integrate(x_seq, params, lambda distance: (distance >= 0).double())
    assert torch.equal(here, torch.stack(there))


def above(threshold: float) -> float:
    return torch.nextafter(torch.tensor(threshold), torch.tensor(torch.inf)).item()


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_leaky_of_snntorch(beta):
    """It fires above the threshold. By default, a reset takes the threshold off in the next step, after the decay."""
    x_seq = (currents(1.2, torch.float32) * 8).round() / 8 if beta == 0.5 else currents(1.2, torch.float32)
    results = {}
    for mechanism in ("zero", "subtract"):
        potential, fired, there = torch.zeros_like(x_seq[0]), torch.zeros_like(x_seq[0]), []
        for x in x_seq:
            if mechanism == "zero":
                potential = beta * torch.where(fired > 0, 0.0, potential) + x
            else:
                potential = beta * potential + x - fired
            fired = (potential > 1).to(x.dtype)
            there.append(fired)
        results[mechanism] = torch.stack(there)
    assert torch.equal(LIF(decay=beta, threshold=above(1.0))(x_seq), results["zero"])
    params = NeuronParams(decay=beta, threshold=above(1.0), reset="soft", rho=1 / beta)
    here = integrate(x_seq, params, lambda distance: (distance >= 0).to(distance.dtype))
    assert (here != results["subtract"]).float().mean() < 1e-4  # rounding of 1 / beta
    soft = LIF(decay=beta, threshold=above(1.0), reset="soft")(x_seq)
    assert (soft != results["subtract"]).float().mean() > 0.01


def test_the_page_has_these_parameters():
    text = PAGE.read_text(encoding="utf-8")
    for cell in (
        "`LIF(decay=1 - 1 / tau, threshold=tau * th)`",
        "`LIF(decay=1 - 1 / tau, threshold=th)`",
        "`LIF(decay=beta, threshold=just_above(th))`",
        'reset="soft", rho=threshold / beta',
    ):
        assert cell in text
    assert re.search(r"^\| SpikingJelly `IFNode", text, re.MULTILINE)
