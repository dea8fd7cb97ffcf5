"""Spiking networks: encoder, body, readout.

Layers without state (convolution, batch norm, pooling, ...) are torch's own and see one flat batch (T*N, ...); only
spiking layers and the containers here see sequences (T, N, ...).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from art_snn.errors import ArtSnnError
from art_snn.snn.encoders import with_own_memory
from art_snn.snn.norms import with_laid_out_gradient
from art_snn.snn.readers import is_spiking, neuron_params


def over_time(layer: nn.Module, x_seq: Tensor) -> Tensor:
    """Apply a stateless layer, a module on (B, ...), to every step of a sequence (T, N, ...).

    A sequence that repeats one step (stride 0 over time, as direct encoding gives) is put through once per call, and
    all of its gradient goes to the first step: the encoder, which repeated it, adds up the steps.
    """
    time_steps, batch = x_seq.shape[:2]
    if time_steps > 1 and x_seq.stride(0) == 0 and not _differs_between_steps(layer):
        with _flat(1):
            out = with_laid_out_gradient(layer(x_seq[0]))
        return out.expand(time_steps, *out.shape)
    # Copies of a repeated step lie in memory as the step does; flatten would lay them out anew.
    rows = torch.cat([x_seq[0]] * time_steps) if x_seq.stride(0) == 0 else x_seq.flatten(0, 1)
    with _flat(time_steps):
        out = with_laid_out_gradient(layer(rows))
    return out.unflatten(0, (time_steps, batch))


_HERE = threading.local()


@contextmanager
def _flat(steps: int) -> Iterator[None]:
    """Remember, for hooks on layers inside, that batches are flat (steps * N, ...)."""
    outer = flat_steps()
    _HERE.steps = steps
    try:
        yield
    finally:
        _HERE.steps = outer


def flat_steps() -> int | None:
    """Return T' where the layer that runs now sees a flat batch (T' * N, ...), None where it sees (T, N, ...)."""
    return getattr(_HERE, "steps", None)


def _differs_between_steps(layer: nn.Module) -> bool:
    """Say whether a layer in training treats equal steps differently, or counts them."""
    return any(
        module.training and isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd))
        for module in layer.modules()
    )


class SpikingSequential(nn.Sequential):
    """Run children one after the other on a sequence (T, N, ...): spiking ones as they are, others by `over_time`."""

    def forward(self, x_seq: Tensor) -> Tensor:
        """Return the last child's output, (T, N, ...)."""
        for child in self:
            x_seq = child(x_seq) if is_sequence_module(child) else over_time(child, x_seq)
        return x_seq


class Residual(nn.Module):
    """Add a branch and a shortcut, step by step: ``branch(x) + shortcut(x)``. The neuron comes after it.

    Args:
        branch: Layers of the residual branch; an `nn.Sequential` may hold spiking layers.
        shortcut: Layers of the shortcut; None is the identity.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = as_sequence(branch)
        self.shortcut = None if shortcut is None else as_sequence(shortcut)

    def forward(self, x_seq: Tensor) -> Tensor:
        """Return the sum, (T, N, ...)."""
        return self.branch(x_seq) + (x_seq if self.shortcut is None else self.shortcut(x_seq))


def as_sequence(module: nn.Module) -> nn.Module:
    """Make a module on sequences (T, N, ...) of ordinary layers, which are shared: plain `nn.Sequential` are rebuilt.

    Other modules are taken to handle sequences if they hold a spiking layer, and to be stateless if not.

    Raises:
        ValueError: An nn.Sequential that is rebuilt has hooks.
    """
    if type(module) is nn.Sequential:
        hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
        if any(hooks):
            raise ValueError(
                "an nn.Sequential is rebuilt, and its hooks would be lost; register them on a layer inside, or on the "
                "network's body once it is made"
            )
        return SpikingSequential(
            OrderedDict(
                (name, as_sequence(child) if type(child) is nn.Sequential and _holds_sequence(child) else child)
                for name, child in module._modules.items()  # named_children() leaves out a module's second use
                if child is not None
            )
        )
    return module if is_sequence_module(module) else SpikingSequential(module)


def _holds_sequence(module: nn.Module) -> bool:
    return any(is_sequence_module(child) for child in module.modules())


def is_sequence_module(module: nn.Module) -> bool:
    """Say whether a module takes a sequence (T, N, ...) rather than one flat batch (T*N, ...)."""
    return isinstance(module, (SpikingSequential, Residual)) or is_spiking(module)


def one_step_hint(error: Exception) -> str:
    """Return a sentence, with a space before it, if an error comes from a module written for one step; else ""."""
    hint = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        module = trace.tb_frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if code.co_name == "forward" and isinstance(module, nn.Module) and _is_of_own_make(module):
            hint = sequence_hint(module)
        elif code is over_time.__code__:  # what follows is about the layer
            hint = ""
        trace = trace.tb_next
    return hint


def sequence_hint(body: object) -> str:
    """Return what a module gets that holds neurons and is not of this package; "" if there is none in ``body``."""
    modules = body.modules() if isinstance(body, nn.Module) else ()
    name = next((type(module).__name__ for module in modules if _is_of_own_make(module)), None)
    if name is None:
        return ""
    return (
        f" {name} holds spiking layers, so the whole sequence (T, N, ...) comes in, not one step: use "
        "art_snn.snn.network.over_time(layer, x_seq) for its other layers, or make it a plain nn.Sequential; see the "
        "page 'Attack your own model' (docs/how_to/own_model.md)"
    )


def _is_of_own_make(module: nn.Module) -> bool:
    ours = (SpikingSequential, Residual, SequenceModel)
    return not isinstance(module, ours) and neuron_params(module) is None and is_spiking(module)


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, one number per channel.

    Args:
        mean: Mean of each channel, C numbers.
        std: Standard deviation of each channel, C numbers > 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or len(mean) == 0:
            raise ValueError(f"mean and std must be of one length >= 1, got {len(mean)} and {len(std)} numbers")
        if not all(value > 0 for value in std):
            raise ValueError(f"std must be > 0 in every channel, got {tuple(std)}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.get_default_dtype()).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.get_default_dtype()).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images, shape (B, C, H, W) as ``x``."""
        return (x - self.mean) / self.std


