"""Remember record passes, so that rules which differ in their slope alone share one."""

from __future__ import annotations

import hashlib
import os

import torch
from torch import Tensor

from art_snn.engine.recording import Recording, record
from art_snn.rules.base import LayerRecord, RateRule
from art_snn.snn.network import SequenceModel

GIB = 2**30


class RecordMemory:
    """Record passes by their input, with every step's distance from the threshold.

    The network must not change while a memory is in use. Inputs are told apart by a digest of their numbers.

    Args:
        limit: Bytes to remember, >= 0; what comes after that is recorded anew each time. None for a quarter of the
            memory that the device of the first input has.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"limit must be >= 0 bytes, got {limit!r}")
        self.limit = limit
        self.full = False
        self.used = 0
        self.passes = 0
        self._recordings: dict[bytes, Recording] = {}

    def close(self) -> None:
        """Remember nothing more; what is known stays."""
        self.full = True

    def recording(self, network: SequenceModel, x_seq: Tensor, rule: RateRule) -> Recording:
        """Return what `record` returns for a rule; the pass itself is run once an input.

        Args:
            network: The network, in evaluation mode.
            x_seq: Encoded input, shape (T, N, ...).
            rule: The rule.
        """
        key = _digest(x_seq)
        found = self._recordings.get(key)
        if found is None:
            self.passes += 1
            if self.limit is None:
                self.limit = _quarter(x_seq.device)
            if self.full or self.limit == 0:
                return record(network, x_seq, rule.slope if rule.has_slope() else None)
            found = record(network, x_seq, keep_distances=True)
            size = sum(_bytes(call) for calls in found.distances.values() for call in calls)
            if self.used + size <= self.limit:
                self.used += size
                self._recordings[key] = found
            else:
                self.full = True  # the next ones are recorded without distances that nobody would keep
        layers = {
            name: [_with_slope(one, distances, rule) for one, distances in zip(records, calls, strict=True)]
            for (name, records), calls in zip(found.layers.items(), found.distances.values(), strict=True)
        }
        return Recording(found.logits, layers, {})


@torch.no_grad()
def _with_slope(layer: LayerRecord, distances: Tensor, rule: RateRule) -> LayerRecord:
    """Return a layer's record with the mean of a rule's slope, summed as a record pass does."""
    if not rule.has_slope():
        return layer
    total: Tensor | None = None
    for distance in distances:
        slope = rule.slope(distance.clone())  # the rule may overwrite it
        if slope is not None:
            total = slope if total is None else total.add_(slope)
    return layer._replace(mean_slope=None if total is None else total / len(distances))


def _digest(x_seq: Tensor) -> bytes:
    steps = x_seq[:1] if x_seq.stride(0) == 0 else x_seq
    numbers = steps.detach().cpu().contiguous().numpy()
    return hashlib.blake2b(numbers.tobytes() + repr((tuple(x_seq.shape), x_seq.dtype)).encode()).digest()


def _quarter(device: torch.device) -> int:
    """Return a quarter of a device's free memory, or of the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 4
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):  # no such call on this system
        return GIB


def _bytes(tensor: Tensor) -> int:
    return tensor.element_size() * tensor.numel()
