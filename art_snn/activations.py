"""What a layer of a spiking network puts out: batch first, averaged over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from art_snn.module import GradientRuleModule
from art_snn.network import is_sequence_module


def layer_names(model: GradientRuleModule) -> list[str]:
    """Return the names of all layers without children, in the order of definition, the encoder left out."""
    return [
        name
        for name, module in model.named_modules()
        if name.startswith("network.") and module is not model.network.encoder and not list(module.children())
    ]


def layer_output(model: GradientRuleModule, name: str, x: Tensor) -> Tensor:
    """Run the model and return the output of one layer, (N, ...), averaged over time.

    Where ``x`` requires grad, the output has the gradient rule's graph.

    Args:
        model: The model, in evaluation mode.
        name: Name of the layer, as `layer_names` gives it.
        x: Inputs (N, ...).
    """
    layer = model.get_submodule(name)
    outputs: list[Tensor] = []
    handle = layer.register_forward_hook(lambda *call: outputs.append(call[2]))
    try:
        if torch.is_grad_enabled() and x.requires_grad:
            model(x)
        else:
            model.network(x)
    finally:
        handle.remove()
    if not outputs:
        raise ValueError(f"layer {name!r} takes no part in the forward pass")
    # A rate rule runs the network twice; the last run is the one with the graph.
    return _over_time(layer, outputs[-1], len(x))


def _over_time(layer: nn.Module, output: Tensor, batch: int) -> Tensor:
    if is_sequence_module(layer):
        return output.mean(0)
    if len(output) == batch:
        return output
    return output.unflatten(0, (-1, batch)).mean(0)
