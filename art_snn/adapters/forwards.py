"""How a network that takes time-steps is run on inputs without an own forward: read off its neurons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from art_snn.adapters import norse
from art_snn.checks import check_count
from art_snn.errors import UnsupportedModelError
from art_snn.snn.layouts import Axes
from art_snn.snn.readers import read

ReadoutName: TypeAlias = Literal["mean", "sum", "last", "max"]
Readout: TypeAlias = ReadoutName | Callable[[Tensor], Tensor]

_READOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda out_seq: out_seq.mean(0),
    "sum": lambda out_seq: out_seq.sum(0),
    "last": lambda out_seq: out_seq[-1],
    "max": lambda out_seq: out_seq.amax(0),
}


def checked_options(forward: object, time_steps: int | None, frames: bool, readout: Any, output: int | None) -> None:
    """Raise TypeError or ValueError unless these options of `adapt` go together."""
    if time_steps is not None:
        check_count("time_steps", time_steps)
        if frames:
            raise ValueError("event frames have time-steps of their own; give time_steps or frames=True, not both")
    if not (callable(readout) or readout in get_args(ReadoutName)):
        raise ValueError(f"readout must be 'mean', 'sum', 'last', 'max' or a function, got {readout!r}")
    if output is not None and (not isinstance(output, int) or isinstance(output, bool)):
        raise TypeError(f"output must be the index of an output, a whole number, got {output!r}")
    if forward is not None and (time_steps not in (None, 1) or readout != "mean" or output is not None):
        raise ValueError(
            "a forward of your own does all that time_steps, readout and output would; leave them out, but for "
            "time_steps=1 where one step is meant"
        )


@dataclass(frozen=True)
class StandardForward:
    """Run a model on inputs (N, ...), and read its outputs.

    Attributes:
        axes: How the model takes time: as its neurons do; None calls it once, and leaves time to it.
        time_steps: T; None where inputs are event frames.
        readout: What makes logits (N, K) of outputs (T, N, K).
        output: Which of several outputs is meant; None where there may be one alone.
        has_state: Whether the model takes and returns its state, after the outputs, in each step.
    """

    axes: Axes | None
    time_steps: int | None
    readout: Readout
    output: int | None
    has_state: bool = False

    @classmethod
    def of(
        cls, model: nn.Module, *, time_steps: int | None, frames: bool, readout: Readout, output: int | None
    ) -> StandardForward:
        """Read off a model's neurons how it takes time, and which of its outputs come before states.

        Raises:
            UnsupportedModelError: Some of its neurons take time in another way than others.
        """
        has_state = norse.takes_state(model)
        if time_steps is None and not frames:
            return cls(None, None, readout, 0 if output is None and has_state else output)
        found: dict[Axes, str] = {}
        libraries: set[str | None] = set()
        lifted: list[str] = []  # beginnings of the names of layers that norse runs step by step over a sequence
        for name, module in model.named_modules():
            if norse.lifts(module):
                lifted.append(f"{name}.".lstrip("."))
            if (reading := read(module)) is not None:
                axes: Axes = "T N" if name.startswith(tuple(lifted)) else reading.layout.axes
                found.setdefault(axes, name or type(module).__name__)
                libraries.add(reading.library)
        if len(found) > 1:
            kinds = ", ".join(f"{name} takes {_WORDS[axes]}" for axes, name in found.items())
            raise UnsupportedModelError([f"its neurons take time in different ways ({kinds}); {_OWN_FORWARD}"])
        if output is None and (has_state or libraries & _STATES_AFTER):
            output = 0
        return cls(next(iter(found)), time_steps, readout, output, has_state=has_state)

    def __call__(self, model: nn.Module, x: Tensor) -> Any:
        """Return logits (N, K) for inputs ``x``, (N, ...) or event frames (N, T, ...)."""
        if self.axes is None:
            return self._logits(model(x))
        out_seq = self.outputs(model, self.sequence(x))
        if not isinstance(out_seq, Tensor):
            return out_seq
        readout = self.readout if callable(self.readout) else _READOUTS[self.readout]
        return readout(out_seq)

    def sequence(self, x: Tensor) -> Tensor:
        """Return inputs (N, ...) or event frames (N, T, ...) as a sequence (T, N, ...)."""
        return x.transpose(0, 1) if self.time_steps is None else x.expand(self.time_steps, *x.shape)

    def steps(self, x: Tensor) -> int:
        """Return T for inputs (N, ...) or event frames (N, T, ...)."""
        return x.shape[1] if self.time_steps is None else self.time_steps

    def outputs(self, model: nn.Module, x_seq: Tensor) -> Any:
        """Return the model's outputs (T, N, K) for a sequence (T, N, ...); what is no tensor is returned as it is."""
        steps, samples = x_seq.shape[:2]
        if self.axes == "N":
            return _stacked(self._step_by_step(model, x_seq))
        if self.axes == "T N":
            return self._picked(model(x_seq))
        if self.axes == "N T":
            out = self._picked(model(x_seq.transpose(0, 1)))
            return out.transpose(0, 1) if isinstance(out, Tensor) else out
        if self.axes == "T*N":
            out = self._picked(model(x_seq.flatten(0, 1)))
            return out.unflatten(0, (steps, samples)) if isinstance(out, Tensor) else out
        out = self._picked(model(x_seq.transpose(0, 1).flatten(0, 1)))
        return out.unflatten(0, (samples, steps)).transpose(0, 1) if isinstance(out, Tensor) else out

    def _step_by_step(self, model: nn.Module, x_seq: Tensor) -> list[Any]:
        outputs, state = [], None
        for x in x_seq:
            returned = model(x) if state is None else model(x, state)
            if self.has_state and isinstance(returned, tuple) and len(returned) > 1:
                state = returned[1]
            outputs.append(self._picked(returned))
        return outputs

    def _logits(self, returned: Any) -> Any:
        """Return the output that is meant; all of them where it is no logits (N, K), so that they can be told."""
        picked = self._picked(returned)
        return picked if isinstance(picked, Tensor) and picked.ndim == 2 else returned

    def _picked(self, returned: Any) -> Any:
        """Return the output that is meant, and several as they are where nothing says which."""
        if not isinstance(returned, (tuple, list)):
            return returned
        index = 0 if self.output is None and len(returned) == 1 else self.output
        return returned[index] if index is not None and -len(returned) <= index < len(returned) else returned

    @staticmethod
    def in_steps(network: nn.Module) -> StandardForward | None:
        """Return the forward that shows a network its inputs in time-steps; None where `adapt` made no such one."""
        forward = getattr(network, "call", None)
        return forward if isinstance(forward, StandardForward) and forward.axes is not None else None

    @property
    def shows(self) -> str:
        """How the model is shown its inputs, such as "single steps (N, ...)"; "model(x)" where it is called once."""
        return "model(x)" if self.axes is None else _WORDS[self.axes]

    def __repr__(self) -> str:
        if self.axes is None:
            return self.shows
        time = "event frames" if self.time_steps is None else f"T={self.time_steps}"
        readout = self.readout if isinstance(self.readout, str) else "your own"
        output = "" if self.output is None else f"output {self.output}, "
        return f"{self.shows}, {time}, {output}readout {readout}"


def _stacked(outputs: list[Any]) -> Any:
    return torch.stack(outputs) if all(isinstance(out, Tensor) for out in outputs) else outputs[0]


_WORDS = {
    "T N": "sequences (T, N, ...)",
    "N": "single steps (N, ...)",
    "N T": "sequences (N, T, ...)",
    "T*N": "merged sequences (T*N, ...)",
    "N*T": "merged sequences (N*T, ...)",
}
# Libraries in whose steps a model returns its outputs first, and states after them, as each of their neurons does.
_STATES_AFTER = {"snnTorch", "norse"}
_OWN_FORWARD = "say how it is run: adapt(model, forward), with the lines that compute its logits"
