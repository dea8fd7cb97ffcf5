"""What a network looks like now, so that changes are noticed: layers, their attributes, what is in its weights."""

from __future__ import annotations

import inspect
from itertools import islice
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import padding, pooling
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from art_snn.snn.readers import neuron_params

# Entries of a tensor that are looked at; of larger ones, as many, evenly spread.
_ENTRIES = 1024
# How far attributes of attributes are followed.
_DEPTH = 4

# Affine in evaluation mode, whatever their weights and settings are.
_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)
_POOLS = (pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd)
_PADS = (padding._ConstantPadNd, padding._ReflectionPadNd, padding._ReplicationPadNd, padding._CircularPadNd)
_SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_AFFINE = (*_WEIGHTED, *_POOLS, *_PADS, *_SHAPES, *_CONTAINERS, nn.modules.dropout._DropoutNd)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_affine(module: nn.Module) -> bool:
    """Say whether a module is known to be affine for any weights: torch's own or this package's, without hooks."""
    values = vars(module)
    if neuron_params(module) is not None:
        return True  # a tap stands in for it
    if module.training and not isinstance(module, _CONTAINERS):
        return False
    if "forward" in values or any(values.get(hooks) for hooks in _HOOKS):
        return False
    home = type(module).__module__
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return home.startswith("torch.nn.modules.") and module.running_mean is not None
    return home.startswith("art_snn.") or (home.startswith("torch.nn.modules.") and isinstance(module, _AFFINE))


def structure(network: nn.Module) -> object:
    """Return the layers of a network, with the attributes of all that are not known to be affine."""
    layers: list[Any] = [_which(hooks) for hooks in (_global_forward_hooks, _global_forward_pre_hooks)]
    for module in network.modules():
        settings = None if is_affine(module) else (_attributes(module), _class_attributes(type(module)))
        layers.append((type(module), module.training, settings))
    return tuple(layers)


def weights(network: nn.Module) -> object:
    """Return what is in a network's tensors, or None where it does not matter, since all layers are known to be affine.

    Changes in place are seen, too; those that bypass torch's own count of them (``weight.data``), in tensors of more
    than a thousand entries, only where they change one of a thousand that are looked at.
    """
    if all(is_affine(module) for module in network.modules()):
        return None
    tensors = [*network.parameters(), *network.buffers(), *_tensor_attributes(network)]
    places = tuple((t.data_ptr(), _version(t), t.shape, t.stride()) for t in tensors)
    by_kind: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        by_kind.setdefault((tensor.device, tensor.dtype), []).append(_entries(tensor.detach()))
    return places, tuple(hash(torch.cat(parts).cpu().view(torch.uint8).numpy().tobytes()) for parts in by_kind.values())


def versions(network: nn.Module) -> tuple[tuple[int, int], ...]:
    """Return which parameters and buffers a network has, and how often torch saw each of them changed in place."""
    return tuple((id(t), _version(t)) for t in (*network.parameters(), *network.buffers()))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _entries(tensor: Tensor) -> Tensor:
    if tensor.numel() <= _ENTRIES:
        return tensor.reshape(-1)
    step = tensor.numel() // _ENTRIES
    return torch.take(tensor, torch.arange(0, tensor.numel(), step, device=tensor.device))


def _own(module: nn.Module) -> dict[str, Any]:
    """Return a module's attributes other than its parameters, buffers and children."""
    return {name: value for name, value in vars(module).items() if name not in ("_parameters", "_buffers", "_modules")}


def _attributes(module: nn.Module) -> object:
    hooks = [_which(vars(module).get(kind) or {}) for kind in _HOOKS]
    return hooks, _digest({name: value for name, value in _own(module).items() if name not in _HOOKS}, _DEPTH)


def _which(hooks: dict[int, Any]) -> object:
    """Return which hooks there are; what they hold changes in every call where they collect something."""
    return tuple((number, id(hook)) for number, hook in hooks.items())


def _class_attributes(kind: type) -> object:
    """Return what stands in a class of the user's own and those that it derives from."""
    mine = [each for each in kind.__mro__ if not each.__module__.startswith(("torch.", "art_snn.", "builtins"))]
    return tuple(
        _digest({name: value for name, value in vars(each).items() if not name.startswith("__")}, 1) for each in mine
    )


def _tensor_attributes(network: nn.Module) -> list[Tensor]:
    return [
        value
        for module in network.modules()
        if not is_affine(module)
        for value in _own(module).values()
        if isinstance(value, Tensor)
    ]


def _digest(value: Any, depth: int) -> object:
    """Return what a plain value is, and which object any other is, with what it holds."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, CodeType, torch.dtype, torch.device)):
        return type(value), value if value == value else "nan"
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, hash(value.tobytes())
    if isinstance(value, (Tensor, nn.Module)) or depth == 0:
        return id(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return (type(value), len(value), *(_digest(item, depth - 1) for item in islice(value, _ENTRIES)))
    if isinstance(value, dict):
        return tuple((_digest(key, 1), _digest(item, depth - 1)) for key, item in islice(value.items(), _ENTRIES))
    if isinstance(value, MethodType):
        return id(value.__self__), _digest(value.__func__, depth - 1)
    if isinstance(value, FunctionType):
        held = inspect.getclosurevars(value).nonlocals if value.__closure__ else None
        return id(value), value.__code__, _digest([value.__defaults__, held], depth - 1)
    return id(value), _digest(getattr(value, "__dict__", None), depth - 1)
