"""Neurons of SpikingJelly: IF, LIF, parametric LIF, and those of its version 2 that are of the same family.

Known are version 2.0.0, 0.0.0.0.14, and 0.0.0.0.12, whose package is called clock_driven and has classes of their own
for sequences (MultiStepLIFNode).
"""

from __future__ import annotations

from functools import cache
from math import isfinite
from typing import Any

import torch
from torch import nn

from art_snn.adapters.classes import class_of, number, refuse, refuse_changed
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.layouts import LongSequences, Steps
from art_snn.snn.readers import Reading

_STEPS, _SEQUENCES = Steps(), LongSequences()
_KNOWN = (
    "IFNode",
    "LIFNode",
    "ParametricLIFNode",
    "SimpleIFNode",
    "SimpleLIFNode",
    "HalfThresholdIFNode",
    "CUBALIFNode",
)
_SILENT = ("NonSpikingIFNode", "NonSpikingLIFNode")  # they run as they are
_RECURRENT = ("ElementWiseRecurrentContainer", "LinearRecurrentContainer")
_DYNAMICS = ("forward", "single_step", "multi_step", "neuronal", "jit_", "apply_", "v_float", "materialize", "reset")


def read(module: nn.Module) -> Reading | None:
    """Return the reading of a neuron of SpikingJelly, None for any other module.

    Raises:
        UnsupportedModelError: The neuron computes what `NeuronParams` cannot say.
    """
    known = class_of(module, "spikingjelly")
    if known is None:
        return None
    name, place = known.__name__, known.__module__.rpartition(".")[2]
    if name in _RECURRENT or place == "rnn":
        refuse(f"is SpikingJelly's {name}, whose spikes come back to it; rate rules are not defined for that")
    if "neuron" not in known.__module__.split(".") or name in _SILENT:
        return None
    kind = name.removeprefix("MultiStep")
    if kind not in _KNOWN:
        if type(module) is known:
            refuse(f"is SpikingJelly's {name}, which this version cannot run step by step")
        refuse(f"is {type(module).__name__}, which derives from SpikingJelly's {name}; register a reader for it")
    refuse_changed(module, known, "SpikingJelly", _methods(known))
    return _reading(module, name, kind)


def reset(module: nn.Module) -> None:
    """Reset the memories of a layer of SpikingJelly, as ``functional.reset_net`` does."""
    known = class_of(module, "spikingjelly")
    if known is None:
        return
    if hasattr(module, "_memories"):
        module.reset()  # type: ignore[operator]
    elif known.__name__ in _SILENT:
        module.__dict__.pop("v", None)  # it begins anew in each call; what it leaves would hold a graph


@cache
def _methods(known: type) -> tuple[str, ...]:
    """Return the names of all methods of a class that have a part in what its neurons compute."""
    return tuple(name for name in dir(known) if name.startswith(_DYNAMICS))


def _reading(neuron: Any, name: str, kind: str) -> Reading:
    if getattr(neuron, "_neuron_precision", None) is not None:
        refuse(f"is SpikingJelly's {name} in a precision of its own, which art_snn cannot run")
    if getattr(neuron, "backend", "torch") == "lava":
        refuse(f"is SpikingJelly's {name} with backend='lava', which computes with whole numbers")
    sequences = name.startswith("MultiStep") or getattr(neuron, "step_mode", "s") == "m"
    try:
        params = _params(neuron, name, kind)
    except AttributeError as error:
        refuse(f"is SpikingJelly's {name} of a version that art_snn does not know ({error}); register a reader for it")
    return Reading(params, _SEQUENCES if sequences else _STEPS, library="SpikingJelly")


def _params(neuron: Any, name: str, kind: str) -> NeuronParams:
    threshold = number(neuron.v_threshold)
    if isinstance(threshold, float) and not (isfinite(threshold) and threshold > 0):
        refuse(f"is SpikingJelly's {name} with v_threshold={threshold}; art_snn needs a number above 0")
    v_reset = 0.0 if neuron.v_reset is None else number(neuron.v_reset)
    common: dict[str, Any] = {
        "threshold": threshold,
        "reset": "soft" if neuron.v_reset is None else "hard",
        "v_reset": v_reset,
        "v0": number(neuron._memories_rv["v"]),
        "strict": _is_strict(neuron, name),
    }
    if kind == "CUBALIFNode":
        return NeuronParams(decay=number(neuron.v_decay), alpha=number(neuron.c_decay), **common)
    if "LIF" not in kind:
        return NeuronParams(**common)
    # The potential moves by a share towards v_reset, from where an input counts.
    share = number(neuron.w.sigmoid() if kind == "ParametricLIFNode" else 1 / neuron.tau)
    return NeuronParams(decay=1 - share, c=share if neuron.decay_input else 1.0, d=v_reset * share, **common)


def _is_strict(neuron: Any, name: str) -> bool:
    """Say whether a potential at the threshold does not fire, which a surrogate decides.

    Version 0.0.0.0.14 does not ask it in evaluation mode, where IFNode and LIFNode fire at the threshold.
    """
    with torch.no_grad():
        below, at, above = neuron.surrogate_function(torch.tensor([-0.5, 0.0, 0.5])).tolist()
    if (below, above) != (0, 1) or at not in (0, 1):
        refuse(f"is SpikingJelly's {name}, whose surrogate_function gives {below:g} and {above:g} instead of 0 and 1")
    return at == 0 and not (hasattr(neuron, "jit_eval_single_step_forward_hard_reset") and not neuron.training)
