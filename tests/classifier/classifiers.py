"""Small classifiers, networks and labels that the tests of the classifier share."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork
from tests.conftest import make_network


def small_classifier(network: nn.Module | None = None, **options: object) -> PyTorchSNNClassifier:
    if network is None:
        network, _ = make_network("plain")
    options = {"input_shape": (2, 8, 8), "nb_classes": 5, "device_type": "cpu", **options}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), optimizer=optimizer, **options)


Y = np.array([0, 1, 2, 4])


def body(*last: nn.Module, hidden: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 16), LIF(decay=0.9) if hidden is None else hidden, *last)


def snn(*last: nn.Module, cls: type[SpikingNetwork] = SpikingNetwork, hidden: nn.Module | None = None) -> nn.Module:
    return cls(DirectEncoder(time_steps=4), body(*last, hidden=hidden))
