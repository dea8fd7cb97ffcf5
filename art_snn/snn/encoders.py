"""From inputs (N, ...) to sequences (T, N, ...). Nothing else in the package transposes time.

An encoder says with two class attributes what the rest of the package asks of it: ``random``, whether it draws another
sequence in every call, and ``frames``, whether its inputs are event frames (N, T, ...). One without them counts as
random, on inputs without time. One whose inputs have a range keeps a `RangeWatch` in its attribute ``range_watch``,
which rests while a model is tried out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from art_snn.checks import check_count
from art_snn.ranges import RangeWatch


class DirectEncoder(nn.Module):
    """Show the same input in every time-step (direct, or constant-current, encoding).

    The sequence is a view with stride 0 over time: it takes no memory, and a stateless layer that is given several
    steps at once handles one.

    Args:
        time_steps: T, >= 1.

    Example:
        >>> DirectEncoder(time_steps=4)(torch.ones(2, 1, 8, 8)).shape
        torch.Size([4, 2, 1, 8, 8])
    """

    random = False
    frames = False

    def __init__(self, *, time_steps: int) -> None:
        super().__init__()
        self.time_steps = check_count("time_steps", time_steps)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, ...) as (T, N, ...)."""
        return x.expand(self.time_steps, *x.shape)

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        return f"time_steps={self.time_steps}"


class _StraightThroughBernoulli(torch.autograd.Function):
    """Spikes with probability x; the gradient passes where x is a probability, [0, 1]."""

    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, noise: Tensor) -> Tensor:
        ctx.save_for_backward((x_seq >= 0) & (x_seq <= 1))
        return (noise < x_seq).to(x_seq.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None


_OUT_OF_RANGE = (
    "PoissonEncoder got {} [0, 1]: they never fire or always do, and have no gradient, so attacks cannot move them. "
    "Give it intensities in [0, 1]: leave out the normalisation before it (preprocessing, Normalize), or put it "
    "behind, into the network's body"
)


class PoissonEncoder(nn.Module):
    """Fire at every pixel with a probability that equals its intensity, anew in every step and call.

    The gradient is that of the expected spike, the intensity itself (straight-through inside [0, 1], 0 outside). Values
    outside never or always fire, and are warned of once (`InputRangeWarning`).

    Args:
        time_steps: T, >= 1.
        generator: Source of the noise. It lives on its own device, and the same seed gives the same spikes on every
            device. None makes a CPU generator with seed 0; torch's global generator is never used.
    """

    random = True
    frames = False

    def __init__(self, *, time_steps: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.time_steps = check_count("time_steps", time_steps)
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(f"generator must be a torch.Generator or None, got {type(generator).__name__}")
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.range_watch = RangeWatch()

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes (T, N, ...) for intensities ``x`` (N, ...) in [0, 1]."""
        shape = (self.time_steps, *x.shape)
        noise = torch.rand(shape, generator=self.generator, dtype=x.dtype, device=self.generator.device)
        self.range_watch.look(x, 0, 1, _OUT_OF_RANGE)
        x_seq = x.expand(shape)
        return _StraightThroughBernoulli.apply(x_seq, noise.to(x.device))

    def __getstate__(self) -> dict[str, Any]:
        """Replace the generator, which not every torch can copy, by its state."""
        state = self.__dict__.copy()
        generator = state.pop("generator")
        state["_generator"] = (str(generator.device), generator.get_state())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a generator that goes on where the other stood; on the CPU, reseeded, if its device is absent."""
        state = state.copy()
        device, noise_state = state.pop("_generator")
        super().__setstate__(state)
        if device == "cpu" or torch.cuda.is_available():
            self.generator = torch.Generator(device=device)
            self.generator.set_state(noise_state)
        else:
            self.generator = torch.Generator().manual_seed(0)

    def extra_repr(self) -> str:
        """Return what the module's repr shows."""
        return f"time_steps={self.time_steps}"


class EventFrameEncoder(nn.Module):
    """Take event frames (N, T, ...) as the sequence (T, N, ...) that they are; T is read off the input."""

    random = False
    frames = True

    def forward(self, x: Tensor) -> Tensor:
        """Return frames ``x`` (N, T, ...) as (T, N, ...)."""
        if x.ndim < 3:
            raise ValueError(f"event frames must have shape (N, T, ...), got {tuple(x.shape)}")
        if x.shape[1] == 0:
            raise ValueError(f"the time axis of event frames (N, T, ...) has length 0: shape {tuple(x.shape)}")
        return x.transpose(0, 1)


def with_own_memory(x: Tensor) -> Tensor:
    """Return a batch whose entries each have memory of their own; one that was expanded (stride 0) is copied.

    Stride 0 over time then says that the encoder repeats a step, and never that a caller's frames happen to be equal.
    """
    expanded = any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True))
    return x.contiguous() if expanded else x


def is_random(network: nn.Module) -> bool:
    """Say whether a network's encoder may draw another sequence in every call."""
    return bool(_randomness(network))


def is_steady(network: nn.Module) -> bool:
    """Say whether a network is known to give the same in every call; one that nobody looked at yet is not."""
    return _randomness(network) is False


def _randomness(network: nn.Module) -> bool | None:
    """Return what a network's encoder says; True where it says nothing, None where nobody has looked yet."""
    return getattr(getattr(network, "encoder", None), "random", True)


def takes_frames(network: nn.Module) -> bool:
    """Say whether a network takes event frames (N, T, ...)."""
    return getattr(getattr(network, "encoder", None), "frames", False)
