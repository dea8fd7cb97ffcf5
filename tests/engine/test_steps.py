"""Which bodies take time-steps as rows of a batch."""

from __future__ import annotations

from torch import nn

from art_snn import LIF, Residual, SpikingSequential
from art_snn.engine.steps import is_time_blind
from art_snn.snn.models import vgg11


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
