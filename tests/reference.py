"""Slow, explicit float64 reference of every gradient rule, to test the package against.

Nothing here uses autograd or the package's rules and engine: each layer has a forward and a backward written by hand,
and every layer is stepped through time one step after the other. Sequences are lists of T tensors (N, ...).

The rules, with ``u(t) = (m(t) - theta) / theta``, ``h_gamma(u) = max(0, gamma - |u|) / gamma**2``, and the mean drive
``z = mean_t(c * i(t) + d) / theta``:

* rate rules (hart, rga, bptr, rate): ``dL/dI(t) = c / theta * mean_t'[k(t') dL/ds(t')]`` for every t;
* stbp: back-propagation through time with ``ds/dm = h_gamma(u) / theta``;
* pdsg: the same with a Gaussian, whose width is the deviation of the potentials so far;
* "given" and "given-rate": stbp with resets detached, and hart, with slopes that the caller gives;
* neurons that give ``floor(m / theta)`` spikes a step: the sum of ``h_gamma(u - k)`` over k = 0, 1, ... in the place of
  ``h_gamma(u)``, and no upper end of rga's and cba's pieces;
* cba: the weights' ANN, run for one step on the mean input, with ``z = (c * I / (1 - alpha) + d) / theta``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, one_hot
from torch.nn.grad import conv2d_input, conv2d_weight

from art_snn import LIF, Normalize, Residual, SpikingNetwork
from art_snn.snn.dynamics import NeuronParams

Sequence: TypeAlias = list[Tensor]
Pullback: TypeAlias = Callable[[Sequence], Sequence]
WeightGradients: TypeAlias = dict[Tensor, Tensor]

RATE_RULES = ("hart", "rga", "bptr", "rate")


class Trace(NamedTuple):
    """What one neuron layer did, each of shape (T, N, *F). An ANN's activation has T=1, and no distances.

    Attributes:
        params: The neuron's parameters.
        current: Input currents ``I(t)``.
        drive: What the steps add to the potential, ``c * i(t) + d``, in thresholds.
        distance: Membrane distances ``(m(t) - theta) / theta``, before the reset.
        spikes: Spikes ``s(t)``; the activation's value in an ANN.
    """

    params: NeuronParams
    current: Tensor
    drive: Tensor
    distance: Tensor
    spikes: Tensor


Neuron: TypeAlias = Callable[[NeuronParams, Sequence], tuple[Trace, Pullback]]


def forward(network: SpikingNetwork, x_seq: Tensor) -> tuple[Tensor, list[Trace]]:
    """Run the spiking network.

    Args:
        network: The network, in evaluation mode.
        x_seq: Encoded input (T, N, ...), float64.

    Returns:
        Logits (N, K), and the trace of each spiking layer, in order of execution.
    """
    logits, traces, _, _ = _run(network, x_seq, _spiking_neuron("none"))
    return logits, traces


def ann_forward(
    network: SpikingNetwork, x_seq: Tensor, *, activation: str = "qcfs", levels: int = 8
) -> tuple[Tensor, list[Trace]]:
    """Run CBA's ANN on the mean of ``x_seq`` (T, N, ...) over time; return its logits (N, K) and layers' traces."""
    logits, traces, _, _ = _run(network, x_seq.mean(0, keepdim=True), _ann_neuron(activation, levels))
    return logits, traces


def input_gradient(network: SpikingNetwork, x_seq: Tensor, grad_logits: Tensor, rule: str, **hyper: Any) -> Tensor:
    """Compute a rule's gradient with respect to every step of the encoded input.

    Args:
        network: The network, in evaluation mode.
        x_seq: Encoded input (T, N, ...), float64.
        grad_logits: ``dL/dlogits`` (N, K).
        rule: "hart", "stbp", "rga", "bptr", "rate", "cba", "assg", "hart-assg", "pdsg", "given" or "given-rate".
        **hyper: ``gamma`` (hart, stbp), ``detach_reset`` (stbp, pdsg), ``sharpness`` and ``delta`` (assg, hart-assg),
            ``slope_below`` (rga), ``activation`` and ``levels`` (cba), ``statistics`` (pdsg), ``slopes`` (given,
            given-rate), which are those of each layer in the order of execution, (T, N, *F) in units of 1 / threshold.

    Returns:
        ``dL/dx_seq``, (T, N, ...).
    """
    return _gradients(network, x_seq, grad_logits, rule, **hyper)[0]


def weight_gradients(
    network: SpikingNetwork, x_seq: Tensor, grad_logits: Tensor, rule: str, **hyper: Any
) -> dict[str, Tensor]:
    """Compute a rule's gradient for the weights and biases of convolutions and linear layers, by parameter name."""
    gradients = _gradients(network, x_seq, grad_logits, rule, **hyper)[1]
    return {name: gradients[param] for name, param in network.named_parameters() if param in gradients}


