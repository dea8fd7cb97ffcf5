"""Weights that the papers' own code saved, in the networks of this package."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from art_snn.snn.network import Normalize

# What training scripts call the state inside a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network")
_SHOWN = 8  # misfits in an error


def load_published_state(
    network: nn.Module,
    state: Mapping[str, Any] | str | Path,
    *,
    check: tuple[Tensor, Tensor] | None = None,
) -> dict[str, str]:
    """Load weights into a network by their order and shapes, whatever their names are.

    For checkpoints of research code, whose networks are built as `vgg11`, `resnet17` or `vgg_dvs` are, layer after
    layer, and call them otherwise. Single numbers (thresholds, counters of batches) are left out on both sides. Where
    the state has no mean and standard deviation of the inputs, the network keeps its own: build it with those that the
    published code has.

    Args:
        network: The network, which is changed only if all goes well.
        state: A state dictionary, or the file that ``torch.save`` wrote one to; also inside a checkpoint, under
            "state_dict", "net" or the like.
        check: A batch of inputs (N, ...) and the logits (N, K) that the published code gives for it. The network has to
            give them, too, to 1e-3 of the largest, for half of the inputs or more: rounding may flip a spike of a few.

    Returns:
        Each name of the state to the name here, to look at.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Shapes differ, with a list of what does not fit, or logits do.
    """
    tensors = _tensors(_read(state))
    own = network.state_dict()
    names = _names(network, own, list(tensors.values()))
    if misfits := _misfits({name: own[name] for name in names}, tensors):
        shown = "".join(f"\n  - {misfit}" for misfit in misfits[:_SHOWN])
        more = f"\n  - and {len(misfits) - _SHOWN} more" if len(misfits) > _SHOWN else ""
        raise ValueError(
            f"the state has {len(tensors)} weights and the network {len(names)}; is it another architecture, or are "
            f"its layers in another order? These do not fit:{shown}{more}"
        )
    pairs = list(zip(tensors.items(), names, strict=True))
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
        raise ValueError(f"{path} is not a readable file of weights: {error}") from error
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


def _names(network: nn.Module, own: Mapping[str, Tensor], values: list[Tensor]) -> list[str]:
    """Return what a state fills: all but single numbers, and normalisation of inputs where the state has none."""
    constants = {
        f"{name}.{constant}".lstrip(".")
        for name, module in network.named_modules()
        if isinstance(module, Normalize)
        for constant in ("mean", "std")
    }
    names: list[str] = []
    for name, value in own.items():
        fits = len(names) < len(values) and values[len(names)].shape == value.shape
        if value.ndim and (fits or name not in constants):
            names.append(name)
    return names


def _misfits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    misfits = []
    for theirs, ours in zip_longest(tensors, own):
        if ours is None:
            misfits.append(f"{theirs} {tuple(tensors[theirs].shape)} is left over")
        elif theirs is None:
            misfits.append(f"nothing is left for {ours} {tuple(own[ours].shape)}")
        elif tensors[theirs].shape != own[ours].shape:
            misfits.append(f"{theirs} {tuple(tensors[theirs].shape)} for {ours} {tuple(own[ours].shape)}")
    return misfits


def _compare(network: nn.Module, x: Tensor, expected: Tensor) -> None:
    training = network.training
    try:
        with torch.no_grad():
            logits = network.eval()(x)
    finally:
        network.train(training)
    if logits.shape != expected.shape:
        raise ValueError(f"the network gives logits of shape {tuple(logits.shape)}, not {tuple(expected.shape)}")
    off = (logits - expected).abs().amax(1)
    if not off.median() <= 1e-3 * expected.abs().max():
        raise ValueError(
            f"the network gives other logits, off by {float(off.median()):.2g} for half of the inputs or more: compare "
            "normalisation of inputs, decay, threshold, reset and number of time-steps"
        )
