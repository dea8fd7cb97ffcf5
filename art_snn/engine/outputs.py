"""What a network that is run whole returns, or where it fails, with the line to write that says how it is called."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from art_snn.adapters.forwards import StandardForward
from art_snn.engine.probing import NOT_FINITE, PROBABILITIES, sum_to_one
from art_snn.snn.encoders import takes_frames
from art_snn.snn.network import SequenceModel


def failure_reason(network: SequenceModel, x: Tensor, error: Exception, libraries: set[str | None]) -> str:
    """Say with which error a network of neurons of these libraries fails on inputs (N, ...), and what may help."""
    forward = StandardForward.in_steps(network)
    if "tuple" in str(error) and "snnTorch" in libraries:
        cure = "in an nn.Sequential, snnTorch's neurons need init_hidden=True, so that they return spikes alone"
    elif forward is not None:
        cure = _in_steps(forward)
    else:
        cure = f"if it is called in another way, say how: {_line(network, 'model(x.flatten(1))')}"
    return f"it fails on inputs of shape {tuple(x.shape)}: {type(error).__name__}: {error}; {cure}"


def output_reasons(network: SequenceModel, logits: Any, samples: int, nb_classes: int | None) -> list[str]:
    """Say what is wrong with what a network returns, which should be logits (N, nb_classes), and the line to write."""
    if isinstance(logits, (tuple, list)):
        return [_several(network, logits)]
    if not isinstance(logits, Tensor):
        return [f"it returns a {type(logits).__name__}, not logits (N, K); {_read(network, '...')}"]
    if logits.ndim != 2 or logits.shape[0] != samples or nb_classes not in (None, logits.shape[1]):
        return [_other_shape(network, logits, samples, nb_classes)]
    if not torch.isfinite(logits).all():
        return [NOT_FINITE]
    # Firing rates may sum to 1, too, but those of some neurons are 0.
    return [PROBABILITIES] if (logits > 0).all() and sum_to_one(logits) else []


def _several(network: SequenceModel, outputs: tuple[Any, ...] | list[Any]) -> str:
    shapes = [tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__ for value in outputs]
    if (forward := StandardForward.in_steps(network)) is not None:
        wrong = "" if forward.output is None else f", and output={forward.output} is none of them"
        said = f"shown {forward.shows}, it returns {len(outputs)} outputs, {shapes}{wrong}"
        return f"{said}; say which is meant: art_snn.adapt(..., output=0)"
    first = next((value for value in outputs if isinstance(value, Tensor)), None)
    code = "model(x)[0]" if first is None or first.ndim == 2 else "model(x)[0].sum(0)"
    return f"it returns {len(outputs)} outputs, {shapes}; {_read(network, code)}"


def _other_shape(network: SequenceModel, logits: Tensor, samples: int, nb_classes: int | None) -> str:
    shape, forward = tuple(logits.shape), StandardForward.in_steps(network)
    reason = f"it gives outputs of shape {shape} for {samples} inputs, expected logits (N, {nb_classes or 'K'})"
    if logits.ndim == 2 and shape[0] == samples and nb_classes and shape[1] % nb_classes == 0:
        several = shape[1] // nb_classes
        group = f"unflatten(1, ({nb_classes}, {several})).sum(2)"
        how = f"readout=lambda out_seq: out_seq.mean(0).{group}" if forward else _read(network, f"model(x).{group}")
        return f"{reason}; {shape[1]} outputs are {several} a class: {how}"
    if forward is not None:
        return f"{reason}; {_in_steps(forward)}"
    time = "" if takes_frames(network) else "give time_steps=T or frames=True if it takes time-steps, or "
    axis = int(shape[0] == samples)
    code = f"model(x).mean({axis})" if logits.ndim == 3 and samples in shape[:2] else "..."
    return f"{reason}; {time}{_read(network, code)}"


def _read(network: SequenceModel, code: str) -> str:
    return f"say how you read them: {_line(network, code)}"


def _line(network: SequenceModel, code: str) -> str:
    frames = ", frames=True" if takes_frames(network) else ""
    return f"art_snn.adapt(model, lambda model, x: {code}{frames})"


def _in_steps(forward: StandardForward) -> str:
    """Say how a network was given its inputs, and what to write where it takes all time-steps at once."""
    if forward.time_steps is not None:
        return f"it was shown {forward.shows}; if it takes inputs (N, ...) itself, leave time_steps out"
    line = "art_snn.adapt(model, lambda model, x: model(x), frames=True)"
    return f"it was shown {forward.shows}; if it takes event frames (N, T, ...) itself: {line}"
