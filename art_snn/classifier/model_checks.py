"""Is this a model that can be attacked? Checked before any work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from art_snn.errors import UnsupportedModelError
from art_snn.snn.modes import evaluating
from art_snn.snn.readers import neuron_params, spiking_layers


def check_model(network: nn.Module, nb_classes: int, probe: Tensor | None) -> None:
    """Raise one error with every reason why a network cannot be attacked.

    Args:
        network: The spiking network. Its flags, buffers and generators are left as they are.
        nb_classes: K, the number of logits that it should give.
        probe: A small batch of inputs (N, ...) to look at the outputs of; None skips that.

    Raises:
        UnsupportedModelError: With all reasons found.
    """
    reasons = []
    if not list(spiking_layers(network)):
        reasons.append(
            "it has no spiking layer; put art_snn.LIF or art_snn.IF between its layers, or use ART's PyTorchClassifier"
        )
    reasons += _dtype_reasons(network)
    if not reasons and probe is not None:
        reasons += _output_reasons(network, nb_classes, probe)
    if reasons:
        raise UnsupportedModelError(reasons)


def check_dtype(network: nn.Module) -> None:
    """Raise UnsupportedModelError unless all weights are float32, which is what ART's arrays are."""
    reasons = _dtype_reasons(network)
    if reasons:
        raise UnsupportedModelError(reasons)


def _dtype_reasons(network: nn.Module) -> list[str]:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return [f"{name} is {str(tensor.dtype).removeprefix('torch.')}, ART works in float32; call model.float()"]
    return []


def _output_reasons(network: nn.Module, nb_classes: int, probe: Tensor) -> list[str]:
    order: list[nn.Module] = []
    try:
        with evaluating(network), _call_order(network, order), torch.no_grad():
            logits = network(probe)
    except Exception as error:  # whatever a user's forward raises is a reason
        return [f"it fails on inputs of shape {tuple(probe.shape)}: {type(error).__name__}: {error}"]
    if logits.ndim != 2 or logits.shape[1] != nb_classes:
        return [f"it gives outputs of shape {tuple(logits.shape)}, expected (N, nb_classes) = (N, {nb_classes})"]
    if not torch.isfinite(logits).all():
        return ["it gives NaN or inf on a random input; check its weights"]
    reasons = []
    if nb_classes > 1 and (logits >= 0).all() and torch.allclose(logits.sum(1), logits.new_ones(()), atol=1e-4):
        reasons.append("it returns probabilities; take its softmax off, attacks and losses expect logits")
    if _ends_spiking(order):
        reasons.append(
            "it returns firing rates; end it with a layer that does not spike (a Linear), so that it gives logits"
        )
    return reasons


def _ends_spiking(order: list[nn.Module]) -> bool:
    """Say whether the last spiking layer runs after the last layer with weights."""
    spiking = [i for i, module in enumerate(order) if neuron_params(module) is not None]
    weighted = [i for i, module in enumerate(order) if neuron_params(module) is None and _has_weights(module)]
    return bool(spiking) and (not weighted or weighted[-1] < spiking[-1])


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


@contextmanager
def _call_order(network: nn.Module, order: list[nn.Module]) -> Iterator[None]:
    """Append each module to ``order`` when its forward ends."""
    handles = [module.register_forward_hook(lambda module, *_: order.append(module)) for module in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def probe_input(input_shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Return two random inputs (2, *input_shape) in [low, high], the same every time."""
    return np.random.default_rng(0).uniform(low, high, (2, *input_shape)).astype(np.float32)
