"""What a rule remembers of a batch over the gradients of an attack."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor


class Memory:
    """One tensor (N, *F) for each key, such as a quantity, a layer and a time-step.

    An attack makes one for its run, gives it to the rule (``rule.remembering(memory)``), and settles it after each
    gradient. What a gradient reads is therefore what the gradients before it left, even if the engine evaluates a slope
    twice, or averages over several encodings, the first of which is the one that is remembered.

    Example:
        >>> memory = Memory()
        >>> memory.write("mean", torch.tensor([5.0, 6.0]))
        >>> memory.settle()
        >>> memory.restart(torch.tensor([0]))
        >>> memory.read("mean", torch.zeros(2), start=1.0)
        tensor([1., 6.])
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Tensor] = {}
        self._new: dict[Hashable, Tensor] = {}  # rows (N,) that have begun since the last value was settled
        self._written: dict[Hashable, Tensor] = {}

    def read(self, key: Hashable, like: Tensor, *, start: float) -> Tensor:
        """Return the value of a key, of the shape of ``like`` (N, *F); ``start`` in rows that have none.

        Raises:
            ValueError: The value has another shape, so it is of another batch.
        """
        value = self._values.get(key)
        if value is None:
            return torch.full_like(like, start)
        if value.shape != like.shape:
            raise ValueError(
                f"the memory of {key!r} has shape {tuple(value.shape)}, but this batch {tuple(like.shape)}; "
                "make a Memory for each run, and select the rows that stay"
            )
        new = self._new[key].reshape(-1, *[1] * (value.ndim - 1))
        return torch.where(new, torch.full_like(value, start), value)

    def write(self, key: Hashable, value: Tensor) -> None:
        """Say which value (N, *F) a key is to have; the first one since the last `settle` counts."""
        self._written.setdefault(key, value.detach())

    def settle(self) -> None:
        """Let what was written be read from now on."""
        self._values |= self._written
        for key, value in self._written.items():
            self._new[key] = torch.zeros(len(value), dtype=torch.bool, device=value.device)
        self._written = {}

    def restart(self, rows: Tensor) -> None:
        """Forget what is known of these rows, indices (R,): other samples begin there."""
        for new in self._new.values():
            new[rows.to(new.device)] = True