def cross_entropy_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy with respect to logits (N, K): ``(softmax - onehot) / N``."""
    exponentials = (logits - logits.amax(1, keepdim=True)).exp()
    probabilities = exponentials / exponentials.sum(1, keepdim=True)
    return (probabilities - one_hot(labels, logits.shape[1])) / logits.shape[0]


def remembered_slopes(
    traces: list[Trace], memory: dict, *, sharpness: float = 3.07, momentum: float = 0.9, relax: float = 1.5
) -> list[Tensor]:
    """Return ASSG's slopes of each layer (T, N, *F) in an attack's next gradient; ``memory`` holds M and D."""
    slopes = []
    for layer, trace in enumerate(traces):
        far = trace.distance.abs()
        mean, deviation = memory.get(layer, (torch.ones_like(far), torch.zeros_like(far)))
        mean = momentum * mean + (1 - momentum) * far
        deviation = momentum * deviation + (1 - momentum) * (far - mean).abs()
        memory[layer] = mean, deviation
        alpha = sharpness / (mean + relax * deviation + 1e-4)
        slopes.append(alpha / 2 / (1 + (math.pi / 2 * alpha * trace.distance) ** 2))
    return slopes


def decision_margin(traces: list[Trace], ann_traces: list[Trace], *, levels: int = 8) -> float:
    """Return the smallest distance of any number to a place where a neuron or a rule jumps.

    Where it is well above the rounding errors of a lower precision, that precision takes every decision alike.

    Args:
        traces: Spiking layers, from `forward`.
        ann_traces: The same layers in CBA's ANN, from `ann_forward`.
        levels: Steps of that ANN's activation.
    """
    margins = []
    for trace in traces:
        margins.append(trace.distance.abs().min())
        margins += [(trace.drive.mean(0) - step).abs().min() for step in (0.0, 1 - trace.params.decay, 2.0)]
    for trace in ann_traces:
        x = trace.drive
        above = (levels * x - 0.5).remainder(1) / levels  # distance to the next lower step of the QCFS staircase
        margins += [x.abs().min(), (x - 1).abs().min(), torch.minimum(above, 1 / levels - above).min()]
    return float(min(margins))


def rate_magnification(traces: list[Trace]) -> float:
    """Return how much the rate gradient's ``E[r / z]`` magnifies errors of ``z``, in the worst layer and sample.

    Its relative error is at most this many times the absolute error of ``z``: ``sum(r / z**2) / sum(r / z)``.
    """
    worst = 0.0
    for trace in traces:
        for mean, rate in zip(trace.drive.mean(0), trace.spikes.mean(0), strict=True):
            fired = (mean > 0) & (rate > 0)
            ratio = rate[fired] / mean[fired]
            worst = max(worst, float((ratio / mean[fired]).sum() / ratio.sum()) if fired.any() else 0.0)
    return worst


@torch.no_grad()
def _gradients(
    network: SpikingNetwork, x_seq: Tensor, grad_logits: Tensor, rule: str, **hyper: Any
) -> tuple[Tensor, WeightGradients]:
    """Run forward and backward; return the gradients of the encoded input and of the weights."""
    time_steps = len(x_seq)
    if rule == "cba":
        neuron = _ann_neuron(hyper.get("activation", "qcfs"), hyper.get("levels", 8))
        _, _, pull, weights = _run(network, x_seq.mean(0, keepdim=True), neuron)
        mean_gradient = pull([grad_logits.double()])[0]
        return torch.stack([mean_gradient / time_steps] * time_steps), weights
    _, _, pull, weights = _run(network, x_seq, _spiking_neuron(rule, **hyper))
    return torch.stack(pull([grad_logits.double() / time_steps] * time_steps)), weights


@torch.no_grad()
def _run(
    network: SpikingNetwork, x_seq: Tensor, neuron: Neuron
) -> tuple[Tensor, list[Trace], Pullback, WeightGradients]:
    """Run the body: mean output, traces, pull-back of the output sequence, weights' gradients (filled by that)."""
    if x_seq.dtype != torch.float64:
        raise TypeError(f"the reference works in float64, got {x_seq.dtype}")
    traces: list[Trace] = []
    weights: WeightGradients = {}
    out_seq, pull = _walk(network.body, list(x_seq), neuron, traces, weights)
    return torch.stack(out_seq).mean(0), traces, pull, weights


