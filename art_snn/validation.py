"""Checks before any work is done: is this a model that can be attacked, and are these inputs and labels for it?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from art_snn.adapters import neuron_params, spiking_layers
from art_snn.encoders import EventFrameEncoder
from art_snn.errors import UnsupportedModelError

Array = np.ndarray | Tensor


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


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a block in evaluation mode; put flags and the noise generators of encoders back afterwards."""
    owned = [getattr(module, "generator", None) for module in network.modules()]
    generators = [(owner, owner.get_state()) for owner in owned if isinstance(owner, torch.Generator)]
    with training_mode(network, False):
        try:
            yield
        finally:
            for generator, state in generators:
                generator.set_state(state)


@contextmanager
def training_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Run a block with a model in training or evaluation mode; put every module's own flag back afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def check_input(x: Array, input_shape: tuple[int, ...] | None, encoder: nn.Module | None = None) -> Array:
    """Return ``x`` in float32; raise unless it is a batch of finite inputs of the right shape.

    Args:
        x: Batch (N, *input_shape), N >= 0.
        input_shape: Shape of one input; None where a defence may change shapes.
        encoder: The network's encoder; with event frames the number of frames is free.

    Raises:
        TypeError: ``x`` is no array or tensor of numbers.
        ValueError: Wrong rank or shape, an axis of length 0, NaN or inf.
    """
    if not isinstance(x, (np.ndarray, Tensor)):
        raise TypeError(f"x must be a numpy array or a torch tensor, got {type(x).__name__}")
    if isinstance(x, Tensor):
        x = x.to(torch.float32)
    elif x.dtype.kind in "fiub":
        x = x.astype(np.float32, copy=False)
    else:
        raise TypeError(f"x must hold numbers, got dtype {x.dtype}")
    shape = tuple(x.shape)
    frames = isinstance(encoder, EventFrameEncoder)
    if input_shape is not None:
        if len(shape) == len(input_shape) + 1 and frames and shape[1] == 0:
            raise ValueError(f"the time axis of x has length 0: shape {shape}, expected (N, T, ...) with T >= 1")
        free = 2 if frames else 1
        if len(shape) != len(input_shape) + 1 or shape[free:] != tuple(input_shape)[free - 1 :]:
            expected = ", ".join(["N", *(["T"] if frames else []), *map(str, tuple(input_shape)[free - 1 :])])
            raise ValueError(f"x has shape {shape}, expected ({expected})")
    _check_finite(x)
    return x


def _check_finite(x: Array) -> None:
    finite = torch.isfinite(x) if isinstance(x, Tensor) else np.isfinite(x)
    if not finite.all():
        bad = finite.reshape(len(x), -1).all(1)
        first = int((~bad).nonzero()[0][0])
        count = int((~bad).sum())
        raise ValueError(
            f"x holds NaN or inf in {count} of {len(x)} samples, the first is sample {first}; clean the data"
        )


def check_labels(y: Array, nb_samples: int, nb_classes: int) -> None:
    """Raise unless ``y`` is a label for each sample, as class indices or one row of ``nb_classes`` numbers each.

    Raises:
        TypeError: ``y`` is no array or tensor.
        ValueError: Wrong shape or length, or a class outside 0 to ``nb_classes - 1``.
    """
    if not isinstance(y, (np.ndarray, Tensor)):
        raise TypeError(f"y must be a numpy array or a torch tensor, got {type(y).__name__}")
    shape = tuple(y.shape)
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] not in (1, nb_classes)):
        raise ValueError(f"y has shape {shape}, expected (N,) class indices or (N, {nb_classes}) one-hot rows")
    if shape[0] != nb_samples:
        raise ValueError(f"y has {shape[0]} labels for {nb_samples} samples")
    if len(shape) == 1 or shape[1] != nb_classes:
        outside = ~((y >= 0) & (y < nb_classes) & (y % 1 == 0))
        if outside.any():
            value = y.reshape(-1)[outside.reshape(-1)][0].item()
            raise ValueError(f"labels must be classes in 0 to {nb_classes - 1} (nb_classes={nb_classes}), got {value}")
    elif not (torch.isfinite(y) if isinstance(y, Tensor) else np.isfinite(y)).all():
        raise ValueError("y holds NaN or inf")


def one_hot(y: Array, nb_samples: int, nb_classes: int) -> np.ndarray:
    """Return labels as rows (N, nb_classes), float32; rows that are given, such as probabilities, as they are.

    Raises:
        TypeError: ``y`` is no array or tensor.
        ValueError: As `check_labels`.
    """
    check_labels(y, nb_samples, nb_classes)
    rows = to_numpy(y)
    if rows.ndim == 2 and rows.shape[1] == nb_classes:
        return rows.astype(np.float32, copy=False)
    return np.eye(nb_classes, dtype=np.float32)[rows.reshape(-1).astype(np.int64)]


def to_numpy(x: Array) -> np.ndarray:
    """Return an array, of a tensor or of itself."""
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else x


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless ``value`` is a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def probe_input(input_shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Return two random inputs (2, *input_shape) in [low, high], the same every time."""
    return np.random.default_rng(0).uniform(low, high, (2, *input_shape)).astype(np.float32)
