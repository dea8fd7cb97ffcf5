"""A user's own network as a network that the engine runs: its forward as it is, time and all."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from art_snn.adapters.by_steps import BySteps
from art_snn.adapters.forwards import Readout, StandardForward, checked_options
from art_snn.adapters.libraries import fresh_states, state_keys, unreadable
from art_snn.errors import UnsupportedModelError
from art_snn.snn.network import SequenceModel
from art_snn.snn.readers import is_spiking, read
from art_snn.snn.strangers import INLINE, PORTING, wrapper

Forward = Callable[[Any, Tensor], Any]


class _Whole(nn.Module):
    """Hand inputs (N, ...) on as a sequence of one step (1, N, ...): the network itself has the time."""

    def __init__(self, *, frames: bool) -> None:
        super().__init__()
        self.frames = frames
        self.random: bool | None = None  # until the network was looked at

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(0)


class AdaptedNetwork(SequenceModel):
    """A network of another library, or of a user's own code, that `adapt` made known.

    It runs as its author wrote it. Predictions are the model's own, for which the states of its neurons are reset
    before and after. For a gradient, the same forward runs with the rule's neurons in the place of the model's, whose
    states it leaves alone.

    Attributes:
        model: The user's model, not a copy.
        call: Function from the model and inputs (N, ...) to logits (N, K).
        one_step: Whether a forward of one's own is meant to take a single time-step.
    """

    native = True

    def __init__(self, model: nn.Module, call: Forward, *, frames: bool = False, one_step: bool = False) -> None:
        super().__init__()
        self.encoder = _Whole(frames=frames)
        self.one_step = one_step
        self.model = model
        self.call = call
        self.train(model.training)
        self._steps: tuple[BySteps | None] | None = None  # no submodule, since it has the same model
        self.register_state_dict_post_hook(_without_states)
        self.register_load_state_dict_pre_hook(_with_states)

    @property
    def by_steps(self) -> BySteps | None:
        """The same network with time-steps that the engine sees; None where no standard forward says what they are."""
        if self._steps is None or (self._steps[0] is not None and self._steps[0].model is not self.model):
            self._steps = (BySteps.of(self.model, self.call),)
        return self._steps[0]

    def encode(self, x: Tensor) -> Tensor:
        """Return inputs (N, ...) as (1, N, ...)."""
        return self.encoder(x)

    def body(self, x_seq: Tensor) -> Any:
        """Return logits (1, N, K) for inputs (1, N, ...); what is no tensor is returned as it is."""
        with fresh_states(self.model):
            logits = self.call(self.model, x_seq[0])
        return logits.unsqueeze(0) if isinstance(logits, Tensor) else logits

    def readout(self, out_seq: Any) -> Any:
        """Return logits (1, N, K) as (N, K)."""
        return out_seq[0] if isinstance(out_seq, Tensor) else out_seq

    def mean_input(self, x_seq: Tensor) -> Tensor:
        """Return event frames (1, N, T, ...) with their mean over time in every step, and other inputs as they are."""
        return x_seq.mean(2, keepdim=True).expand_as(x_seq) if self.encoder.frames else x_seq

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return what pickle takes; TypeError where the forward, or an object of a library, cannot be pickled."""
        _refuse_unpicklable("forward", self.call)
        _refuse_unpicklable("model", self.model)
        return super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedNetwork:
        """Return a copy, also of what cannot be pickled."""
        other = object.__new__(type(self))
        memo[id(self)] = other
        other.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        return other

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        return f"forward={self.call!r}" if isinstance(self.call, StandardForward) else "forward=your own"


def _refuse_unpicklable(what: str, value: object) -> None:
    try:
        pickle.dumps(value)
    except Exception as error:
        raise TypeError(
            f"the {what} of an adapted network cannot be pickled ({error}): what it refers to has to be defined with a "
            "name in a module (def, class), not inside a function or as a lambda; save its weights instead"
        ) from error


def _without_states(network: AdaptedNetwork, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Leave out of a state_dict what neurons keep in buffers from batch to batch, and which no weight is."""
    for key in state_keys(network.model):
        weights.pop(f"{prefix}model.{key}", None)


def _with_states(network: AdaptedNetwork, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let a state_dict, with or without neurons' states, hold those that are there."""
    kept = network.model.state_dict()
    weights.update((f"{prefix}model.{key}", kept[key]) for key in state_keys(network.model))


def adapt(
    model: nn.Module,
    forward: Forward | None = None,
    *,
    time_steps: int | None = None,
    frames: bool = False,
    readout: Readout = "mean",
    output: int | None = None,
) -> AdaptedNetwork:
    """Make a network of SpikingJelly, snnTorch, norse or sinabs, or of your own code, one that rules differentiate.

    The model is not changed and not copied: `PyTorchSNNClassifier.fit` trains its weights, with its own surrogates.

    Without further arguments, ``model(x)`` has to give logits (N, K) for inputs (N, ...). With ``time_steps``, each
    input is shown in T steps, in the way that the model's neurons are written for: as a sequence (T, N, ...) or
    (N, T, ...), as a merged batch (T*N, ...) or (N*T, ...), or step by step. With ``frames``, event frames
    (N, T, ...) are.

    Args:
        model: The network.
        forward: Function from the model and inputs (N, ...) to logits (N, K): the lines with which you compute its
            accuracy. It has to be differentiable but for the neurons, and stands in the place of all that follows.
        time_steps: T, >= 1, for inputs without time. Beside a forward, 1 says that one step is meant.
        frames: Whether inputs are event frames (N, T, ...).
        readout: What makes logits (N, K) of the outputs of T steps: "mean", "sum", "last" or "max", or a function of
            outputs (T, N, K).
        output: Which of its outputs is meant, where the model returns several. None is the first of those of each step
            with neurons of snnTorch or norse, which return states after it; several are refused elsewhere.

    Raises:
        UnsupportedModelError: With every reason why the engine cannot run its neurons.
        TypeError, ValueError: An argument is none of these.

    Example:
        >>> import torch
        >>> from art_snn import LIF
        >>> net = nn.Sequential(nn.Flatten(2), nn.Linear(4, 8), LIF(decay=0.9), nn.Linear(8, 3))  # takes (T, N, ...)
        >>> adapt(net, time_steps=4)(torch.rand(2, 1, 2, 2)).shape
        torch.Size([2, 3])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if isinstance(model, SequenceModel):
        raise TypeError(f"a {type(model).__name__} needs no adapt; give it to the classifier as it is")
    if forward is not None and not callable(forward):
        raise TypeError(f"forward must be a function of a model and inputs, got {forward!r}")
    if phrase := wrapper(model):
        raise UnsupportedModelError([f"it {phrase}"])
    if reasons := unreadable(model):
        raise UnsupportedModelError(reasons)
    if not is_spiking(model):
        raise UnsupportedModelError([f"it has no spiking layer that art_snn knows; {PORTING}; {INLINE}"])
    checked_options(forward, time_steps, frames, readout, output)
    one_step = time_steps == 1
    if forward is None:
        forward = StandardForward.of(model, time_steps=time_steps, frames=frames, readout=readout, output=output)
    return AdaptedNetwork(model, forward, frames=frames, one_step=one_step)


def is_readable(module: nn.Module) -> bool:
    """Say whether a module holds neurons of another library that `adapt` takes."""
    try:
        readings = [read(each) for each in module.modules()]
    except UnsupportedModelError:
        return True  # and refuses, with all reasons
    return any(reading is not None for reading in readings)
