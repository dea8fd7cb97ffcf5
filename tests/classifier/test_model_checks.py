"""Models that are refused, and models that are left as they were."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork, UnsupportedModelError
from tests.classifier.classifiers import Y, body, small_classifier, snn
from tests.conftest import make_network


class Wrapped(SpikingNetwork):
    """Gives probabilities."""

    def readout(self, out_seq: torch.Tensor) -> torch.Tensor:
        return out_seq.mean(0).softmax(1)


class Recorded(SpikingNetwork):
    """Gives its outputs in every step, too."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out_seq = self.body(self.encode(x))
        return self.readout(out_seq), out_seq


class Named(SpikingNetwork):
    """Gives a dictionary."""

    def readout(self, out_seq: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": out_seq.mean(0)}


class Scaled(SpikingNetwork):
    """Normalises its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(2 * x)


class OneStep(nn.Module):
    """Written for one step: (N, C, H, W) to (N, K)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.neuron, self.last = nn.Conv2d(2, 4, 3, padding=1), LIF(), nn.Linear(256, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.neuron(self.conv(x)).flatten(1))


class OneStepLinear(OneStep):
    """Goes through with a sequence, and gives nonsense."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.neuron(x.flatten(1)))


class Block(nn.Sequential):
    """A Sequential of one's own."""


class State(nn.Module):
    """Adds its last output."""

    last = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = x + self.last
        return self.last


class OfTwo(nn.Module):
    """Takes a batch of two."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 2, 16).reshape(x.shape) if len(x) % 2 == 0 else x.reshape(2, -1, 7)


class ThreeLists(nn.Module):
    """Keeps its neurons past torch."""

    def __init__(self) -> None:
        super().__init__()
        self.known = LIF()
        self.neurons = [self.known, LIF()]

    def forward(self, x_seq: torch.Tensor) -> torch.Tensor:
        for neuron in self.neurons:
            x_seq = neuron(x_seq)
        return x_seq


def foreign(package: str, name: str, *bases: type) -> nn.Module:
    """A module as of another library, which need not be installed; its class is derived from by the user."""
    there = type(name, bases or (nn.Module,), {"__module__": package, "forward": lambda self, x: x})
    return type(f"My{name}", (there,), {"__module__": "__main__"})()


def with_foreign(*layers: nn.Module) -> nn.Module:
    return snn(*layers, nn.Linear(16, 5))


BAD_MODELS = {
    "tuple": (
        lambda: snn(nn.Linear(16, 5), cls=Recorded),
        UnsupportedModelError,
        "forward returns a tuple, not a tensor",
    ),
    "dict": (lambda: snn(nn.Linear(16, 5), cls=Named), UnsupportedModelError, "readout returns a dict, not a tensor"),
    "scaled": (
        lambda: snn(nn.Linear(16, 5), cls=Scaled),
        UnsupportedModelError,
        r"calling it gives other logits than readout\(body\(encode\(x\)\)\)",
    ),
    "one step": (
        lambda: SpikingNetwork(DirectEncoder(time_steps=4), OneStep()),
        UnsupportedModelError,
        r"(?s)5D|size: \[4, 2, 2, 8, 8\].*OneStep holds spiking layers, so the whole sequence \(T, N, ...\) comes in.*"
        r"over_time.*how_to/own_model\.md",
    ),
    "one step, block": (
        lambda: SpikingNetwork(DirectEncoder(time_steps=4), Block(nn.Conv2d(2, 4, 3), LIF(), nn.Flatten())),
        UnsupportedModelError,
        "Block holds spiking layers, so the whole sequence.*over_time",
    ),
    "one size": (
        lambda: SpikingNetwork(
            DirectEncoder(time_steps=3), nn.Sequential(nn.Flatten(), OfTwo(), nn.Linear(128, 8), LIF(), nn.Linear(8, 5))
        ),
        UnsupportedModelError,
        "it fails on other spikes, or on a batch of another size than 2: RuntimeError",
    ),
    "state": (lambda: with_foreign(State()), UnsupportedModelError, r"its body\.3 gives another output for the same"),
    "batch": (
        lambda: with_foreign(nn.BatchNorm1d(16, track_running_stats=False)),
        UnsupportedModelError,
        r"its body\.3 gives a sample another output beside other samples",
    ),
    "list": (
        lambda: with_foreign(ThreeLists()),
        UnsupportedModelError,
        r"neurons in body\.3\.neurons are out of torch's sight; use an nn\.ModuleList",
    ),
    "parallel": (
        lambda: nn.DataParallel(snn(nn.Linear(16, 5))),
        UnsupportedModelError,
        r"DataParallel.*inside, \.module",
    ),
    "parallel body": (
        lambda: SpikingNetwork(DirectEncoder(time_steps=4), nn.DataParallel(body(nn.Linear(16, 5)))),
        UnsupportedModelError,
        r"its body is wrapped in DataParallel.*\.module",
    ),
    "compiled": (
        lambda: torch.compile(snn(nn.Linear(16, 5))),
        UnsupportedModelError,
        r"it is wrapped by torch\.compile.*\._orig_mod",
    ),
    "compiled body": (
        lambda: SpikingNetwork(DirectEncoder(time_steps=4), torch.compile(body(nn.Linear(16, 5)))),
        UnsupportedModelError,
        r"its body is wrapped by torch\.compile",
    ),
    "foreign beside ours": (
        lambda: with_foreign(foreign("spikingjelly.activation_based.neuron", "LIFNode")),
        UnsupportedModelError,
        r"neurons of another library \(SpikingJelly's MyLIFNode\); make .*register_neuron, or rebuild",
    ),
    "foreign network": (
        lambda: nn.Sequential(nn.Flatten(), foreign("snntorch._neurons.leaky", "Leaky"), nn.Linear(128, 5)),
        TypeError,
        r"snnTorch's MyLeaky.*register_neuron.*then wrap the layers: SpikingNetwork",
    ),
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


@pytest.mark.parametrize("package", ["spikingjelly.clock", "snntorch", "norse.torch", "sinabs.layers", "braincog.base"])
def test_networks_of_other_libraries_are_never_sent_to_a_plain_classifier(package):
    with pytest.raises(UnsupportedModelError) as caught:
        small_classifier(snn(nn.Linear(16, 5), hidden=foreign(package, "Neuron")))
    assert "register_neuron" in str(caught.value)
    assert "PyTorchClassifier" not in str(caught.value)


def test_layers_that_another_library_derives_from_torchs_are_no_neurons():
    conv = type("Conv", (nn.Linear,), {"__module__": "spikingjelly.activation_based.layer"})(16, 5)
    assert small_classifier(snn(conv)).predict(np.zeros((1, 2, 8, 8), dtype=np.float32)).shape == (1, 5)


def test_a_module_for_one_step_is_explained_in_training_too():
    network = SpikingNetwork(DirectEncoder(time_steps=4), OneStep())
    with pytest.raises(ValueError, match=r"RuntimeError: .*OneStep holds spiking layers.*over_time"):
        network(torch.rand(3, 2, 8, 8))
    within = SpikingNetwork(DirectEncoder(time_steps=4), snn(nn.Linear(16, 5)).body)
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:  # a layer's own mistake stays as it is
        within(torch.rand(3, 7))
    assert "over_time" not in str(caught.value)


def test_a_module_for_one_step_that_runs_is_explained_by_its_shape():
    nonsense = OneStepLinear()
    nonsense.last = nn.Linear(256, 5)
    with pytest.raises(UnsupportedModelError, match=r"outputs of shape \(5,\).*OneStepLinear holds spiking layers"):
        PyTorchSNNClassifier(
            SpikingNetwork(DirectEncoder(time_steps=4), nonsense),
            nn.CrossEntropyLoss(),
            (2, 8, 8),
            5,
            device_type="cpu",
        )


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
