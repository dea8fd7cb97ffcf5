"""Neurons of snnTorch: Leaky, Synaptic and Lapicque.

They fire above the threshold, and their resets come with the next step; the potential that they return is that before
the reset. Source: snnTorch 1.0.0; version 0.8 and 0.9 do the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from art_snn.adapters.classes import class_of, number, refuse, refuse_changed
from art_snn.snn.dynamics import NeuronParams, NeuronState, Reset, Scalar
from art_snn.snn.layouts import Layout, Tap
from art_snn.snn.readers import Reading

_RESETS: tuple[Reset, ...] = ("late soft", "late hard", "none")  # by reset_mechanism_val
_DYNAMICS = (
    "forward",
    "fire",
    "mem_reset",
    "_base_state_function",
    "_base_sub",
    "_base_zero",
    "_base_int",
    "_build_state_function_hidden",
)
_PARALLEL = ("LeakyParallel", "LeakyKernel")  # without the attributes of its other neurons
_OLD = tuple(f"0.{minor}." for minor in range(8))  # versions that differ in how states are made and handed on
_STATES = {"Leaky": ("mem",), "Lapicque": ("mem",), "Synaptic": ("syn", "mem")}


def read(module: nn.Module) -> Reading | None:
    """Return the reading of a neuron of snnTorch, None for any other module.

    Raises:
        UnsupportedModelError: The neuron computes what `NeuronParams` cannot say.
    """
    known = class_of(module, "snntorch")
    if known is None:
        return None
    name = known.__name__
    if not hasattr(module, "reset_mechanism_val") and name not in _PARALLEL:
        return None
    version = str(getattr(sys.modules["snntorch"], "__version__", ""))
    if version.startswith(_OLD):
        refuse(f"is of snnTorch {version}, whose neurons keep their states in another way; install version 1.0")
    if name not in _STATES:
        refuse(f"is snnTorch's {name}, which this version cannot run step by step")
    refuse_changed(module, known, "snnTorch", _DYNAMICS)
    neuron: Any = module
    for option, wrong in (("inhibition", True), ("state_quant", True), ("reset_delay", False)):
        if bool(getattr(neuron, option, not wrong)) is wrong:
            refuse(f"is snnTorch's {name} with {option}={getattr(neuron, option)!r}, which art_snn cannot run")
    reset = _RESETS[int(neuron.reset_mechanism_val)]
    if reset == "late hard" and name != "Leaky":
        refuse(f"is snnTorch's {name} with reset_mechanism='zero', which drops a step's input after a spike")
    if version.startswith("0.") and name == "Synaptic" and not neuron.init_hidden:
        refuse(
            f"is snnTorch {version}'s Synaptic with states that come in, which takes the potential for the current; "
            "snnTorch 1.0 does not"
        )
    decay, weight = _weights(neuron, name)
    params = NeuronParams(
        decay=decay,
        threshold=number(neuron.threshold),
        reset=reset,
        alpha=number(neuron.alpha.clamp(0, 1)) if name == "Synaptic" else 0.0,
        c=weight,
        strict=_is_strict(neuron),
    )
    return Reading(params, _LAYOUTS[name], library="snnTorch")


def reset(module: nn.Module) -> None:
    """Reset the states of any of snnTorch's neurons, as its ``reset_mem`` does, whatever batch comes next."""
    if hasattr(module, "reset_mem") and class_of(module, "snntorch") is not None:
        module.reset_mem()  # type: ignore[operator]


def _weights(neuron: Any, name: str) -> tuple[Scalar, Scalar]:
    """Return decay and input weight."""
    if name != "Lapicque":
        return number(neuron.beta.clamp(0, 1)), 1.0
    # mem + (time_step / (R * C)) * (-mem + input * R)
    share = neuron.time_step / (neuron.R * neuron.C)
    return number(torch.as_tensor(1 - share)), number(torch.as_tensor(share * neuron.R))


def _is_strict(neuron: Any) -> bool:
    """Say whether a potential at the threshold does not fire, which a surrogate decides."""
    with torch.no_grad():
        return not bool(neuron.spike_grad(torch.zeros(1, device=neuron.threshold.device)) > 0)


class _States(Layout):
    """Single steps; states come in after the current and go out after the spikes, unless the neuron keeps them."""

    axes = "N"

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def forward(self, module: nn.Module, tap: Tap) -> Callable[..., Any]:
        """Return a forward as the neuron's own."""
        neuron: Any = module
        given: dict[str, Tensor] = {}  # the states that were handed out last, or came in

        def call(current: Tensor, *states: Tensor | None, **named: Tensor | None) -> Any:
            incoming = dict(zip(self._names, states, strict=False)) | named
            known = {name: value for name, value in incoming.items() if value is not None}
            if neuron.init_hidden and known:
                raise TypeError(f"{', '.join(known)} cannot be given to a neuron with init_hidden=True")
            if any(value is not given.get(name) for name, value in known.items()):
                given.update(known)
                begin = {name: _fitting(value, current) for name, value in given.items()}
                tap.begin(NeuronState(begin.get("mem", 0.0), begin.get("syn")))
            spikes = tap(current.unsqueeze(0)).squeeze(0) * neuron.graded_spikes_factor
            if neuron.init_hidden and not neuron.output:
                return spikes
            state: Any = tap.state
            values = {"syn": state.synapse, "mem": state.potential}
            given.update((name, values[name]) for name in self._names)
            return (spikes, *(given[name] for name in self._names))

        return call


def _fitting(state: Tensor, current: Tensor) -> Tensor:
    """Return a state, or zeros where its shape is not the current's, as snnTorch does."""
    return state if state.shape == current.shape else torch.zeros_like(current)


_LAYOUTS = {name: _States(states) for name, states in _STATES.items()}
