"""What a network that is run whole, with its own neurons, shows in one run of its own and one with taps.

Nothing is known of what its forward does, so that every way in which a gradient could be wrong is looked for.
"""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from art_snn.adapters.forwards import StandardForward
from art_snn.engine.differences import misleading
from art_snn.engine.graphs import InputsOnly
from art_snn.engine.linearity import tolerance
from art_snn.engine.outputs import failure_reason, output_reasons
from art_snn.engine.probing import seeded
from art_snn.engine.seen import Seen
from art_snn.engine.taps import Layers
from art_snn.errors import GradientWarning, UnsupportedModelError
from art_snn.rules import STBP
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.modes import evaluating
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import graph_nodes, read, tapped

# Networks that were found right, and how often they were looked at. One sample, or neurons that do not fire, show
# little: such a network is looked at again, a few times.
_LOOKS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_MOST_LOOKS = 5

_SINGLE = (
    "its neurons saw a single time-step; give time_steps=T, or your own loop over time as forward, to art_snn.adapt; "
    "where one step is meant, time_steps=1"
)
_CUT = (
    "no differentiable way leads from the input to its neurons: an encoder that draws spikes cuts it; use "
    "art_snn.PoissonEncoder(time_steps=T), which gives all T steps (T, N, ...), or encode outside the model"
)
_MIXED = (
    "a sample's logits depend on the other samples of the batch: a time axis is read as the batch, or the batch as "
    "time; give time_steps=T, or your own loop as forward, to art_snn.adapt, and look at the layout of the neurons"
)
_BY_BATCH = "; sinabs's layers that are made with batch_size take batches of that size alone: give num_timesteps=T"
_UNSTEADY = (
    "it gives other logits for the same input in the next call: a layer keeps a state that art_snn does not reset; "
    "reset it in a forward of your own. Noise that torch does not draw looks like that, too: draw it with torch"
)
_DETACHED = (
    "its logits have no graph to its neurons: something after them detaches (detach, .data, numpy, torch.no_grad); "
    "leave that out of the forward"
)
_DRAWN = (
    "spikes are drawn from its input (torch.bernoulli, spikegen.rate), whose gradient is 0; use "
    "art_snn.PoissonEncoder(time_steps=T), which gives all T steps (T, N, ...), or encode outside the model"
)
_PAST_GRAPH = (
    "it changes the state that a layer returned through .data, past every graph; write mem = 0.5 * mem in the place of "
    "mem.data.mul_(0.5)"
)


def refuse_wrong_whole(network: SequenceModel, x: Tensor) -> None:
    """Raise UnsupportedModelError if a batch ``x`` (N, ...) shows that gradients are wrong.

    A network is looked at until two different samples have made all of its layers of neurons fire.
    """
    looks = _LOOKS.get(network, 0)
    if not len(x) or looks == _MOST_LOOKS:
        return
    reasons, fired = _looked_at(network, x[:2].detach(), None)
    if reasons:
        raise UnsupportedModelError(reasons)
    if not looks:
        _warn_of_misleading(network, x[:2].detach())
    enough = fired and len(x) > 1 and not torch.equal(x[0], x[1])
    _LOOKS[network] = _MOST_LOOKS if enough else looks + 1


def _warn_of_misleading(network: SequenceModel, x: Tensor) -> None:
    with evaluating(network):
        places = misleading(network, x)
    if places:
        warnings.warn(
            f"what lies before {', '.join(places)} has another gradient than its values say: something there rounds, "
            "compares or detaches, or is a spike function that art_snn does not know. No rule sees through it, and "
            "attacks are weaker than the network is; make a neuron known with art_snn.adapters.register_neuron",
            GradientWarning,
            stacklevel=6,
        )


def whole_reasons(network: SequenceModel, x: Tensor, nb_classes: int | None = None) -> list[str]:
    """Say why gradients of a network that runs whole would be wrong, seen on a small batch ``x`` (N, ...).

    A network whose runs differ by random numbers alone counts as random from then on.
    """
    return _looked_at(network, x, nb_classes)[0]


def _looked_at(network: SequenceModel, x: Tensor, nb_classes: int | None) -> tuple[list[str], bool]:
    """Return `whole_reasons`, and whether every layer of neurons that ran has fired."""
    with evaluating(network):
        try:
            with torch.no_grad(), seeded(network, x):
                logits = network(x)
        except UnsupportedModelError as error:
            return list(error.reasons), False
        except Exception as error:  # whatever a user's forward raises is a reason
            return [failure_reason(network, x, error, _libraries(network))], False
        if reasons := output_reasons(network, logits, len(x), nb_classes):
            return reasons, False
        seen: list[Seen] = []
        reasons = [*_native_reasons(network, x, logits), *_tapped_reasons(network, x, logits, seen)]
        return list(dict.fromkeys(reasons)), all(neurons.fired for neurons in seen if neurons.steps)