def _walk(
    module: nn.Module, x_seq: Sequence, neuron: Neuron, traces: list[Trace], weights: WeightGradients
) -> tuple[Sequence, Pullback]:
    """Run one node of the tree on a sequence; return its output and its pull-back over all steps."""
    if isinstance(module, LIF):  # its params may be set to any of the family
        trace, pull = neuron(module.params, x_seq)
        traces.append(trace)
        return list(trace.spikes), pull
    if isinstance(module, Residual):
        branch, pull_branch = _walk(module.branch, x_seq, neuron, traces, weights)
        shortcut, pull_shortcut = _walk(module.shortcut or nn.Identity(), x_seq, neuron, traces, weights)
        return _add(branch, shortcut), lambda grad: _add(pull_branch(grad), pull_shortcut(grad))
    if isinstance(module, nn.Sequential):
        pulls = []
        for child in module:
            x_seq, pull = _walk(child, x_seq, neuron, traces, weights)
            pulls.append(pull)

        def pull_all(grad: Sequence) -> Sequence:
            for pull in reversed(pulls):
                grad = pull(grad)
            return grad

        return x_seq, pull_all
    steps = [_stateless(module, x, weights) for x in x_seq]
    return [y for y, _ in steps], lambda grad: [pull(g) for (_, pull), g in zip(steps, grad, strict=True)]


def _add(a: Sequence, b: Sequence) -> Sequence:
    return [left + right for left, right in zip(a, b, strict=True)]


def _spiking_neuron(rule: str, **hyper: Any) -> Neuron:
    """Return integrate-and-fire neurons that are differentiated with a rule ("none": not at all)."""
    left = iter(hyper.get("slopes", ()))

    def neuron(params: NeuronParams, current: Sequence) -> tuple[Trace, Pullback]:
        decay, theta, c = params.decay, params.threshold, params.c
        taken = theta if params.rho is None else params.rho
        potential = params.v0 + torch.zeros_like(current[0])
        synapse = torch.zeros_like(current[0])
        drives, membranes, distances, spikes, above = [], [], [], [], []
        for x in current:
            synapse = params.alpha * synapse + x
            membrane = decay * potential + c * synapse + params.d
            spike = (membrane >= theta).double() * ((membrane / theta).floor() if params.several else 1)
            if params.reset == "hard":
                potential = membrane * (spike == 0) + params.v_reset * (spike > 0).double()
            else:
                potential = membrane - taken * spike
            above.append(torch.ones_like(spike) if params.floor is None else (potential >= params.floor).double())
            potential = potential if params.floor is None else potential.clamp(min=params.floor)
            drives.append((c * synapse + params.d) / theta)
            membranes.append(membrane)
            distances.append((membrane - theta) / theta)
            spikes.append(spike)
        trace = Trace(params, *(torch.stack(steps) for steps in (current, drives, distances, spikes)))
        given = next(left, None)

        def pull_rate(grad: Sequence) -> Sequence:
            gains = list(given) if rule == "given-rate" else _rate_gains(trace, rule, **hyper)
            merged = torch.zeros_like(grad[0])
            for gain, g in zip(gains, grad, strict=True):
                merged = merged + c / theta * gain * g / len(grad)
            return [merged] * len(grad)

        def pull_stbp(grad: Sequence) -> Sequence:
            # s(t) = H(m(t) - theta), v(t) = v(m(t), s(t)), m(t+1) = decay * v(t) + c * i(t+1) + d
            grad_potential = torch.zeros_like(grad[0])  # dL/dv(t); nothing reads v(T)
            grad_synapse = torch.zeros_like(grad[0])  # dL/di(t)
            out = []
            for t in reversed(range(len(grad))):
                grad_potential = grad_potential * above[t]
                if params.reset == "hard":  # v = m * (1 - s) + v_reset * s, with 1 for more than one spike
                    dv_dm, dv_ds = 1 - spikes[t].clamp(max=1), (params.v_reset - membranes[t]) * (spikes[t] <= 1)
                else:  # v = m - rho * s
                    dv_dm, dv_ds = torch.ones_like(spikes[t]), -taken
                detached = hyper.get("detach_reset", rule in ("assg", "given", "pdsg"))
                grad_spike = grad[t] if detached else grad[t] + grad_potential * dv_ds
                if rule == "assg":
                    slope = _adaptive(distances[t], **hyper) / theta
                elif rule == "pdsg":
                    slope = _spread(torch.stack(distances[: t + 1]), hyper.get("statistics", "sample")) / theta
                elif rule == "given":
                    slope = given[t] / theta
                else:
                    slope = _slope(params, distances[t], hyper.get("gamma", 1.0)) / theta
                grad_membrane = grad_spike * slope + grad_potential * dv_dm
                grad_potential = decay * grad_membrane
                grad_synapse = c * grad_membrane + params.alpha * grad_synapse
                out.append(grad_synapse)  # di/dI = 1
            return out[::-1]

        return trace, pull_stbp if rule in ("stbp", "assg", "pdsg", "given") else pull_rate

    return neuron


