"""Temporal retention: how much of a spiking layer's output the mean input current does not decide."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_snn.checks import check_count, check_decay, check_positive
from art_snn.engine import record_distances
from art_snn.rules.base import LayerRecord
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel

# Ratios r / x explode where x goes to zero; smaller mean currents, in units of the threshold, are left out.
SMALLEST_CURRENT = 0.05
_KEPT = 400_000  # neurons times samples that a layer's estimate rests on


@dataclass(frozen=True)
class LayerRetention:
    """Temporal retention of one layer."""

    layer: str  #: Name of the layer.
    chi: float  #: Estimate of ``E_x[Var(r / x | x)]``, >= 0; NaN where no current is large enough.
    share: float  #: Share of neurons and samples whose mean current is large enough to count, in [0, 1].
    rate: float  #: Mean firing rate, in [0, 1].
    identity_error: float  #: Largest deviation from the `rate_identity`, in thresholds; NaN where it does not hold.


def temporal_retention(
    network: SequenceModel, x: np.ndarray | Tensor, *, bins: int = 50, batch_size: int = 64
) -> list[LayerRetention]:
    r"""Estimate the temporal retention of each spiking layer on data, in the order in which they run.

    .. math::
        \chi = \mathbb{E}_x\left[\mathrm{Var}\left( r / \bar x \,\middle|\, \bar x = x \right)\right]

    where r is a neuron's firing rate and x its mean input current. If the current decided the rate, as in a network of
    rates, this would be 0. It is estimated from the variance inside bins of equally many neurons with about the same
    current, so a little of the variance of r / x over x is in it, too. Neurons count whose mean current is at least
    0.05 of the threshold, either way.

    Source: Hao et al., "Threaten Spiking Neural Networks through Combining Rate and Temporal Information" (ICLR 2024).

    Args:
        network: A `art_snn.SpikingNetwork` in evaluation mode.
        x: Inputs (N, ...), N >= 1.
        bins: Bins of the mean current, >= 1.
        batch_size: Samples to run at once, >= 1.
    """
    check_count("bins", bins)
    check_count("batch_size", batch_size)
    if len(x) == 0:
        raise ValueError("x is empty: there is nothing to estimate from")
    if getattr(network, "training", False):
        raise ValueError("the network is in training mode; call eval() first")
    part = max(1, _KEPT // math.ceil(len(x) / batch_size))
    batches: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for start in range(0, len(x), batch_size):
        batch = torch.as_tensor(x[start : start + batch_size])
        with torch.no_grad():
            layers = record_distances(network, network.encode(batch))
        for name, calls in layers.items():
            for call, (layer, distances) in enumerate(calls, 1):
                batches[name if len(calls) == 1 else f"{name}, call {call}"].append(_reduced(layer, distances, part))
    return [_estimate(name, parts, bins) for name, parts in batches.items()]


def _reduced(layer: LayerRecord, distances: Tensor, part: int) -> tuple[np.ndarray, np.ndarray, float, int, float]:
    """Return rates and currents of ``part`` neurons and samples; sum and number of all rates; the identity's error."""
    threshold = torch.as_tensor(layer.params.threshold).cpu()
    rates, currents = (values.cpu().double() for values in (layer.rate, layer.mean_drive))
    chosen = np.arange(rates.numel())
    if len(chosen) > part:
        chosen = np.random.default_rng(0).choice(chosen, part, replace=False)
    left, right = rate_identity(distances, layer.mean_current, layer.params)
    error = float((left - right).abs().max()) / float(threshold.max())
    kept_rates, kept_currents = (values.flatten().numpy()[chosen] for values in (rates, currents / threshold))
    return kept_rates, kept_currents, float(layer.rate.sum()), rates.numel(), error


def _estimate(name: str, batches: list[tuple[Any, ...]], bins: int) -> LayerRetention:
    rates, currents, sums, counts, errors = zip(*batches, strict=True)
    x = np.concatenate(currents)
    enough = np.abs(x) >= SMALLEST_CURRENT
    ratios = np.concatenate(rates)[enough] / x[enough]
    chi = _within_bins(x[enough], ratios, bins) if enough.any() else math.nan
    return LayerRetention(name, chi, float(enough.mean()), sum(sums) / sum(counts), float(np.max(errors)))


def _within_bins(places: np.ndarray, values: np.ndarray, bins: int) -> float:
    """Return the mean over bins of the variance inside, weighted by the bins' sizes."""
    order = np.argsort(places, kind="stable")
    parts = np.array_split(values[order], min(bins, len(values)))
    return float(sum(part.var() * len(part) for part in parts) / len(values))


def rate_identity(distances: Tensor, mean_current: Tensor, params: NeuronParams) -> tuple[Tensor, Tensor]:
    r"""Return both sides of the identity between a neuron's rate, its mean current and its potential.

    .. math::
        \theta r = \bar x - \frac{v(T) + \sum_{t=1}^{T-1} (1 - \lambda) v(t)}{T}

    For the hard reset, ``theta r`` is replaced by the mean of what the resets take away. The sides are (N, *F) as the
    mean current, for ``distances = m(t) - threshold`` (T, N, *F); NaN for neurons with a synapse, an input gain, a bias
    or a reset value, which the identity does not cover. Source: Hao et al. (ICLR 2024), for the soft reset.
    """
    zeros = (params.alpha, params.c - 1, params.d, params.v_reset, params.v0)
    if params.rho is not None or any(bool((torch.as_tensor(value) != 0).any()) for value in zeros):
        unknown = torch.full_like(mean_current, math.nan)
        return unknown, unknown
    membrane = distances + params.threshold
    spikes = (distances >= 0).to(membrane.dtype)
    taken = spikes * params.threshold if params.reset == "soft" else spikes * membrane
    potential = membrane - taken
    leaked = potential[-1] + ((1 - params.decay) * potential[:-1]).sum(0)
    return taken.mean(0), mean_current - leaked / len(distances)


def theorem_1(*, time_steps: int, decay: float, c: float, a: float, b: float = 0.0) -> float:
    r"""Compute the temporal retention of Theorem 1, for soft reset, ``x`` uniform in (-c, c) and ``h(x) = a x + b``.

    .. math::
        \chi = \frac{a^2 c^2 - b^2}{3 c^2} \cdot \frac{(T - 1)(1 - \lambda)^2 + 1}{T^2}

    ``h`` is the half-width of the potential's distribution given the mean current. The integral that the theorem states
    diverges unless b is 0; for another b this is its finite part, which is negative where ``|b| > |a| c`` and no
    variance then.

    Source: Hao et al. (ICLR 2024).

    Example:
        >>> theorem_1(time_steps=1, decay=1.0, c=1.0, a=1.0)
        0.3333333333333333
    """
    check_count("time_steps", time_steps)
    check_decay(decay)
    check_positive("c", c)
    return (a**2 * c**2 - b**2) / (3 * c**2) * ((time_steps - 1) * (1 - decay) ** 2 + 1) / time_steps**2
