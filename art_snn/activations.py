"""What a layer of a spiking network puts out: batch first, averaged over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from art_snn.adapters import neuron_params
from art_snn.module import GradientRuleModule
from art_snn.network import is_sequence_module


def layer_names(model: GradientRuleModule) -> list[str]:
    """Return the names of all layers, in the order of definition: neurons and modules without children.

    The encoder and what is inside a neuron are left out.
    """
    names: list[str] = []
    inside = "network.encoder"
    for name, module in model.named_modules():
        if not name.startswith("network.") or name == inside or name.startswith(f"{inside}."):
            continue
        if neuron_params(module) is not None or not list(module.children()):
            names.append(name)
    neurons = [name for name in names if neuron_params(model.get_submodule(name)) is not None]
    return [name for name in names if not any(name.startswith(f"{neuron}.") for neuron in neurons)]


def layer_output(model: GradientRuleModule, name: str, x: Tensor) -> Tensor:
    """Run the model and return the output of one layer, (N, ...), averaged over time.

    Where ``x`` requires grad, the output has the gradient rule's graph.

    Args:
        model: The model, in evaluation mode.
        name: Name of the layer, as `layer_names` gives it.
        x: Inputs (N, ...).

    Raises:
        ValueError: The layer takes no part in the forward pass, or gives nothing with a batch in it.
    """
    layer = model.get_submodule(name)
    outputs: list[Tensor] = []
    steps: list[int] = []
    handles = [
        layer.register_forward_hook(lambda *call: outputs.append(call[2])),
        model.network.body.register_forward_pre_hook(lambda *call: steps.append(len(call[1][0]))),
    ]
    try:
        if torch.is_grad_enabled() and x.requires_grad:
            model(x)
        else:
            model.network(x)
    finally:
        for handle in handles:
            handle.remove()
    if not outputs:
        raise ValueError(f"layer {name!r} takes no part in the forward pass")
    # A rate rule runs the network twice; the last run is the one with the graph.
    return _over_time(layer, outputs[-1], steps[-1], len(x), name)


def _over_time(layer: nn.Module, output: Tensor, steps: int, batch: int, name: str) -> Tensor:
    """Average (T, N, ...) or (T*N, ...) over time; a layer that ran once for all steps gives (N, ...)."""
    if is_sequence_module(layer) or (output.shape[:2] == (steps, batch) and len(output) not in (batch, steps * batch)):
        return output.mean(0)
    if len(output) == steps * batch:
        return output.unflatten(0, (steps, batch)).mean(0)
    if len(output) == batch and output.shape[:2] != (steps, batch):
        return output
    raise ValueError(
        f"the output of layer {name!r} has shape {tuple(output.shape)}; with T={steps} and N={batch} it is not clear "
        "which axis is the batch"
    )
