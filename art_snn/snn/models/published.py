"""Weights that the papers' own code saved, in the networks of this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# What training scripts call the state inside a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network")


def load_published_state(
    network: nn.Module,
    state: Mapping[str, Any] | str | Path,
    *,
    check: tuple[Tensor, Tensor] | None = None,
) -> dict[str, str]:
    """Load weights into a network by their order and shapes, whatever their names are.

    For checkpoints of research code, whose networks are built as `vgg11`, `resnet17` or `vgg_dvs` are, layer after
    layer, and call them otherwise. Single numbers (thresholds, counters of batches) are left out on both sides.

    Args:
        network: The network, which is changed only if all goes well.
        state: A state dictionary, or the file that ``torch.save`` wrote one to; also inside a checkpoint, under
            "state_dict", "net" or the like.
        check: A batch of inputs (N, ...) and the logits (N, K) that the published code gives for it. The network has to
            give them, too, to 1e-3 of the largest.

    Returns:
        Each name of the state to the name here, to look at.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Shapes differ, with the first place where they do, or logits do.
    """
    tensors = _tensors(_read(state))
    own = network.state_dict()
    names = [name for name, value in own.items() if value.ndim]
    pairs = list(zip(tensors.items(), names, strict=False))
    for place, ((theirs, value), ours) in enumerate(pairs):
        if value.shape != own[ours].shape:
            raise ValueError(
                f"weight {place + 1} differs: {theirs} has shape {tuple(value.shape)}, {ours} has "
                f"{tuple(own[ours].shape)}; is it another architecture, or are its layers in another order?"
            )
    if len(tensors) != len(names):
        left = (list(tensors) if len(tensors) > len(names) else names)[len(pairs)]
        raise ValueError(f"the state has {len(tensors)} weights and the network {len(names)}; the first left is {left}")
    before = {name: value.clone() for name, value in own.items()}
    network.load_state_dict(own | {ours: value for (_, value), ours in pairs})
    try:
        if check is not None:
            _compare(network, *check)
    except ValueError:
        network.load_state_dict(before)
        raise
    return {theirs: ours for (theirs, _), ours in pairs}


def _read(state: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    if isinstance(state, Mapping):
        return state
    path = Path(state)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the errors of pickle and zip have no common base
        raise ValueError(f"{path} is no readable file of weights: {error}") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__}, not named weights")
    return found


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    for name in _NESTED:
        if isinstance(state.get(name), Mapping):
            return _tensors(state[name])
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and value.ndim}
    if not tensors:
        raise ValueError(
            f"the state holds no weights; its entries are {', '.join(map(str, list(state)[:5])) or 'none'}"
        )
    return tensors


def _compare(network: nn.Module, x: Tensor, expected: Tensor) -> None:
    training = network.training
    try:
        with torch.no_grad():
            logits = network.eval()(x)
    finally:
        network.train(training)
    if logits.shape != expected.shape:
        raise ValueError(f"the network gives logits of shape {tuple(logits.shape)}, not {tuple(expected.shape)}")
    off = float((logits - expected).abs().max())
    if not off <= 1e-3 * float(expected.abs().max()):
        raise ValueError(
            f"the network gives other logits, off by {off:.2g}: compare normalisation of inputs, decay, threshold, "
            "reset and number of time-steps"
        )
