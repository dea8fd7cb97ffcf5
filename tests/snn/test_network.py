"""Containers of layers, normalisation, and layers applied to sequences."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, Normalize, Residual, SpikingNetwork, SpikingSequential
from art_snn.snn.network import as_sequence, over_time


def test_network_equals_a_loop_over_steps():
    torch.manual_seed(0)
    conv, pool, fc = nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), nn.Linear(36, 3)
    network = SpikingNetwork(DirectEncoder(time_steps=5), nn.Sequential(conv, LIF(decay=0.7), pool, nn.Flatten(), fc))
    x = 3 * torch.rand(2, 1, 8, 8)
    v, outputs = torch.zeros(2, 4, 6, 6), []
    for _ in range(5):
        m = 0.7 * v + conv(x)
        s = (m >= 1).float()
        v = m * (1 - s)
        outputs.append(fc(pool(s).flatten(1)))
    torch.testing.assert_close(network(x), torch.stack(outputs).mean(0))


def test_plain_sequentials_are_rebuilt_around_the_same_layers():
    inner = nn.Sequential(OrderedDict(a=nn.Linear(4, 4), b=LIF()))
    outer = nn.Sequential(OrderedDict(first=inner, last=nn.Linear(4, 2)))
    sequence = as_sequence(outer)
    assert isinstance(sequence, SpikingSequential)
    assert isinstance(sequence.first, SpikingSequential)
    assert sequence.first.a is inner.a
    assert list(sequence.state_dict()) == list(outer.state_dict())
    stateless = as_sequence(nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), LIF()))
    assert type(stateless[0]) is nn.Sequential


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "register",
    [
        lambda module: module.register_forward_pre_hook(lambda module, args: (2 * args[0],)),
        lambda module: module.register_forward_hook(lambda module, args, out: 2 * out),
        lambda module: module.register_full_backward_hook(lambda module, grad_in, grad_out: None),
    ],
)
def test_hooks_of_a_container_are_not_lost_without_a_word(register, inside):
    inner = nn.Sequential(nn.Linear(4, 4), LIF())
    outer = nn.Sequential(inner, nn.Linear(4, 2))
    register(inner if inside else outer)
    with pytest.raises(ValueError, match="hooks would be lost; register them on a layer inside"):
        SpikingNetwork(DirectEncoder(time_steps=2), outer)
    seen = []
    layer = nn.Linear(4, 2)
    layer.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    SpikingNetwork(DirectEncoder(time_steps=2), nn.Sequential(nn.Linear(4, 4), LIF(), layer))(torch.rand(3, 4))
    assert seen == [6]


def test_residual_adds_its_shortcut():
    torch.manual_seed(0)
    branch, shortcut = nn.Linear(3, 4), nn.Linear(3, 4)
    x_seq = torch.rand(5, 2, 3)
    torch.testing.assert_close(Residual(branch, shortcut)(x_seq), branch(x_seq) + shortcut(x_seq))


def test_normalize_is_the_formula():
    x = torch.rand(2, 2, 3, 3)
    expected = torch.stack([(x[:, 0] - 0.4) / 0.2, (x[:, 1] - 0.6) / 0.5], 1)
    torch.testing.assert_close(Normalize((0.4, 0.6), (0.2, 0.5))(x), expected)
    with pytest.raises(ValueError, match="std must be > 0"):
        Normalize((0.0,), (0.0,))
    with pytest.raises(ValueError, match="one length"):
        Normalize((0.0, 1.0), (1.0,))


def test_network_refuses_what_is_no_module():
    with pytest.raises(TypeError, match=r"encoder must be a torch\.nn\.Module, got int"):
        SpikingNetwork(8, nn.Linear(2, 2))
    with pytest.raises(TypeError, match="body must be"):
        SpikingNetwork(DirectEncoder(time_steps=2), [nn.Linear(2, 2)])


def test_broadcast_sequence_goes_through_a_layer_once():
    rows = []
    layer = nn.Linear(3, 4)
    layer.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    x_seq = torch.rand(2, 3).expand(5, 2, 3)
    out = over_time(layer, x_seq)
    assert rows == [2]
    assert out.shape == (5, 2, 4)
    torch.testing.assert_close(out, over_time(layer, x_seq.contiguous()))


def test_batch_norm_in_training_counts_every_step():
    x_seq = torch.rand(2, 3, 4, 4).expand(5, 2, 3, 4, 4)
    one, other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    over_time(one, x_seq)
    over_time(other, x_seq.contiguous())
    torch.testing.assert_close(one.running_var, other.running_var)


def test_residual_without_neurons_is_a_sequence_module():
    torch.manual_seed(0)
    branch = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1))
    x_seq = torch.rand(3, 4, 2, 5, 5)
    out = SpikingSequential(Residual(branch), LIF())(x_seq)
    assert out.shape == x_seq.shape


def test_nested_residual_without_neurons_gets_its_sequence():
    torch.manual_seed(0)
    inner = nn.Sequential(Residual(nn.Conv2d(2, 2, 3, padding=1)))
    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(inner, LIF(), nn.Flatten(), nn.Linear(32, 3)))
    assert network(torch.rand(3, 2, 4, 4)).shape == (3, 3)