def _native_reasons(network: SequenceModel, x: Tensor, logits: Tensor) -> list[str]:
    with torch.no_grad():
        with seeded(network, x):
            again = network(x)
        if _share_off(logits, again) > 0:
            return [_UNSTEADY]
        with seeded(network, x, 1):
            random = _share_off(logits, network(x)) > 0
        encoder: Any = network.encoder
        encoder.random = random
        if random or len(x) < 2:
            return []
        rows = [1, 0, 1]
        # Rounding depends on the size of a batch, and may flip a spike of a sample or two.
        if _share_off(logits[rows], network(x[rows])) <= 0.5:
            return []
        return [_mixed(network)]


def _mixed(network: SequenceModel) -> str:
    return _MIXED + (_BY_BATCH if "sinabs" in _libraries(network) else "")


def _libraries(network: SequenceModel) -> set[str | None]:
    readings = (read(module) for module in network.modules())
    return {reading.library for reading in readings if reading is not None}


def _graph_reasons(network: SequenceModel, stepped: Tensor, leaf: Tensor) -> list[str]:
    """Say whether the logits (N, K) have no graph, or those of the last sample depend on another one's input.

    The values of neurons that do not fire do not show that. A batch that is read as time goes from the first to the
    last.
    """
    if not stepped.requires_grad:
        return [_DETACHED]
    try:
        (grad,) = torch.autograd.grad(stepped[-1].sum(), leaf, retain_graph=True, allow_unused=True)
    except RuntimeError as error:  # whatever a user's forward does to its graph
        return [f"its graph cannot be gone back through: {error}"]
    return [_mixed(network)] if grad is not None and grad[:-1].any() else []


def _tapped_reasons(network: SequenceModel, x: Tensor, logits: Tensor, seen: list[Seen]) -> list[str]:
    def make(params: NeuronParams) -> Seen:
        seen.append(Seen(params, STBP()))
        return seen[-1]

    graph = InputsOnly()
    leaf = graph.keep(x.detach().clone().requires_grad_())
    try:
        layers = Layers(network, make)
        with seeded(network, x), torch.enable_grad(), graph, tapped(network, layers.make_tap):
            stepped = network.readout(network.body(network.encode(leaf)))
    except UnsupportedModelError as error:
        return list(error.reasons)
    if not isinstance(stepped, Tensor) or stepped.shape != logits.shape:
        return ["it returns something else when its neurons are stepped one by one than when they run by themselves"]
    ran = [neurons for neurons in seen if neurons.steps]
    if not ran:
        return ["none of its neurons that art_snn knows takes part in its forward"]
    from_states = any(sum(neurons.from_state for neurons in calls) > 1 for calls in layers.calls.values())
    if all(neurons.steps == 1 for neurons in ran) and not from_states and not _says_one_step(network, x):
        return [_SINGLE]
    if not any(neurons.reached for neurons in ran):
        return [_CUT]
    if reasons := _graph_reasons(network, stepped, leaf):
        return reasons
    if any(node.name().startswith("Bernoulli") for node in graph_nodes(stepped, leaf)):
        return [_DRAWN]
    if any(neurons.past_graph for neurons in ran):
        return [_PAST_GRAPH]
    if unknown := _unknown_functions(stepped, leaf):
        return [
            f"between its neurons lies {name}, a function with its own gradient: a spiking neuron that no reader "
            "knows; make its class known with art_snn.adapters.register_neuron"
            for name in unknown
        ]
    if _share_off(logits, stepped) >= 0.5:
        off = float((logits - stepped.detach()).abs().max())
        return [
            f"its neurons, stepped one by one by art_snn, give other logits (off by {off:.2g}): it reads or sets "
            "states of its neurons past their outputs, or a version of its library computes something else"
        ]
    return []


def _says_one_step(network: SequenceModel, x: Tensor) -> bool:
    """Say whether a network was adapted for one time-step, or for event frames, of which these inputs have one."""
    forward = StandardForward.in_steps(network)
    return getattr(network, "one_step", False) or (forward is not None and forward.steps(x) == 1)


def _unknown_functions(logits: Tensor, x: Tensor) -> list[str]:
    """Return the names of a user's or a library's `autograd.Function` in the graph from ``x`` to the logits."""
    nodes = (node for node in graph_nodes(logits, x) if isinstance(node, BackwardCFunction))
    functions: list[Any] = [type(node)._forward_cls for node in nodes]  # type: ignore[attr-defined]
    names = (each.__name__ for each in functions if each.__module__.partition(".")[0] != "art_snn")
    return list(dict.fromkeys(names))


def _share_off(expected: Tensor, value: Tensor) -> float:
    """Return the share of rows of logits that differ by more than rounding."""
    scale = expected.detach().abs().amax().clamp(min=1e-6)
    off = (expected.detach() - value.detach()).abs().amax(1) > 10 * tolerance(expected) * scale
    return float(off.float().mean())
