"""Activations of layers of a user's own network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import LIF, PyTorchSNNClassifier, adapt

STEPS = 3


class Net(nn.Module):
    """A layer before time, merged ones, a sequence of spikes, a layer after time, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.merged = nn.Linear(4, 6), nn.Linear(6, 5)
        self.neuron, self.last, self.idle = LIF(decay=0.9), nn.Linear(5, 2), nn.Linear(2, 2)

    def forward(self, x):
        drive = 3 * self.first(x.flatten(1)).repeat(STEPS, 1)
        spikes = self.neuron(self.merged(drive).unflatten(0, (STEPS, -1)))
        return self.last(spikes.mean(0))


def classifier_of(network, shape=(1, 2, 2)):
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), shape, 2, device_type="cpu")


@pytest.mark.parametrize("samples", [1, 2, STEPS, 5])
def test_outputs_are_batch_first_means_over_time_whatever_axes_a_layer_has(samples):
    torch.manual_seed(0)
    net = Net().eval()
    classifier = classifier_of(adapt(net, lambda net, x: net(x)))
    x = np.random.default_rng(0).random((samples, 1, 2, 2), dtype=np.float32)
    with torch.no_grad():
        first = net.first(torch.from_numpy(x).flatten(1))
        merged = net.merged(3 * first)
        spikes = net.neuron(merged.expand(STEPS, -1, -1)).mean(0)
        last = net.last(spikes)
    for name, expected in (("first", first), ("merged", merged), ("neuron", spikes), ("last", last)):
        found = classifier.get_activations(x, name, batch_size=2)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
        index = classifier.layer_names.index(f"network.model.{name}")
        np.testing.assert_array_equal(found, classifier.get_activations(x, index, batch_size=2))
    np.testing.assert_allclose(classifier.get_activations(x, "last"), classifier.predict(x), rtol=1e-5, atol=1e-6)


def test_what_is_not_to_be_had_is_refused_in_words():
    torch.manual_seed(0)
    classifier = classifier_of(adapt(Net(), lambda net, x: net(x)))
    x = np.zeros((2, 1, 2, 2), dtype=np.float32)
    with pytest.raises(ValueError, match=r"'network\.model\.idle' takes no part in the forward pass"):
        classifier.get_activations(x, "idle")
    with pytest.raises(ValueError, match=r"index below 5 or one of network\.model\.first"):
        classifier.get_activations(x, "nothing")
    with pytest.raises(ValueError, match="has no graph here"):
        classifier.get_activations(torch.from_numpy(x).requires_grad_(), "first", framework=True)
