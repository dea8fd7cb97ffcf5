"""Neurons of norse: they take and return their states, and fire above the threshold only."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from art_snn.adapters.classes import class_of, number, refuse_changed, refuse_low_threshold
from art_snn.adapters.norse_states import Cells, Encoders, StateInAndOut
from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams, Reset
from art_snn.snn.layouts import Layout
from art_snn.snn.readers import Reading

# What a class's activation computes, in norse's own words.
_ACTIVATIONS = {
    "LIF": "lif_feed_forward_step",
    "LIFCell": "lif_feed_forward_step",
    "LIFBoxCell": "lif_box_feed_forward_step",
    "IAF": "iaf_feed_forward_step",
    "IAFCell": "iaf_feed_forward_step",
}
_ENCODER = "ConstantCurrentLIFEncoder"
_LAYOUTS: dict[str, Layout] = {"LIF": StateInAndOut(), "IAF": StateInAndOut(), _ENCODER: Encoders()}
_CELLS = Cells()
_LINEAR = ("LI", "LICell", "LIBoxCell", "LILinearCell")  # run as they are
_RESETS: dict[str, Reset] = {"reset_value": "hard", "reset_subtract": "soft"}
_REFUSED = {  # part of a class's name to the reason, the first that fits
    "Recurrent": "whose spikes come back to its own neurons; rate rules are not defined for recurrent layers",
    "AdEx": "whose neurons adapt to their own spikes",
    "LSNN": "whose neurons adapt to their own spikes",
    "Izhikevich": "whose equation is quadratic in the potential",
    "LIFEx": "whose equation is exponential in the potential",
    "Refrac": "whose neurons rest after a spike",
    "CobaLIF": "whose synapses are conductances",
    "LIFCorrelation": "whose weights change with its spikes",
    "SpikeLatencyLIF": "which keeps the first spike of each neuron; its time is no rate",
    "SpikesToTimes": "which returns the times of spikes, with a gradient of its own",
}


def read(module: nn.Module) -> Reading | None:
    """Return a neuron's reading, None for any other module; UnsupportedModelError for one that cannot be run."""
    known = class_of(module, "norse")
    if known is None or known.__name__ in _LINEAR:
        return None
    name = known.__name__
    for part, reason in _REFUSED.items():
        if part in name:
            raise UnsupportedModelError([f"is norse's {name}, {reason}"])
    if name == _ENCODER:
        refuse_changed(module, known, "norse", ("forward",))
    elif name in _ACTIVATIONS:
        _refuse_other_activation(module, name)
        refuse_changed(module, known, "norse", ("forward", "initial_state"))
    elif any(base.__name__ in ("SNN", "SNNCell") for base in known.__mro__):
        raise UnsupportedModelError(
            [f"is {type(module).__name__}, norse's {name} with an activation of its own; register a reader for it"]
        )
    else:
        return None
    params = _params(module, name)
    refuse_low_threshold(params, "v_th")
    return Reading(params, _LAYOUTS.get(name, _CELLS), library="norse")


def reset(module: nn.Module) -> None:
    """Leave every layer alone: a layer of norse that gets no state starts anew."""


def takes_state(model: nn.Module) -> bool:
    """Say whether a model takes its state beside its input, and returns it after its output, as norse's layers do."""
    return "state" in inspect.signature(type(model).forward).parameters


def lifts(module: nn.Module) -> bool:
    """Say whether a module runs another one step by step over a sequence (T, N, ...)."""
    known = class_of(module, "norse")
    return known is not None and known.__name__ == "Lift"


def _refuse_other_activation(module: Any, name: str) -> None:
    if getattr(module.p, "method", None) == "adjoint":
        raise UnsupportedModelError(
            [f"is norse's {name} with method='adjoint', which has a gradient of its own; take another method"]
        )
    activation = getattr(module.activation, "__name__", repr(module.activation))
    if activation != _ACTIVATIONS[name]:
        raise UnsupportedModelError([f"is norse's {name} with the activation {activation}; register a reader for it"])
    if getattr(module.state_fallback, "__func__", None) is not type(module).initial_state:
        raise UnsupportedModelError([f"is norse's {name} with an initial state of its own; register a reader for it"])


def _params(module: Any, name: str) -> NeuronParams:
    """Return the parameters of a layer whose class is called ``name``.

    With norse's ``k = dt * tau_mem_inv``, a step is ``v + k * (v_leak - v + i)``, or ``v + x`` for IAF.
    """
    p = module.p
    threshold, v_reset = number(p.v_th), number(p.v_reset)
    if name.startswith("IAF"):
        return NeuronParams(threshold=threshold, v_reset=v_reset, v0=v_reset, strict=True)
    weight, v_leak = number(module.dt * p.tau_mem_inv), number(p.v_leak)
    params = NeuronParams(
        decay=1 - weight,
        threshold=threshold,
        c=weight,
        d=weight * v_leak,
        v_reset=v_reset,
        v0=0.0 if name == _ENCODER else v_leak,
        strict=True,
    )
    if name == "LIFBoxCell":
        return params._replace(reset=_reset_method(p.reset_method))
    return params if name == _ENCODER else params._replace(alpha=1 - number(module.dt * p.tau_syn_inv))


def _reset_method(method: Any) -> Reset:
    name = getattr(method, "__name__", repr(method))
    if name not in _RESETS or method.__module__.partition(".")[0] != "norse":
        raise UnsupportedModelError([f"has the reset_method {name}, which art_snn does not know; register a reader"])
    return _RESETS[name]
