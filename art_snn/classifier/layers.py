"""What a layer of a spiking network puts out: batch first, averaged over time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from art_snn.adapters.forwards import StandardForward
from art_snn.classifier.user_layers import calls_of, own_output
from art_snn.engine.module import GradientRuleModule
from art_snn.snn.layouts import Axes
from art_snn.snn.network import flat_steps, is_native
from art_snn.snn.readers import long_layers, neuron_params


class Outputs(nn.Module):
    """A model as ART's own code wants it: it returns a list of outputs, and names its layers."""

    _model: GradientRuleModule

    def __init__(self, model: GradientRuleModule) -> None:
        super().__init__()
        self._model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return a list of one: the logits (N, K)."""
        return [self._model(x)]

    @property
    def get_layers(self) -> list[str]:
        """The names of the layers."""
        return layer_names(self._model)


def layer_names(model: GradientRuleModule) -> list[str]:
    """Return the names of all layers, in the order of definition: neurons and modules without children.

    The encoder and what is inside a neuron are left out.
    """
    names: list[str] = []
    left_out = ["network.encoder."]
    for name, module in model.named_modules():
        if not name.startswith("network.") or f"{name}.".startswith(tuple(left_out)):
            continue
        if neuron_params(module) is not None:
            left_out.append(f"{name}.")
            names.append(name)
        elif not list(module.children()):
            names.append(name)
    return names


def find_layer(names: list[str], layer: int | str | None) -> str:
    """Return the name of the layer with this name or index; raise ValueError if there is none.

    A user's own network may be asked by its own names, ``fc1`` for ``network.model.fc1``.
    """
    for name in (layer, f"network.model.{layer}"):
        if isinstance(layer, str) and name in names:
            return str(name)
    if isinstance(layer, (int, np.integer)) and not isinstance(layer, bool) and -len(names) <= layer < len(names):
        return names[layer]
    raise ValueError(f"layer must be an index below {len(names)} or one of {', '.join(names)}; got {layer!r}")


def layer_output(model: GradientRuleModule, name: str, x: Tensor) -> Tensor:
    """Run a model in evaluation mode and return the output of one layer, (N, ...), averaged over time.

    Where ``x`` requires grad, the output has the rule's graph. ValueError if the layer does not run or gives no tensor,
    or if a graph is asked for in a network that has the time in its own forward.
    """
    if is_native(model.network) or long_layers(model.network):
        return _layer_output_whole(model, name, x)
    model = model.with_rule(model.rule)
    model.time_chunk = None  # chunks have no graph of their own
    outputs: list[tuple[object, int | None]] = []
    handle = model.get_submodule(name).register_forward_hook(lambda *call: outputs.append((call[2], flat_steps())))
    try:
        if torch.is_grad_enabled() and x.requires_grad:
            samples = [_last(outputs, name) for _ in model.samples(x)]
            return samples[0] if len(samples) == 1 else torch.stack(samples).mean(0)
        model.restart_noise()
        model.network(x)
        return _last(outputs, name)
    finally:
        handle.remove()


def _layer_output_whole(model: GradientRuleModule, name: str, x: Tensor) -> Tensor:
    """Do as `layer_output` for a network that has the time in its own forward, in its own run."""
    if torch.is_grad_enabled() and x.requires_grad:
        raise ValueError(
            f"the output of layer {name!r} has no graph here: a rule's goes from the input to the logits alone, in a "
            "network that has the time in its own forward; ask for its values, without framework"
        )
    layer = model.get_submodule(name)
    axes, steps = _time(model.network, x)
    model.restart_noise()
    if is_native(model.network) and axes == "N":
        return own_output(model.network, layer, name, x)
    outputs = calls_of(model.network, layer, name, x)
    averaged = [_averaged(out, axes, steps, len(x)) for out in outputs]
    found = [out for out in averaged if out is not None]
    if len(found) < len(outputs) or len({out.shape for out in found}) > 1:
        shapes = ", ".join(sorted({str(tuple(out.shape)) for out in outputs}))
        raise ValueError(
            f"layer {name!r} returns {shapes} for {len(x)} samples, and art_snn cannot tell what of it is time; give "
            "time_steps or frames to art_snn.adapt instead of a forward of your own, or choose another layer"
        )
    return torch.stack(found).mean(0)


def _time(network: nn.Module, x: Tensor) -> tuple[Axes, int]:
    """Return how layers of a network see time, and T; single steps where that is not known."""
    forward = StandardForward.in_steps(network)
    return ("N", 1) if forward is None or forward.axes is None else (forward.axes, forward.steps(x))


def _averaged(output: Tensor, axes: Axes, steps: int, samples: int) -> Tensor | None:
    """Return a layer's output in one call, averaged over the time in it, (N, ...); None where its shape is no such."""
    if axes == "N":
        return output if output.shape[:1] == (samples,) else None
    time = 0 if axes in ("T N", "T*N") else 1
    sizes = (steps, samples) if time == 0 else (samples, steps)
    if output.shape[:2] == sizes:
        return output.mean(time)
    return output.unflatten(0, sizes).mean(time) if output.shape[:1] == (steps * samples,) else None


def _last(outputs: list[tuple[object, int | None]], name: str) -> Tensor:
    """Return the last output's mean over time: a rate rule runs the network twice, the second time with a graph."""
    if not outputs:
        raise ValueError(f"layer {name!r} takes no part in the forward pass")
    output, steps = outputs[-1]
    outputs.clear()
    if not isinstance(output, Tensor):
        raise ValueError(f"layer {name!r} returns a {type(output).__name__}, not a tensor")
    return output.mean(0) if steps is None else output.unflatten(0, (steps, -1)).mean(0)
