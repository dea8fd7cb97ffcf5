"""An adapted network whose time-steps are known, as a network that the engine can record and replay."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from art_snn.adapters.forwards import StandardForward
from art_snn.adapters.libraries import fresh_states
from art_snn.snn.network import SequenceModel


class BySteps(SequenceModel):
    """A model that a `StandardForward` runs: its inputs in T steps, the model on some of them, the mean of its outputs.

    Rate rules run it where one step may stand for all. It shares the model.
    """

    native = True

    def __init__(self, model: nn.Module, forward: StandardForward) -> None:
        super().__init__()
        self.model = model
        self._forward = forward
        self.train(model.training)

    @classmethod
    def of(cls, model: nn.Module, call: Any) -> BySteps | None:
        """Return the network for a forward; None for one that is no standard one, or reads steps unequally."""
        if not isinstance(call, StandardForward) or call.axes is None:
            return None
        even = call.readout == "mean" or (call.readout == "sum" and call.time_steps is not None)
        return cls(model, call) if even else None

    def encode(self, x: Tensor) -> Tensor:
        """Return inputs (N, ...) as a sequence (T, N, ...)."""
        return self._forward.sequence(x)

    def body(self, x_seq: Tensor) -> Any:
        """Return the outputs (T', N, K) of the model for T' steps, with neurons that begin anew."""
        with fresh_states(self.model):
            return self._forward.outputs(self.model, x_seq)

    def readout(self, out_seq: Tensor) -> Tensor:
        """Return the mean over time, times T where outputs are summed: logits (N, K)."""
        steps = self._forward.time_steps if self._forward.readout == "sum" else None
        return out_seq.mean(0) if steps is None else steps * out_seq.mean(0)
