"""Packets of events that change their frame, without one that gets lost.

A packet is what a pixel and polarity holds in one frame: an event, or several. Shapes: B samples, T frames, P pixels
and polarities, E packets, K = 2D + 1 shifts from -D to D.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Budget(NamedTuple):
    """How much may be moved.

    Attributes:
        shift: Most frames that an event may move, D >= 1 (L-infinity).
        delay: Most frames that all events may move together (L1); None for any number.
        moved: Most events that may move (L0); None for any number.
    """

    shift: int
    delay: int | None = None
    moved: int | None = None


class Packets(NamedTuple):
    """The packets of B samples, those of a sample in the order of frames, then of pixels; filled up with empty ones.

    Attributes:
        frame: The frame of each packet (B, E), int64.
        pixel: Its pixel and polarity (B, E), int64.
        events: Its events (B, E), float64; 0 in those that fill up.
        shape: T and P.
    """

    frame: Tensor
    pixel: Tensor
    events: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, frames: Tensor) -> Packets:
        """Return the packets of frames (B, T, P) with whole counts."""
        sample, frame, pixel = frames.nonzero(as_tuple=True)
        per_sample = sample.bincount(minlength=len(frames))
        place = torch.arange(len(sample), device=frames.device) - (per_sample.cumsum(0) - per_sample)[sample]
        size = (len(frames), int(per_sample.max().clamp(min=1)))

        def in_rows(values: Tensor) -> Tensor:
            filled = torch.zeros(size, dtype=values.dtype, device=values.device)
            filled[sample, place] = values
            return filled

        events = frames[sample, frame, pixel].double()
        return cls(in_rows(frame), in_rows(pixel), in_rows(events), (frames.shape[1], frames.shape[2]))

    def targets(self, shift: int) -> Tensor:
        """Return where each shift from -D to D = ``shift`` ends (B, E, K), as places in flat frames (T + 2D, P)."""
        steps = torch.arange(2 * shift + 1, device=self.frame.device)
        return (self.frame.unsqueeze(-1) + steps) * self.shape[1] + self.pixel.unsqueeze(-1)

    def is_inside(self, shift: int) -> Tensor:
        """Return whether each shift ends in one of the T frames (B, E, K)."""
        steps = torch.arange(-shift, shift + 1, device=self.frame.device)
        goals = self.frame.unsqueeze(-1) + steps
        return (goals >= 0) & (goals < self.shape[0])


def at_targets(packets: Packets, values: Tensor, shift: int) -> Tensor:
    """Return the values (B, T, P) where each shift of a packet ends (B, E, K); 0 outside of the frames."""
    padded = functional.pad(values, (0, 0, shift, shift)).flatten(1)
    return padded.gather(1, packets.targets(shift).flatten(1)).view(*packets.frame.shape, -1)


def occupancy(packets: Packets, share: Tensor, shift: int) -> Tensor:
    """Return how many packets come to each place (B, T, P), of the share (B, E, K) of each that makes a shift."""
    time_steps, pixels = packets.shape
    padded = share.new_zeros(len(share), (time_steps + 2 * shift) * pixels)
    padded.scatter_add_(1, packets.targets(shift).flatten(1), share.flatten(1))
    return padded.view(len(share), -1, pixels)[:, shift : shift + time_steps]


def move(packets: Packets, wanted: Tensor, worth: Tensor, budget: Budget) -> Tensor:
    """Return frames (B, T, P), float64, whose packets moved, each to a place of its own.

    Where several packets want one place, the one that is worth most gets it, and the others stay. A packet that stays
    keeps its place. Within the budget are those packets that are worth most.

    Args:
        packets: The packets as they are.
        wanted: Number of frames by which each is to move, -D to D (B, E), int64, to a frame that exists.
        worth: What a packet's move is worth (B, E). Of equal ones the first in the order of packets is worth more.
        budget: How much may be moved.
    """
    moving = (wanted != 0) & (packets.events > 0)
    if budget.moved is not None:
        moving &= packets.events <= budget.moved
    if budget.delay is not None:
        moving &= packets.events * wanted.abs() <= budget.delay
    rank = _ranks(worth, moving)
    while True:
        before = moving
        moving = _unrivalled(packets, moving, wanted, rank)
        if torch.equal(moving, before):
            moving = _affordable(packets, moving, wanted, rank, budget)
            if torch.equal(moving, before):
                break
    return _placed(packets, torch.where(moving, wanted, 0), packets.events, "sum").double()


def _placed(packets: Packets, made: Tensor, values: Tensor, reduce: str) -> Tensor:
    """Return what packets that make these moves (B, E) bring to each place (B, T, P), their sum or the largest."""
    time_steps, pixels = packets.shape
    places = (packets.frame + made) * pixels + packets.pixel
    frames = values.new_zeros(len(values), time_steps * pixels)
    return frames.scatter_reduce_(1, places, values, reduce).view(-1, time_steps, pixels)


def _ranks(worth: Tensor, moving: Tensor) -> Tensor:
    """Return ranks (B, E), int64, from 1; the packet that is worth most has the highest, and no two are equal."""
    order = torch.where(moving, worth, -torch.inf).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], 0, -1, device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _unrivalled(packets: Packets, moving: Tensor, wanted: Tensor, rank: Tensor) -> Tensor:
    """Return which packets may still move (B, E): those that get the place that they want."""
    made = torch.where(moving, wanted, 0)
    bids = torch.where(moving, rank, torch.iinfo(rank.dtype).max).where(packets.events > 0, 0)
    best = _placed(packets, made, bids, "amax").flatten(1)
    places = (packets.frame + made) * packets.shape[1] + packets.pixel
    return moving & (best.gather(1, places) == bids)


def _affordable(packets: Packets, moving: Tensor, wanted: Tensor, rank: Tensor, budget: Budget) -> Tensor:
    """Return which packets may move (B, E): those that are worth most, as long as the budget lasts."""
    order = rank.argsort(dim=1, descending=True)
    events = torch.where(moving, packets.events, 0).gather(1, order)
    fits = torch.ones_like(moving)
    for most, spent in ((budget.moved, events), (budget.delay, events * wanted.abs().gather(1, order))):
        if most is not None:
            fits &= spent.cumsum(1) <= most
    return moving & torch.empty_like(fits).scatter_(1, order, fits)
