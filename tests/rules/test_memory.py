"""What a rule remembers of a batch."""

from __future__ import annotations

import pytest
import torch

from art_snn.rules.memory import Memory


def test_keys_start_where_they_are_told_and_keep_what_is_written():
    memory, like = Memory(), torch.zeros(3, 2)
    torch.testing.assert_close(memory.read(("mean", 0), like, start=1.0), torch.ones(3, 2))
    memory.write(("mean", 0), torch.full((3, 2), 5.0, requires_grad=True))
    torch.testing.assert_close(memory.read(("mean", 0), like, start=1.0), torch.ones(3, 2))
    memory.settle()
    torch.testing.assert_close(memory.read(("mean", 1), like, start=0.0), torch.zeros(3, 2))
    found = memory.read(("mean", 0), like, start=1.0)
    torch.testing.assert_close(found, torch.full((3, 2), 5.0))
    assert not found.requires_grad


def test_rows_begin_anew():
    memory = Memory()
    memory.write("mean", torch.arange(4.0))
    memory.settle()
    memory.restart(torch.tensor([1, 3]))
    torch.testing.assert_close(memory.read("mean", torch.zeros(4), start=-1.0), torch.tensor([0.0, -1.0, 2.0, -1.0]))
    memory.write("mean", torch.arange(4.0))
    memory.settle()
    torch.testing.assert_close(memory.read("mean", torch.zeros(4), start=-1.0), torch.arange(4.0))


def test_the_first_of_several_values_counts():
    memory = Memory()
    memory.write("mean", torch.ones(2))
    memory.write("mean", torch.zeros(2))
    memory.settle()
    torch.testing.assert_close(memory.read("mean", torch.zeros(2), start=7.0), torch.ones(2))
    memory.restart(torch.tensor([0]))
    memory.settle()  # nothing was written, so that the row is still new
    torch.testing.assert_close(memory.read("mean", torch.zeros(2), start=7.0), torch.tensor([7.0, 1.0]))


def test_a_memory_is_of_one_batch():
    memory = Memory()
    memory.write("mean", torch.arange(4.0))
    memory.settle()
    with pytest.raises(ValueError, match=r"the memory of 'mean' has shape \(4,\), but this batch \(3,\)"):
        memory.read("mean", torch.zeros(3), start=0.0)
