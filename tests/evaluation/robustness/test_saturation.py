"""Logits that are too large for the cross-entropy."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import nn

from art_snn import PyTorchSNNClassifier, SpikingNetwork
from art_snn.evaluation.robustness import attack_checks
from art_snn.evaluation.robustness.flags import Flag
from tests.evaluation.robustness.networks import GradientKiller, like
from tests.evaluation.robustness.test_checks import probe_of


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def test_a_cross_entropy_that_saturates_is_named_with_what_mends_it(classifier, digits):
    def times(factor: float) -> Flag:
        layers = nn.Sequential(*classifier.model.network.body, Times(factor))
        network = SpikingNetwork(classifier.model.network.encoder, layers)
        options = {"clip_values": (0, 1), "device_type": "cpu"}
        scaled = PyTorchSNNClassifier(network.eval(), nn.CrossEntropyLoss(), (1, 8, 8), 10, **options)
        return attack_checks.check_gradients(probe_of(scaled, digits, 32, check_samples=32))

    found = times(1000)
    assert found.fired
    said = re.search(
        r"saturates at ([\d.]+)%, where the label's logit leads by more than 87, up to (\d+)", found.detail
    )
    assert float(said[1]) == 100
    divisor = int(re.search(r"divide the logits by (\d+)", found.detail)[1])
    assert divisor == np.ceil(int(said[2]) / 10)
    mended = times(1000 / divisor)
    assert mended.value == 0
    assert "saturates" not in mended.detail
    killed = attack_checks.check_gradients(probe_of(like(classifier, GradientKiller()), digits, 8))
    assert "saturates" not in killed.detail
