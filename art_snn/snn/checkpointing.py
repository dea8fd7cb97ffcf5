"""Activation checkpointing (`torch.utils.checkpoint`) inside a network that is run with taps.

It saves memory by running layers again in the backward pass, when the taps are gone. Where a rule's graph is built, all
is saved at once instead: the non-reentrant form gives the same graph then, and uses the memory of a network without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.utils import checkpoint

from art_snn.errors import UnsupportedModelError

_HOOK = "_checkpoint_hook"  # what torch enters to save less, with a frame as its argument; it adds nothing else
_IN_TRAINING = "checkpoint in training alone (if self.training), and call the layers directly in evaluation mode"
_AGAIN = "runs layers again in the backward pass, where a gradient rule does not reach them"
REENTRANT = f"reentrant activation checkpointing {_AGAIN}; give checkpoint(..., use_reentrant=False), or {_IN_TRAINING}"
_UNKNOWN = (
    f"it sets hooks for saved tensors, as activation checkpointing does, which {_AGAIN}; only "
    f"torch.utils.checkpoint.checkpoint(..., use_reentrant=False) is known to be right; {_IN_TRAINING}"
)


@contextmanager
def checkpoints_saved_at_once() -> Iterator[None]:
    """Let non-reentrant checkpoints of this thread save all inside the block, one thread at a time.

    Raises:
        UnsupportedModelError: While a graph is built, a checkpoint of another kind, or of another torch, sets hooks.
    """
    with ExitStack() as stack:
        if torch.is_grad_enabled():
            stack.enter_context(_without_hook())
            with suppress(RuntimeError):  # hooks of the caller's, such as save_on_cpu, are around all of it
                stack.enter_context(disable_saved_tensors_hooks(_UNKNOWN))
        try:
            yield
        except RuntimeError as error:
            raise (UnsupportedModelError([_UNKNOWN]) if str(error) == _UNKNOWN else error) from error


@contextmanager
def _without_hook() -> Iterator[None]:
    """Take the hook out of torch's checkpoints in this thread; other threads have it still."""
    hook: Callable[..., AbstractContextManager[Any]] | None = getattr(checkpoint, _HOOK, None)
    if hook is None:  # another torch, whose checkpoints are refused
        yield
        return
    thread = threading.get_ident()

    def of_thread(frame: Any) -> AbstractContextManager[Any]:
        return nullcontext() if threading.get_ident() == thread else hook(frame)

    setattr(checkpoint, _HOOK, of_thread)
    try:
        yield
    finally:
        setattr(checkpoint, _HOOK, hook)