class SequenceModel(nn.Module):
    """What the engine asks of a network. A module of your own with these three parts need not derive from it.

    Attributes:
        body: Module or method from a sequence (T, N, ...) to outputs (T, N, K).
        native: Whether its neurons are another library's, which predict themselves.
    """

    body: Callable[[Tensor], Tensor]
    native: ClassVar[bool] = False

    def encode(self, x: Tensor) -> Tensor:
        """Turn inputs (N, ...) into a sequence (T, N, ...), differentiably."""
        raise NotImplementedError

    def readout(self, out_seq: Tensor) -> Tensor:
        """Turn outputs (T, N, K) into logits (N, K)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) for inputs ``x`` (N, ...); differentiable with each neuron's own surrogate.

        Raises:
            ValueError: A module with spiking layers inside fails, and seems to be written for one step.
        """
        try:
            return self.readout(self.body(self.encode(x)))
        except ArtSnnError:
            raise
        except Exception as error:
            if not self.native and (hint := one_step_hint(error)):
                raise ValueError(f"{type(error).__name__}: {error}.{hint}") from error
            raise


def is_native(network: nn.Module) -> bool:
    """Say whether a network predicts with its own neurons; one that has a SequenceModel's parts need not derive."""
    return getattr(network, "native", False)


class SpikingNetwork(SequenceModel):
    """A spiking network: encoder, then body, then the mean over time as logits.

    Args:
        encoder: Module from inputs (N, ...) to sequences (T, N, ...); see `art_snn.snn.encoders`.
        body: Layers from sequences (T, N, ...) to outputs (T, N, K). A plain `nn.Sequential` of torch layers and
            neurons will do. End with a layer that does not spike, so that the outputs are logits and not rates.

    Raises:
        TypeError: encoder or body is no module.

    Example:
        >>> from art_snn import DirectEncoder, LIF
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), LIF(decay=0.9), nn.Linear(32, 10))
        >>> SpikingNetwork(DirectEncoder(time_steps=8), body)(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    body: nn.Module

    def __init__(self, encoder: nn.Module, body: nn.Module) -> None:
        super().__init__()
        for name, module in (("encoder", encoder), ("body", body)):
            if not isinstance(module, nn.Module):
                raise TypeError(f"{name} must be a torch.nn.Module, got {type(module).__name__}")
        self.encoder = encoder
        self.body = as_sequence(body)

    def encode(self, x: Tensor) -> Tensor:
        """Turn inputs (N, ...) into a sequence (T, N, ...)."""
        return self.encoder(with_own_memory(x))

    def readout(self, out_seq: Tensor) -> Tensor:
        """Average outputs (T, N, K) over time: logits (N, K)."""
        return out_seq.mean(0)
