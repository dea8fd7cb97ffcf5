"""Temporal retention: how much of a spiking layer's output the mean input current does not decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from art_snn.checks import check_count, check_decay, check_positive
from art_snn.engine import record_distances
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SequenceModel

# Ratios r / x explode where x goes to zero; smaller mean currents, in units of the threshold, are left out.
SMALLEST_CURRENT = 0.05
_KEPT = 400_000  # neurons times samples that a layer's estimate rests on


@dataclass(frozen=True)
class LayerRetention:
    """Temporal retention of one layer.

    Attributes:
        layer: Name of the layer.
        chi: Estimate of ``E_x[Var(r / x | x)]``, >= 0; NaN where no current is large enough.
        share: Share of neurons and samples whose mean current is large enough to count, in [0, 1].
        rate: Mean firing rate, in [0, 1].
        identity_error: Largest deviation from the rate identity (`rate_identity`), in units of the threshold; NaN for
            neurons with a synapse, an input gain, a bias or a reset value.
    """

    layer: str
    chi: float
    share: float
    rate: float
    identity_error: float


def temporal_retention(
    network: SequenceModel, x: np.ndarray | Tensor, *, bins: int = 50, batch_size: int = 64
) -> list[LayerRetention]:
    r"""Estimate the temporal retention of each spiking layer on data.

    .. math::
        \chi = \mathbb{E}_x\left[\mathrm{Var}\left( r / \bar x \,\middle|\, \bar x = x \right)\right]

    where r is a neuron's firing rate and x its mean input current. If the current decided the rate, as in a network of
    rates, this would be 0. It is estimated from the variance inside bins of equally many neurons with about the same
    current. Neurons count whose mean current is at least 0.05 of the threshold, either way. A bin has a width, so a
    little of the variance of r / x over x is in it, too.

    Source: Hao et al., "Threaten Spiking Neural Networks through Combining Rate and Temporal Information" (ICLR 2024).

    Args:
        network: A `art_snn.SpikingNetwork` in evaluation mode.
        x: Inputs (N, ...).
        bins: Bins of the mean current, >= 1.
        batch_size: Samples to run at once.

    Returns:
        One entry for each spiking layer, in the order in which they run.

    Raises:
        ValueError: There are no inputs, ``bins`` or ``batch_size`` is below 1, or the network is in training mode.
    """
    check_count("bins", bins)
    check_count("batch_size", batch_size)
    if len(x) == 0:
        raise ValueError("x is empty: there is nothing to estimate from")
    if getattr(network, "training", False):
        raise ValueError("the network is in training mode; call eval() first")
    collected: dict[str, _Collected] = {}
    for start in range(0, len(x), batch_size):
        batch = torch.as_tensor(x[start : start + batch_size])
        with torch.no_grad():
            layers = record_distances(network, network.encode(batch))
        for name, calls in layers.items():
            for call, (layer, distances) in enumerate(calls):
                key = name if len(calls) == 1 else f"{name}, call {call + 1}"
                into = collected.setdefault(key, _Collected(int(np.ceil(len(x) / batch_size))))
                into.add(layer.rate, layer.mean_current, distances, layer.params)
    return [into.result(name, bins) for name, into in collected.items()]


class _Collected:
    """Rates and currents of a layer, a fixed random part of each batch."""

    def __init__(self, batches: int) -> None:
        self.part = max(1, _KEPT // batches)
        self.rates: list[np.ndarray] = []
        self.currents: list[np.ndarray] = []
        self.error = 0.0
        self.rate = 0.0
        self.elements = 0

    def add(self, rate: Tensor, current: Tensor, distances: Tensor, params: NeuronParams) -> None:
        """Add a batch."""
        self.rate += float(rate.sum())
        self.elements += rate.numel()
        threshold = torch.as_tensor(params.threshold).cpu()
        rates, currents = (values.cpu().double() for values in (rate, current))
        chosen = np.arange(rate.numel())
        if len(chosen) > self.part:
            chosen = np.random.default_rng(0).choice(chosen, self.part, replace=False)
        self.rates.append(rates.flatten().numpy()[chosen])
        self.currents.append((currents / threshold).flatten().numpy()[chosen])
        left, right = rate_identity(distances, current, params)
        error = float((left - right).abs().max()) / float(threshold.max())
        self.error = float(np.maximum(self.error, error))  # unlike max, keeps NaN

    def result(self, name: str, bins: int) -> LayerRetention:
        """Return the estimate."""
        rates, currents = np.concatenate(self.rates), np.concatenate(self.currents)
        enough = np.abs(currents) >= SMALLEST_CURRENT
        chi = _within_bins(currents[enough], rates[enough] / currents[enough], bins) if enough.any() else float("nan")
        return LayerRetention(name, chi, float(enough.mean()), self.rate / self.elements, self.error)


def _within_bins(places: np.ndarray, values: np.ndarray, bins: int) -> float:
    """Return the mean over bins of the variance inside, weighted by the bins' sizes."""
    order = np.argsort(places, kind="stable")
    parts = np.array_split(values[order], min(bins, len(values)))
    return float(sum(part.var() * len(part) for part in parts) / len(values))


