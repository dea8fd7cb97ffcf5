"""Containers, normalisation, builders."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, Normalize, Residual, SpikingNetwork, SpikingSequential
from art_snn.engine.steps import is_time_blind
from art_snn.snn.models import digits_net, vgg11
from art_snn.snn.network import as_sequence


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


def test_time_blindness():
    assert is_time_blind(vgg11().eval().body)
    assert not is_time_blind(vgg11().train().body)  # batch norm sees which rows share a batch
    assert not is_time_blind(SpikingSequential(nn.BatchNorm2d(2, track_running_stats=False).eval(), LIF()))
    assert is_time_blind(SpikingSequential(Residual(nn.Sequential(nn.Conv2d(1, 1, 1), LIF())), LIF()))

    class Own(nn.Conv2d):
        """A convolution of the user's own; who knows what it does."""

    assert not is_time_blind(SpikingSequential(Own(1, 1, 1), LIF()))
    assert not is_time_blind(SpikingSequential(nn.LSTM(3, 3), LIF()))
    assert not is_time_blind(SpikingSequential(nn.MultiheadAttention(4, 2), LIF()))


@pytest.mark.parametrize(
    ("build", "parameters", "shape"), [(digits_net, 53_226, (1, 8, 8)), (vgg11, 61_377_034, (3, 32, 32))]
)
def test_builders_have_the_size_that_they_say(build, parameters, shape):
    network = build(time_steps=2)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert f"{parameters:,}" in build.__doc__
    with torch.no_grad():
        assert network.eval()(torch.rand(1, *shape)).shape == (1, 10)


def test_vgg11_has_the_papers_layers():
    widths = [m.out_channels for m in vgg11().modules() if isinstance(m, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [m.out_features for m in vgg11(nb_classes=100).modules() if isinstance(m, nn.Linear)] == [4096, 4096, 100]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: vgg11(nb_classes=1), "nb_classes must be >= 2, got 1"),
        (lambda: digits_net(nb_classes=0), "nb_classes must be >= 2, got 0"),
        (lambda: vgg11(image_size=30), "multiple of 8, got 30"),
        (lambda: vgg11(in_channels=1), "need 1 numbers"),
        (lambda: vgg11(decay=2.0), "got 2.0"),
        (lambda: digits_net(time_steps=0), "got 0"),
        (lambda: digits_net(threshold=0.0), "threshold"),
        (lambda: digits_net(reset="x"), "reset"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_network_refuses_what_is_no_module():
    with pytest.raises(TypeError, match=r"encoder must be a torch\.nn\.Module, got int"):
        SpikingNetwork(8, nn.Linear(2, 2))
    with pytest.raises(TypeError, match="body must be"):
        SpikingNetwork(DirectEncoder(time_steps=2), [nn.Linear(2, 2)])
