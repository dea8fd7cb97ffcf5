"""Models that are refused, and models that are left as they were."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork, UnsupportedModelError
from tests.classifier.classifiers import Y, small_classifier, snn
from tests.conftest import make_network


class Wrapped(SpikingNetwork):
    """Gives probabilities."""

    def readout(self, out_seq: torch.Tensor) -> torch.Tensor:
        return out_seq.mean(0).softmax(1)


BAD_MODELS = {
    "no neurons": (lambda: snn(nn.Linear(16, 5), hidden=nn.ReLU()), UnsupportedModelError, "no spiking layer"),
    "double": (
        lambda: snn(nn.Linear(16, 5)).double(),
        UnsupportedModelError,
        r"body\.1\.weight is float64.*model\.float\(\)",
    ),
    "half": (lambda: snn(nn.Linear(16, 5)).half(), UnsupportedModelError, "float16"),
    "softmax": (lambda: snn(nn.Linear(16, 5), nn.Softmax(1)), UnsupportedModelError, "returns probabilities"),
    "softmax readout": (lambda: snn(nn.Linear(16, 5), cls=Wrapped), UnsupportedModelError, "returns probabilities"),
    "rates": (lambda: snn(nn.Linear(16, 5), LIF()), UnsupportedModelError, "returns firing rates"),
    "votes": (
        lambda: snn(nn.Linear(16, 20), LIF(), nn.Unflatten(1, (1, 20)), nn.AvgPool1d(4), nn.Flatten()),
        UnsupportedModelError,
        "returns firing rates",
    ),
    "classes": (
        lambda: snn(nn.Linear(16, 7)),
        UnsupportedModelError,
        r"shape \(2, 7\), expected \(N, nb_classes\) = \(N, 5\)",
    ),
    "input": (
        lambda: SpikingNetwork(
            DirectEncoder(time_steps=4), nn.Sequential(nn.Conv2d(3, 4, 3), LIF(), nn.Flatten(), nn.Linear(144, 5))
        ),
        UnsupportedModelError,
        r"fails on inputs of shape \(2, 2, 8, 8\)",
    ),
    "plain": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 5)), TypeError, "SpikingNetwork"),
    "function": (lambda: lambda x: x, TypeError, "SpikingNetwork"),
}


@pytest.mark.parametrize(("build", "error", "message"), BAD_MODELS.values(), ids=BAD_MODELS)
def test_models_that_cannot_be_attacked_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        PyTorchSNNClassifier(build(), nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu")


def test_all_reasons_come_at_once():
    with pytest.raises(UnsupportedModelError) as caught:
        PyTorchSNNClassifier(
            snn(nn.Linear(16, 5), hidden=nn.ReLU()).double(), nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu"
        )
    assert len(caught.value.reasons) == 2
    assert pickle.loads(pickle.dumps(caught.value)).reasons == caught.value.reasons


def test_a_model_left_in_double_later_is_refused_and_usable_again(x):
    classifier = small_classifier()
    before = classifier.predict(x)
    classifier.model.double()
    for call in (classifier.predict, lambda v: classifier.loss_gradient(v, Y)):
        with pytest.raises(UnsupportedModelError, match="float64"):
            call(x)
    classifier.model.float()
    np.testing.assert_array_equal(classifier.predict(x), before)


def test_construction_leaves_flags_generators_and_hooks_alone():
    network, _ = make_network("poisson")
    state = network.encoder.generator.get_state()
    rng = torch.get_rng_state()
    small_classifier(network)
    assert torch.equal(network.encoder.generator.get_state(), state)
    assert torch.equal(torch.get_rng_state(), rng)
    assert not any(module._forward_hooks for module in network.modules())
