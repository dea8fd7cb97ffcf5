"""What a layer of a user's own network puts out: which axes its outputs have is seen on batches of one and two."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import read


def own_output(network: SequenceModel, layer: nn.Module, name: str, x: Tensor) -> Tensor:
    """Run a user's network as it is, and return one layer's output (N, ...), averaged over its calls and time.

    Where a layer returns several outputs, such as spikes and potentials, the first is meant.

    Args:
        network: The network, in evaluation mode.
        layer: The layer, a module in it.
        name: Its name, for errors.
        x: Inputs (N, ...).

    Raises:
        ValueError: The layer does not run, gives no tensor, or it cannot be seen which axis is the batch or time.
    """
    with torch.no_grad():
        one, two, calls = (calls_of(network, layer, name, each) for each in (x[:1], x[[0, 0]], x))
    if not len(one) == len(two) == len(calls):
        raise ValueError(
            f"layer {name!r} runs {len(one)}, {len(two)} and {len(calls)} times on 1, 2 and {len(x)} inputs"
        )
    axes: set[str] = {reading.layout.axes for module in network.modules() if (reading := read(module)) is not None}
    means = [_batch_first(out, a.shape, b.shape, axes, name) for out, a, b in zip(calls, one, two, strict=True)]
    if any(a.shape != b.shape for a, b in pairwise(means)):
        raise ValueError(f"layer {name!r} puts out other shapes from call to call: {[tuple(m.shape) for m in means]}")
    return torch.stack(means).mean(0)


def calls_of(network: SequenceModel, layer: nn.Module, name: str, x: Tensor) -> list[Tensor]:
    """Run a network as it is; return a layer's output in each of its calls, the first of several, without a graph.

    Raises:
        ValueError: The layer does not run, or gives no tensor.
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        first = output[0] if isinstance(output, (tuple, list)) and output else output
        if not isinstance(first, Tensor):
            raise ValueError(f"layer {name!r} returns a {type(first).__name__}, not a tensor")
        outputs.append(first.detach().clone())  # a layer after it may work in place

    handle = layer.register_forward_hook(keep)
    try:
        network(x)
    finally:
        handle.remove()
    if not outputs:
        raise ValueError(f"layer {name!r} takes no part in the forward pass")
    return outputs


def _batch_first(out: Tensor, one: torch.Size, two: torch.Size, axes: set[str], name: str) -> Tensor:
    """Return an output with the batch first, averaged over time; ``one`` and ``two`` are its shapes for 1 and 2."""
    grown = [axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if b == 2 * a and a]
    if len(grown) != 1 or grown[0] > 1:
        raise ValueError(
            f"layer {name!r} puts out {tuple(one)} for 1 input and {tuple(two)} for 2: no axis is the batch"
        )
    if grown[0] == 1:
        return out.mean(0)
    steps = one[0]
    if steps == 1 and axes != {"N T"}:
        return out
    if steps == 1:
        raise ValueError(f"layer {name!r} puts out {tuple(out.shape)}; whether its second axis is time cannot be seen")
    if axes <= {"T N", "T*N"}:
        return out.unflatten(0, (steps, -1)).mean(0)
    if axes <= {"N T", "N*T"}:
        return out.unflatten(0, (-1, steps)).mean(1)
    raise ValueError(f"layer {name!r} puts out {tuple(out.shape)}; which of time and batch comes first cannot be seen")
