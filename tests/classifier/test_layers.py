"""Activations of layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, SpikingNetwork
from tests.classifier.classifiers import small_classifier


def test_activations_are_batch_first_means_over_time(x):
    classifier = small_classifier()
    names = classifier.layer_names
    assert names[0] == "network.body.0"
    assert len(names) == 12
    for name in names:
        layer = classifier.model.get_submodule(name)
        seen = []
        handle = layer.register_forward_hook(lambda *call, seen=seen: seen.append(call[2]))
        with torch.no_grad():
            classifier.model.network(torch.from_numpy(x))
        handle.remove()
        out = (
            seen[0]
            if len(seen[0]) == 4
            else seen[0].reshape(5, 4, *seen[0].shape[1 if len(seen[0]) == 20 else 2 :]).mean(0)
        )
        found = classifier.get_activations(x, name, batch_size=3)
        np.testing.assert_allclose(found, out.numpy(), rtol=1e-4, atol=1e-5)
        framework = classifier.get_activations(torch.from_numpy(x).requires_grad_(), name, framework=True)
        np.testing.assert_allclose(framework.detach().numpy(), found, rtol=1e-4, atol=1e-5)
        assert framework.requires_grad
        assert not layer._forward_hooks
    np.testing.assert_array_equal(classifier.get_activations(x, -1), classifier.get_activations(x, names[-1]))
    np.testing.assert_allclose(classifier.get_activations(x, -1), classifier.predict(x), rtol=1e-5, atol=1e-6)


def test_layers_inside_sequence_modules_are_batch_first():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.neuron = nn.Linear(128, 16), LIF(decay=0.9, surrogate=nn.Sigmoid())

        def forward(self, x_seq: torch.Tensor) -> torch.Tensor:
            return self.neuron(self.fc(x_seq))

    torch.manual_seed(0)
    network = SpikingNetwork(DirectEncoder(time_steps=6), nn.Sequential(nn.Flatten(), Block(), nn.Linear(16, 5)))
    classifier = small_classifier(network)
    x = np.random.default_rng(0).random((4, 2, 8, 8), dtype=np.float32)
    names = [name.removeprefix("network.body.") for name in classifier.layer_names]
    assert names == ["0", "1.fc", "1.neuron", "2"]
    x = np.concatenate([x, x, x])[:9]
    for n in (1, 4, 6, 9):  # 6 samples are as many as time-steps
        expected = network.body[1].fc(torch.from_numpy(x[:n]).flatten(1)).detach().numpy()
        found = classifier.get_activations(x[:n], "network.body.1.fc", batch_size=4)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert classifier.get_activations(x[:n], "network.body.1.neuron").shape == (n, 16)