def rate_identity(distances: Tensor, mean_current: Tensor, params: NeuronParams) -> tuple[Tensor, Tensor]:
    r"""Return both sides of the identity between a neuron's rate, its mean current and its potential.

    .. math::
        \theta r = \bar x - \frac{v(T) + \sum_{t=1}^{T-1} (1 - \lambda) v(t)}{T}

    For the hard reset, ``theta r`` is replaced by the mean of what the resets take away.

    Source: Hao et al. (ICLR 2024), for the soft reset.

    Args:
        distances: ``m(t) - threshold``, shape (T, N, *F).
        mean_current: ``mean_t x(t)``, shape (N, *F).
        params: The neuron.

    Returns:
        Left and right side (N, *F); NaN where the neuron is of a kind that the identity does not cover.
    """
    plain = not any(
        _differs(value, expected)
        for value, expected in ((params.alpha, 0), (params.c, 1), (params.d, 0), (params.v_reset, 0), (params.v0, 0))
    )
    if not plain or params.rho is not None:
        unknown = torch.full_like(mean_current, float("nan"))
        return unknown, unknown
    membrane = distances + params.threshold
    spikes = (distances >= 0).to(membrane.dtype)
    taken = spikes * params.threshold if params.reset == "soft" else spikes * membrane
    potential = membrane - taken
    leaked = potential[-1] + ((1 - params.decay) * potential[:-1]).sum(0)
    return taken.mean(0), mean_current - leaked / len(distances)


def _differs(value: float | Tensor, expected: float) -> bool:
    return bool((torch.as_tensor(value) != expected).any())


def theorem_1(*, time_steps: int, decay: float, c: float, a: float, b: float = 0.0) -> float:
    r"""Compute the temporal retention of Theorem 1, for soft reset, ``x`` uniform in (-c, c) and ``h(x) = a x + b``.

    .. math::
        \chi = \frac{a^2 c^2 - b^2}{3 c^2} \cdot \frac{(T - 1)(1 - \lambda)^2 + 1}{T^2}

    ``h`` is the half-width of the potential's distribution given the mean current. The integral that the theorem states
    diverges unless b is 0; for another b this is its finite part, which is negative where ``|b| > |a| c`` and no
    variance then.

    Source: Hao et al., "Threaten Spiking Neural Networks through Combining Rate and Temporal Information" (ICLR 2024).

    Args:
        time_steps: T, >= 1.
        decay: Membrane retention lambda, in (0, 1].
        c: Largest mean current, > 0.
        a: Slope of h.
        b: Offset of h.

    Example:
        >>> theorem_1(time_steps=1, decay=1.0, c=1.0, a=1.0)
        0.3333333333333333
    """
    check_count("time_steps", time_steps)
    check_decay(decay)
    check_positive("c", c)
    return (a**2 * c**2 - b**2) / (3 * c**2) * ((time_steps - 1) * (1 - decay) ** 2 + 1) / time_steps**2
