"""Modules that no gradient rule can take: other libraries' neurons, wrappers, neurons out of torch's sight."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from art_snn.errors import UnsupportedModelError
from art_snn.snn.network import is_native
from art_snn.snn.readers import is_spiking, read

# Top packages of libraries with spiking neurons of their own, and how they are called.
LIBRARIES = {
    "spikingjelly": "SpikingJelly",
    "snntorch": "snnTorch",
    "norse": "Norse",
    "sinabs": "Sinabs",
    "braincog": "BrainCog",
    "bindsnet": "BindsNET",
    "lava": "Lava",
    "rockpool": "Rockpool",
    "slayerSNN": "SLAYER",
    "spikingtorch": "SpikingTorch",
}
PORTING = (
    "make their class known with art_snn.adapters.register_neuron, or rebuild them as LIF or IF with the same "
    "equation; the page 'Attack your own model' has the parameters"
)
INLINE = "a neuron that is written into a forward's loop over time first moves into an nn.Module of its own"

WHOLE = "give the model that they are of as it is, without a SpikingNetwork around: art_snn.adapt(model, time_steps=T)"


def foreign_neurons(network: nn.Module) -> list[str]:
    """Return the neurons of other libraries in a network that no reader knows, such as "SpikingJelly's LIFNode".

    A layer that another library derives from one of torch's is none, nor is the surrogate inside a neuron.
    """
    library = _library(type(network))
    named = [f"{library}'s {type(network).__name__}"] if library else []
    try:
        reading = read(network)
    except UnsupportedModelError:
        return named
    if reading is not None:  # those of a library run in `art_snn.adapters.adapt` alone
        return [f"{library or reading.library}'s {type(network).__name__}"] if reading.library else []
    inside = [name for child in network.children() for name in foreign_neurons(child)]
    return list(dict.fromkeys(inside)) if inside or is_spiking(network) else named


def foreign_reason(network: nn.Module) -> str | None:
    """Return the sentence that says which neurons of other libraries a network holds, and what to do; None for none."""
    foreign = foreign_neurons(network)
    if not foreign:
        return None
    more = f" and {len(foreign) - 3} more kinds" if len(foreign) > 3 else ""
    cure = WHOLE if any(_runs_whole(module) for module in network.modules()) else PORTING
    return f"it holds neurons of another library ({', '.join(foreign[:3])}{more}); {cure}"


def _runs_whole(module: nn.Module) -> bool:
    try:
        reading = read(module)
    except UnsupportedModelError:
        return False
    return reading is not None and reading.library is not None


def _library(kind: type) -> str | None:
    bases = [base for base in kind.__mro__ if base is not nn.Module]
    if any(base.__module__.startswith("torch.nn.modules.") or "surrogate" in base.__module__ for base in bases):
        return None
    roots = (base.__module__.partition(".")[0] for base in bases)
    return next((LIBRARIES[root] for root in roots if root in LIBRARIES), None)


def wrapper(module: nn.Module) -> str | None:
    """Return what wraps a module, and what to give instead, a phrase; None if it is no wrapper."""
    if isinstance(module, (nn.DataParallel, DistributedDataParallel)):
        return f"is wrapped in {type(module).__name__}, and art_snn runs on one device; give the module inside, .module"
    if isinstance(module, torch.jit.ScriptModule):
        return "is TorchScript, in which art_snn cannot look for neurons; give the module that it was made of"
    if "_orig_mod" in module._modules:
        return "is wrapped by torch.compile, where no neuron can be reached; give the module inside, ._orig_mod"
    if getattr(module, "_compiled_call_impl", None) is not None:
        return "is compiled by its method compile(), where no neuron can be reached; make the network without it"
    return None


def out_of_reach(network: nn.Module) -> list[str]:
    """Return why a gradient rule would not reach all neurons of a network, one sentence each."""
    foreign = None if is_native(network) else foreign_reason(network)
    reasons = [] if foreign is None else [foreign]
    for name, module in network.named_modules():
        phrase = wrapper(module)
        if phrase is not None and (isinstance(module, torch.jit.ScriptModule) or is_spiking(module)):
            reasons.append(f"its {name or 'whole'} {phrase}")
            break
    reasons.extend(
        f"its neurons in {place} are out of torch's sight; use an nn.ModuleList or an nn.ModuleDict"
        for place in _plain_containers(network)
    )
    return reasons


def _plain_containers(network: nn.Module) -> Iterator[str]:
    """Yield the attributes in which neurons are kept past torch: lists, tuples and dictionaries."""
    known = set(network.modules())
    for name, module in network.named_modules():
        for attribute, value in list(vars(module).items()):  # another thread may tap
            if not isinstance(value, (list, tuple, dict)) or attribute.startswith("_"):
                continue
            kept = value.values() if isinstance(value, dict) else value
            if any(isinstance(each, nn.Module) and each not in known and is_spiking(each) for each in kept):
                yield f"{name}.{attribute}".lstrip(".")
