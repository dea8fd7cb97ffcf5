"""Networks that return several outputs: which of them the logits are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import LIF, PyTorchSNNClassifier, UnsupportedModelError, adapt
from tests.adapters.nodes import Loop

pytestmark = pytest.mark.usefixtures("known", "seeded")
X = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def seeded():
    torch.manual_seed(0)


class Several(nn.Module):
    """Return the logits in two forms: (N, K) or (T, N, K), each beside another sign of them."""

    def __init__(self, *, summed: bool = True) -> None:
        super().__init__()
        self.loop, self.summed = Loop(), summed

    def forward(self, x):
        logits = self.loop(x)
        logits = logits if self.summed else torch.stack([logits] * 6)
        return logits, -logits


def classify(model):
    return PyTorchSNNClassifier(model, nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu")


def test_of_several_outputs_one_is_meant_that_is_named():
    net = Several()
    logits = [classify(adapt(net, output=index)).predict(X.numpy()) for index in (0, 1)]
    assert np.array_equal(logits[0], -logits[1])
    assert logits[0].any()
    for model in (adapt(net), net):
        with pytest.raises(UnsupportedModelError, match=r"returns 2 outputs, .*model\(x\)\[0\]\)"):
            classify(model)
    with pytest.raises(UnsupportedModelError, match=r"returns 2 outputs, .*model\(x\)\[0\].sum\(0\)"):
        classify(adapt(Several(summed=False)))


class Alone(Loop):
    def forward(self, x):
        return (super().forward(x),)


def test_one_output_needs_no_name():
    assert classify(adapt(Alone())).predict(X.numpy()).shape == (5, 3)


class Pair(nn.Sequential):
    """Return two outputs in each step."""

    def forward(self, x):
        out = super().forward(x)
        return -out, out


def test_of_several_outputs_of_each_step_one_is_meant_that_is_named():
    net = Pair(nn.Flatten(2), nn.Linear(4, 64), LIF(decay=0.9), nn.Linear(64, 3))
    with pytest.raises(UnsupportedModelError, match=r"it returns 2 outputs, .*art_snn.adapt\(..., output=0\)"):
        classify(adapt(net, time_steps=4))
    assert classify(adapt(net, time_steps=4, output=0)).predict(X.numpy()).shape == (5, 3)


@pytest.mark.filterwarnings("ignore")
def test_the_first_output_of_a_step_of_snntorch_is_its_spikes():
    snn = pytest.importorskip("snntorch")
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True, output=True)).eval()
    spikes, named, potentials = (
        adapt(net, time_steps=6, readout="sum", **options)(3 * X) for options in ({}, {"output": 0}, {"output": 1})
    )
    assert torch.equal(spikes, named)
    assert spikes.any()
    assert torch.equal(spikes, spikes.round())
    assert not torch.equal(potentials, potentials.round())
