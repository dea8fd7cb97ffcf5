"""Integrate-and-fire neurons: thin modules that run the step functions of `art_snn.snn.dynamics` over a sequence.

The modules keep no state and do not know T: they read it off the sequence, and a forward pass leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from art_snn.checks import check_choice, check_decay, check_positive
from art_snn.snn.bptt import fire_through_time
from art_snn.snn.dynamics import RESETS, NeuronParams, Reset
from art_snn.snn.surrogates import Triangle, refuse_surrogate


class LIF(nn.Module):
    r"""Leaky integrate-and-fire neurons, in training differentiated with a surrogate slope (BPTT).

    .. math::
        m(t) = \lambda v(t-1) + I(t), \quad s(t) = [m(t) \ge \theta], \quad
        v(t) = m(t) (1 - s(t)) \text{ (hard)} \;\text{ or }\; m(t) - \theta s(t) \text{ (soft)}

    Args:
        decay: Membrane retention lambda, in (0, 1]; 1 is IF.
        threshold: Firing threshold theta, > 0.
        reset: "hard" (to 0) or "soft" (by the threshold).
        surrogate: Slope for training: membrane distance ``m - theta`` to slope, same shape, in the unit of potentials,
            whatever the threshold is. An attack's gradient rule brings its own.
        detach_reset: In training, keep the gradient from flowing through the reset.

    Example:
        >>> import torch
        >>> LIF(decay=0.5)(torch.full((4, 1, 1), 0.75)).flatten()
        tensor([0., 1., 0., 1.])
    """

    def __init__(
        self,
        *,
        decay: float = 0.5,
        threshold: float = 1.0,
        reset: Reset = "hard",
        surrogate: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
    ) -> None:
        super().__init__()
        check_decay(decay)
        check_positive("threshold", threshold)
        check_choice("reset", reset, RESETS)
        self.params = NeuronParams(decay=float(decay), threshold=float(threshold), reset=reset)
        self.surrogate = Triangle() if surrogate is None else surrogate
        self.detach_reset = detach_reset

    def forward(self, current_seq: Tensor) -> Tensor:
        """Return the spikes (T, N, *F) that the currents (T, N, *F) give.

        Raises:
            ValueError: The currents are no sequence.
            UnsupportedModelError: A gradient rule is in force, and does not reach this layer.
        """
        name = type(self).__name__
        refuse_surrogate(
            f"one of its {name} layers",
            "keep it as an attribute of a module or in an nn.ModuleList, not in a plain list, and call it as a module, "
            f"not by {name}.forward(layer, x)",
        )
        if current_seq.ndim < 2 or current_seq.shape[0] == 0:
            raise ValueError(f"a neuron takes a sequence (T, N, ...) with T >= 1, got shape {tuple(current_seq.shape)}")
        return fire_through_time(current_seq, self.params, self.surrogate, detach_reset=self.detach_reset)

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        p = self.params
        return f"decay={p.decay}, threshold={p.threshold}, reset={p.reset!r}"


class IF(LIF):
    """Integrate-and-fire neurons without leak: `LIF` with ``decay=1``."""

    def __init__(
        self,
        *,
        threshold: float = 1.0,
        reset: Reset = "hard",
        surrogate: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
    ) -> None:
        super().__init__(decay=1.0, threshold=threshold, reset=reset, surrogate=surrogate, detach_reset=detach_reset)