def _rate_gains(
    trace: Trace, rule: str, *, gamma: float = 1.0, slope_below: float = 0.2, **hyper: float
) -> list[Tensor]:
    """Return a rate rule's ``k(t)``, one tensor (N, *F) a step."""
    if rule == "hart-assg":
        return [_adaptive(distance, **hyper) for distance in trace.distance]
    mean, rate = trace.drive.mean(0), trace.spikes.mean(0)
    if rule == "hart":
        return [_slope(trace.params, distance, gamma) for distance in trace.distance]
    gain = torch.zeros_like(mean)
    if rule == "rga":
        decay = trace.params.decay + torch.zeros_like(mean)
        gain[(mean >= 0) & (mean < 1 - decay)] = slope_below
        above = (mean >= 1 - decay) & (mean <= (math.inf if trace.params.several else 2))
        gain[above] = ((1 - slope_below * (1 - decay)) / (1 + decay))[above]
    elif rule == "bptr":
        gain[rate > 0] = 1.0
    elif rule == "rate":
        for n in range(len(mean)):
            driven = mean[n] > 0
            if driven.any():
                gain[n][driven] = (rate[n][driven] / mean[n][driven]).mean()
    else:
        raise ValueError(f"no rule {rule!r}")
    return [gain] * len(trace.spikes)


def _slope(params: NeuronParams, distance: Tensor, gamma: float) -> Tensor:
    """Return the slope of spikes by the potential in thresholds, summed over all spikes that a step may give."""
    count = int(distance.max() + gamma) + 2 if params.several else 1
    return sum((_triangle(distance - k, gamma) for k in range(max(1, count))), torch.zeros_like(distance))


def _adaptive(distance: Tensor, *, sharpness: float = 3.07, delta: float = 0.2) -> Tensor:
    """Return ``alpha / 2 / (1 + (pi / 2 * alpha * u)**2)`` for ``alpha = sharpness / (|u| + delta)``."""
    alpha = sharpness / (distance.abs() + delta)
    return alpha / 2 / (1 + (math.pi / 2 * alpha * distance) ** 2)


