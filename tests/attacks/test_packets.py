"""Packets that move, against a slow re-implementation, and what no move may do."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_snn.attacks import retimed
from art_snn.attacks.packets import Budget, Packets, at_targets, move, occupancy


@st.composite
def moves(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Budget]:
    """Frames (B, T, P), the moves that their entries want, what these are worth, and a budget."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(2, 5), st.integers(1, 3)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    most, shift = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    frames = torch.randint(0, most + 1, shape, generator=generator)
    frame = torch.arange(shape[1]).view(1, -1, 1)
    wanted = (frame + torch.randint(-shift, shift + 1, shape, generator=generator)).clamp(0, shape[1] - 1) - frame
    worth = torch.randint(0, 4, shape, generator=generator).double()  # with equal ones
    budgets = st.none() | st.integers(1, 12)
    return frames, wanted, worth, Budget(shift, draw(budgets), draw(budgets))


def moved(frames: torch.Tensor, wanted: torch.Tensor, worth: torch.Tensor, budget: Budget) -> torch.Tensor:
    packets = Packets.of(frames)
    rows = torch.arange(len(frames)).unsqueeze(1)
    place = (rows, packets.frame, packets.pixel)
    return move(packets, wanted[place], worth[place], budget)


def slowly_moved(frames: np.ndarray, wanted: np.ndarray, worth: np.ndarray, budget: Budget) -> np.ndarray:
    """The same for one sample (T, P), packet by packet."""
    time_steps, pixels = frames.shape
    homes = [(t, p) for t in range(time_steps) for p in range(pixels) if frames[t, p]]

    def goal(home: tuple[int, int]) -> tuple[int, int]:
        return home[0] + wanted[home], home[1]

    def fits(home: tuple[int, int]) -> bool:
        size = abs(wanted[home]) * frames[home]
        return frames[home] <= (budget.moved or np.inf) and size <= (budget.delay or np.inf)

    ranked = sorted(homes, key=lambda home: -worth[home])  # the sort is stable
    movers = [home for home in ranked if wanted[home] and fits(home)]
    while True:
        before = list(movers)
        kept = []
        for home in movers:
            first = next(other for other in movers if goal(other) == goal(home)) == home
            if first and (goal(home) in movers or goal(home) not in homes):
                kept.append(home)
        movers = kept
        if movers == before:
            events = delay = 0
            for number, home in enumerate(movers):
                events, delay = events + frames[home], delay + frames[home] * abs(wanted[home])
                if events > (budget.moved or np.inf) or delay > (budget.delay or np.inf):
                    movers = movers[:number]
                    break
            else:
                break
    made = frames.copy()
    for home in movers:
        made[home] -= frames[home]
    for home in movers:
        made[goal(home)] += frames[home]
    return made


@settings(max_examples=200, deadline=None)
@given(moves())
def test_moves_are_those_of_the_slow_form(case):
    *tensors, budget = case
    found = moved(*tensors, budget).numpy()
    slow = [slowly_moved(*(tensor[i].numpy() for tensor in tensors), budget) for i in range(len(found))]
    np.testing.assert_array_equal(found, slow)


@settings(max_examples=200, deadline=None)
@given(moves())
def test_nothing_is_lost_or_made_and_the_budget_holds(case):
    frames, wanted, worth, budget = case
    found = moved(frames, wanted, worth, budget)
    events, delay, shift = retimed(frames.numpy(), found.numpy())  # raises where events are lost or made
    assert (shift <= budget.shift).all()
    assert budget.delay is None or (delay <= budget.delay).all()
    assert budget.moved is None or (events <= budget.moved).all()
    same = [sorted(row.flatten().tolist()) for row in found] == [sorted(row.flatten().tolist()) for row in frames]
    assert same  # packets stay whole: binary frames stay binary


@settings(max_examples=50, deadline=None)
@given(moves())
def test_a_sample_moves_alone_as_among_others(case):
    frames, wanted, worth, budget = case
    found = moved(frames, wanted, worth, budget)
    for i in range(len(frames)):
        part = slice(i, i + 1)
        assert torch.equal(moved(frames[part], wanted[part], worth[part], budget), found[part])


def test_packets_are_found_and_filled_up():
    frames = torch.tensor([[[0, 2], [1, 0], [3, 0]], [[0, 0], [0, 0], [0, 7]], [[0, 0], [0, 0], [0, 0]]])
    packets = Packets.of(frames)
    assert packets.events.tolist() == [[2, 1, 3], [7, 0, 0], [0, 0, 0]]
    assert packets.frame[0].tolist() == [0, 1, 2]
    assert packets.pixel[0].tolist() == [1, 0, 0]
    assert packets.shape == (3, 2)
    assert Packets.of(frames[2:]).events.tolist() == [[0]]


def test_values_come_from_where_shifts_end_and_shares_go_there():
    frames = torch.tensor([[[1, 0], [0, 1], [0, 0]]])
    packets = Packets.of(frames)
    values = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]])
    assert at_targets(packets, values, 2).tolist() == [[[0, 0, 1, 2, 3], [0, 10, 20, 30, 0]]]
    assert packets.is_inside(2).int().tolist() == [[[0, 0, 1, 1, 1], [0, 1, 1, 1, 0]]]
    share = torch.tensor([[[0, 0, 0.5, 0.25, 0.25], [0, 0.5, 0, 0.5, 0]]])
    assert occupancy(packets, share, 2).tolist() == [[[0.5, 0.5], [0.25, 0], [0.25, 0.5]]]


def test_neighbours_may_swap_and_follow_each_other():
    frames = torch.tensor([[[2], [3], [1], [0]]])
    swap, chain = torch.tensor([[[1], [-1], [0], [0]]]), torch.tensor([[[1], [1], [1], [0]]])
    worth = torch.ones(1, 4, 1)
    assert moved(frames, swap, worth, Budget(1)).flatten().tolist() == [3, 2, 1, 0]
    assert moved(frames, chain, worth, Budget(1)).flatten().tolist() == [0, 2, 3, 1]
