"""Classes of ART on one network of each library: one row of the table for each way in which gradients are taken."""

from __future__ import annotations

import warnings
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import PyTorchSNNClassifier, adapt
from art_snn.data import Split
from tests.adapters.nodes import Loop
from tests.compatibility.conftest import make_case
from tests.compatibility.rows import ROWS
from tests.compatibility.table import WORKS, status
from tests.compatibility.test_compatibility import seeded, skip_without_packages
from tests.conftest import one_thread
from tests.spy import RULE, Spy
from tests.spy import spy as spy  # a fixture

# The output of a layer in a forward of one's own is not to be had.
TAKEN = [
    item
    for item in ROWS
    if status(item, "images") == WORKS and item.gradient and "get_activations" not in item.gradient
]
FIRST = {(item.gradient, item.family): item for item in reversed(TAKEN) if not (item.second_order or item.slow)}


def nodes() -> nn.Module:
    loop = Loop(time_steps=4)
    loop.layers = nn.ModuleList([nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)])
    return adapt(loop, looped)


def looped(loop: Loop, x: torch.Tensor) -> torch.Tensor:
    states = [x.new_zeros(len(x), 32) for _ in loop.nodes]
    total = 0
    for _ in range(loop.time_steps):
        first, states[0] = loop.nodes[0](loop.layers[0](x.flatten(1)), states[0])
        second, states[1] = loop.nodes[1](loop.layers[1](first), states[1])
        total = total + loop.layers[2](second)
    return total / loop.time_steps


def spikingjelly() -> nn.Module:
    from spikingjelly.activation_based import functional, layer, neuron

    net = nn.Sequential(
        layer.Conv2d(1, 8, 3, padding=1), neuron.IFNode(), layer.MaxPool2d(2), layer.Flatten(), layer.Linear(128, 10)
    )
    functional.set_step_mode(net, "m")
    return adapt(net, time_steps=4)


def snntorch() -> nn.Module:
    import snntorch

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), snntorch.Leaky(0.9, init_hidden=True), nn.Linear(64, 10))
    return adapt(net, time_steps=6)


def norse() -> nn.Module:
    import norse.torch as norse

    net = norse.SequentialState(nn.Flatten(), nn.Linear(64, 64), norse.LIFCell(), nn.Linear(64, 10), norse.LICell())
    return adapt(net, time_steps=12, readout="max")


def sinabs() -> nn.Module:
    from sinabs.from_torch import from_model

    ann = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 10))
    return adapt(from_model(ann, input_shape=(1, 8, 8), num_timesteps=6).spiking_model, time_steps=6)


LIBRARIES = {make.__name__: make for make in (nodes, spikingjelly, snntorch, norse, sinabs)}


@pytest.fixture(scope="module")
def trained(request, digits: Split) -> PyTorchSNNClassifier:
    library = request.param
    place = "spikingjelly.activation_based" if library == "spikingjelly" else library
    if library != "nodes" and not (find_spec(library) and find_spec(place)):
        pytest.skip(f"{place} is not installed")
    from art_snn.snn import readers
    from tests.adapters import nodes as own

    readers.register_reader(own.read)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            network = LIBRARIES[library]()
            optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
            classifier = PyTorchSNNClassifier(
                network, nn.CrossEntropyLoss(), (1, 8, 8), 10, optimizer, clip_values=(0.0, 1.0), device_type="cpu"
            )
            with one_thread():
                classifier.fit(digits.x_train, digits.y_train, batch_size=64, nb_epochs=4)
        yield classifier
    finally:
        readers.unregister_reader(own.read)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("item", FIRST.values(), ids=str)
@pytest.mark.parametrize("trained", LIBRARIES, indirect=True)
def test_a_class_of_art_gets_the_rules_gradient_from_a_librarys_network(trained, item, digits, spy: Spy):
    skip_without_packages(item)
    case = make_case(trained, digits)
    assert len(case.x) == 12
    case.classifier.gradient_rule = RULE
    before = case.classifier.predict(case.x)
    with seeded(), suppress(AssertionError):  # its effect was measured on another network
        item.run(case)
    assert spy.calls > 0
    assert spy.wrong == 0
    assert spy.bypassed == 0
    assert np.array_equal(trained.predict(case.x), before)