def _spread(distances: Tensor, statistics: str) -> Tensor:
    """Return PDSG's slope at the last of the distances so far (T', N, *F), a channel and sample after the other."""
    slopes = torch.empty_like(distances[-1])
    shared = slopes.ndim == 2 and statistics == "sample"  # all features of a sample
    for n in range(slopes.shape[0]):
        rows = slice(n, n + 1) if statistics == "sample" else slice(None)
        for channel in range(1 if shared else slopes.shape[1]):
            channels = slice(None) if shared else slice(channel, channel + 1)
            values = distances[:, rows, channels].flatten().numpy()
            sigma = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            sigma = sigma if sigma > 0 else 1.0
            u = distances[-1][n, channels]
            slopes[n, channels] = torch.exp(-((u - sigma / 2) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
    return slopes


def _triangle(distance: Tensor, gamma: float) -> Tensor:
    """Return ``h_gamma(u) = max(0, gamma - |u|) / gamma**2``."""
    return (gamma - distance.abs()).clamp(min=0) / gamma**2


def _ann_neuron(activation: str, levels: int) -> Neuron:
    """Return CBA's activations in the place of neurons: firing rates, differentiated straight through."""

    def neuron(params: NeuronParams, current: Sequence) -> tuple[Trace, Pullback]:
        (x,) = current
        weight = params.c / (1 - params.alpha) / params.threshold
        z = weight * x + params.d / params.threshold
        if activation == "relu":
            y, slope = z.clamp(min=0), weight * (z > 0).double()
        else:
            top = math.inf if params.several else 1
            y = torch.floor(levels * z.clamp(0, top) + 0.5) / levels
            slope = weight * ((z >= 0) & (z <= top)).double()
        none = torch.full_like(z[None], float("nan"))
        return Trace(params, x[None], z[None], none, y[None]), lambda grad: [grad[0] * slope]

    return neuron


def _stateless(module: nn.Module, x: Tensor, weights: WeightGradients) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Run a layer without memory on one step (N, ...); its pull-back adds the step to the weights' gradients."""

    def collect(param: Tensor | None, grad: Tensor) -> None:
        if param is not None:
            weights[param] = weights[param] + grad if param in weights else grad

    if isinstance(module, nn.Identity):
        return x, lambda grad: grad
    if isinstance(module, nn.Flatten):
        return x.reshape(len(x), -1), lambda grad: grad.reshape(x.shape)
    if isinstance(module, Normalize):
        std = module.std.double()
        return (x - module.mean.double()) / std, lambda grad: grad / std
    if isinstance(module, nn.Linear):
        weight = module.weight.double()
        y = x @ weight.T

        def pull_linear(grad: Tensor) -> Tensor:
            collect(module.weight, grad.T @ x)
            collect(module.bias, grad.sum(0))
            return grad @ weight

        return y if module.bias is None else y + module.bias.double(), pull_linear
    if isinstance(module, nn.Conv2d):
        weight = module.weight.double()
        how = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}

        def pull_conv(grad: Tensor) -> Tensor:
            collect(module.weight, conv2d_weight(x, weight.shape, grad, **how))
            collect(module.bias, grad.sum((0, 2, 3)))
            return conv2d_input(x.shape, weight, grad, **how)

        return conv2d(x, weight, None if module.bias is None else module.bias.double(), **how), pull_conv
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and not module.training:
        channels = (-1, *[1] * (x.ndim - 2))
        deviation = (module.running_var.double() + module.eps).sqrt().view(channels)
        scale, shift = module.weight.double().view(channels) / deviation, module.bias.double().view(channels)
        return (x - module.running_mean.double().view(channels)) * scale + shift, lambda grad: grad * scale
    if isinstance(module, (nn.AvgPool2d, nn.MaxPool2d)):
        return _pool(module, x)
    raise TypeError(f"the reference has no {type(module).__name__}")


def _pool(module: nn.AvgPool2d | nn.MaxPool2d, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Pool unpadded square windows; where several elements of one are the greatest, the first takes the gradient."""
    size, stride = module.kernel_size, module.stride
    height, width = (x.shape[2] - size) // stride, (x.shape[3] - size) // stride
    places = [
        (..., slice(i, i + stride * height + 1, stride), slice(j, j + stride * width + 1, stride))
        for i in range(size)
        for j in range(size)
    ]
    elements = torch.stack([x[place] for place in places])
    if isinstance(module, nn.AvgPool2d):
        shares = torch.full_like(elements, 1 / size**2)
    else:
        first = torch.from_numpy(np.argmax(elements.numpy(), axis=0))
        shares = torch.stack([(first == k).double() for k in range(len(places))])

    def pull(grad: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for place, share in zip(places, shares, strict=True):
            out[place] += share * grad
        return out

    return (elements * shares).sum(0), pull
