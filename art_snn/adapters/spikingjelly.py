"""Neurons of SpikingJelly: IF, LIF, parametric LIF, and two of version 2.

Known are version 2.0.0, 0.0.0.0.14, and 0.0.0.0.12, whose package is called clock_driven and has classes of their own
for sequences (MultiStepLIFNode).
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import nn

from art_snn.adapters.classes import changed, class_of
from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.layouts import LongSequences, Steps
from art_snn.snn.readers import Reading

_STEPS, _SEQUENCES = Steps(), LongSequences()
_KNOWN = ("IFNode", "LIFNode", "ParametricLIFNode", "HalfThresholdIFNode", "CUBALIFNode")
_DYNAMICS = (
    "forward",
    "single_step_forward",
    "multi_step_forward",
    "single_step_functional_forward",
    "multi_step_functional_forward",
    "materialize_states",
    "neuronal_charge",
    "neuronal_fire",
    "neuronal_reset",
)


def read(module: nn.Module) -> Reading | None:
    """Return the reading of a neuron of SpikingJelly, None for any other module.

    Raises:
        UnsupportedModelError: The neuron computes what `NeuronParams` cannot say.
    """
    known = class_of(module, "spikingjelly")
    if known is None or not _is_neuron(module, known):
        return None
    kind = known.__name__.removeprefix("MultiStep")
    if kind not in _KNOWN:
        _refuse(f"is SpikingJelly's {known.__name__}, which this version cannot run step by step")
    if differing := changed(module, known, _DYNAMICS):
        _refuse(
            f"is {type(module).__name__}, which derives from SpikingJelly's {known.__name__} and changes "
            f"{differing[0]}; register a reader for it"
        )
    neuron: Any = module
    if getattr(neuron, "_neuron_precision", None) is not None:
        _refuse(f"is SpikingJelly's {known.__name__} in a precision of its own, which art_snn cannot run")
    return Reading(_params(neuron, kind), _layout(neuron, known), library="SpikingJelly")


def reset(module: nn.Module) -> None:
    """Reset the memories of a layer of SpikingJelly, as ``functional.reset_net`` does."""
    if class_of(module, "spikingjelly") is not None and hasattr(module, "_memories"):
        module.reset()  # type: ignore[operator]


def _is_neuron(module: nn.Module, known: type) -> bool:
    """Say whether a class of the library fires: it is one of its nodes, and no wrapper around them."""
    named = [base.__name__ for base in type(module).__mro__ if ".neuron" in base.__module__]
    return bool(named) and known.__module__.find(".neuron") >= 0 and not any("NonSpiking" in name for name in named)


def _layout(neuron: Any, known: type) -> Steps | LongSequences:
    sequences = known.__name__.startswith("MultiStep") or getattr(neuron, "step_mode", "s") == "m"
    return _SEQUENCES if sequences else _STEPS


def _params(neuron: Any, kind: str) -> NeuronParams:
    v_reset = 0.0 if neuron.v_reset is None else float(neuron.v_reset)
    common: dict[str, Any] = {
        "threshold": float(neuron.v_threshold),
        "reset": "soft" if neuron.v_reset is None else "hard",
        "v_reset": v_reset,
        "v0": neuron._memories_rv["v"],
        "strict": _is_strict(neuron),
    }
    if kind == "CUBALIFNode":
        return NeuronParams(decay=float(neuron.v_decay), alpha=float(neuron.c_decay), **common)
    if "LIF" not in kind:
        return NeuronParams(**common)
    # The potential moves by a share towards v_reset, from where an input counts.
    share = 1 / neuron.tau if kind == "LIFNode" else neuron.w.detach().sigmoid().item()
    return NeuronParams(decay=1 - share, c=share if neuron.decay_input else 1.0, d=v_reset * share, **common)


def _is_strict(neuron: Any) -> bool:
    """Say whether a potential at the threshold does not fire, which a surrogate decides."""
    with torch.no_grad():
        return not bool(neuron.surrogate_function(torch.zeros(1)) > 0)


def _refuse(reason: str) -> NoReturn:
    raise UnsupportedModelError([reason])
