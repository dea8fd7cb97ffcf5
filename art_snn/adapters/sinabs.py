"""Neurons of sinabs: they keep their states in buffers, and may give several spikes a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from art_snn.adapters.classes import changed, class_of, number, refuse_changed, refuse_low_threshold
from art_snn.errors import UnsupportedModelError
from art_snn.snn.dynamics import NeuronParams, Scalar
from art_snn.snn.layouts import BatchFirst, Layout, Squeezed
from art_snn.snn.readers import Reading

_MODULES = ("sinabs.layers.lif", "sinabs.layers.iaf", "sinabs.layers.exp_leak")
_DYNAMICS = ("forward", "alpha_mem_calculated", "alpha_syn_calculated", "squeeze_forward")
_REFUSED = {  # part of a class's name to the reason
    "Recurrent": "whose spikes come back to its own neurons; rate rules are not defined for recurrent layers",
    "ALIF": "whose threshold moves with its spikes",
}


def _time_steps(module: Any, rows: int) -> int:
    """Return T of a squeezed layer, which knows N or T; -1 is the one that it does not know."""
    return module.num_timesteps if module.num_timesteps > 0 else max(1, rows // module.batch_size)


_LAYOUTS: dict[str, Layout] = {
    "LIF": BatchFirst(),
    "IAF": BatchFirst(),
    "LIFSqueeze": Squeezed(_time_steps),
    "IAFSqueeze": Squeezed(_time_steps),
}


def read(module: nn.Module) -> Reading | None:
    """Return a neuron's reading, None for any other module; UnsupportedModelError for one that cannot be run."""
    known = class_of(module, "sinabs")
    if known is None or not _keeps_state(known) or getattr(module, "spike_fn", None) is None:
        return None  # ExpLeak, which has no spike_fn, runs as it is
    name = known.__name__
    for part, reason in _REFUSED.items():
        if part in name:
            raise UnsupportedModelError([f"is sinabs's {name}, {reason}"])
    if name not in _LAYOUTS or known.__module__ not in _MODULES:
        raise UnsupportedModelError(
            [f"is {known.__module__}.{name}, which art_snn does not know; register a reader for it"]
        )
    refuse_changed(module, known, "sinabs", _DYNAMICS)
    params = _params(module, name)
    refuse_low_threshold(params, "spike_threshold")
    return Reading(params, _LAYOUTS[name], library="sinabs")


def reset(module: nn.Module) -> None:
    """Let a layer start anew, as if it had never run; any other module is left alone."""
    known: Any = class_of(module, "sinabs")
    if known is None or not _keeps_state(known):
        return
    if known.__module__ not in _MODULES or changed(module, known, ("reset_states", "init_state_with_shape")):
        getattr(module, "reset_states")()  # noqa: B009
        return
    # Zeros of the last batch's shape, which reset_states would leave, are drawn from at random for one of another size.
    for name, state in module._buffers.items():
        if state is not None:
            module._buffers[name] = torch.zeros(0, device=state.device)


def state_names(module: nn.Module) -> Iterator[str]:
    """Yield the names of a layer's buffers that are its state, whose shape is that of a batch."""
    if _keeps_state(type(module)):
        yield from module._buffers


def _keeps_state(kind: type) -> bool:
    return any(_is_of_sinabs(base) and base.__name__ == "StatefulLayer" for base in kind.__mro__)


def _is_of_sinabs(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "sinabs"


def _params(module: Any, name: str) -> NeuronParams:
    """Return a layer's parameters.

    With sinabs's ``a = exp(-1 / tau_mem)``, a step is ``a * v + w * i``, with w = 1 - a where ``norm_input`` is set,
    else 1; a synaptic current decays by ``b = exp(-1 / tau_syn)`` together with the input, ``i = b * (i + x)``.
    """
    decay_mem, decay_syn = module.alpha_mem_calculated.detach(), module.alpha_syn_calculated
    weight: Scalar = number(1 - decay_mem) if module.norm_input else 1.0
    alpha: Scalar = 0.0
    if decay_syn is not None:
        alpha = number(decay_syn)
        weight = weight * alpha
    threshold = number(module.spike_threshold)
    params = NeuronParams(
        decay=number(decay_mem),
        threshold=threshold,
        alpha=alpha,
        c=weight,
        several=_several(module.spike_fn, name),
        floor=None if module.min_v_mem is None else number(module.min_v_mem),
    )
    return _with_reset(params, module.reset_fn, name)


def _several(spike_fn: Any, name: str) -> bool:
    kind = spike_fn if isinstance(spike_fn, type) else type(spike_fn)
    if _is_of_sinabs(kind) and kind.__name__ in ("MultiSpike", "SingleSpike"):
        return kind.__name__ == "MultiSpike"
    raise UnsupportedModelError(
        [f"is sinabs's {name} with the spike_fn {kind.__name__}; MultiSpike and SingleSpike are known"]
    )


def _with_reset(params: NeuronParams, reset_fn: Any, name: str) -> NeuronParams:
    kind = type(reset_fn)
    if _is_of_sinabs(kind) and kind.__name__ == "MembraneSubtract":
        value = reset_fn.subtract_value
        return params._replace(reset="soft", rho=None if value is None else number(value))
    if _is_of_sinabs(kind) and kind.__name__ == "MembraneReset":
        # sinabs adds the value to all potentials in every step, whether they fired or not. Here, it is left out of the
        # potential that is carried over, and comes in with the next step.
        value = number(reset_fn.reset_value)
        floor = None if params.floor is None else params.floor - value
        return params._replace(d=params.decay * value, v0=-value, floor=floor)
    raise UnsupportedModelError(
        [f"is sinabs's {name} with the reset_fn {kind.__name__}; MembraneSubtract and MembraneReset are known"]
    )
