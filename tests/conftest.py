"""Networks, data, a trained classifier and a command line that tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from art_snn import (
    IF,
    LIF,
    DirectEncoder,
    EventFrameEncoder,
    PoissonEncoder,
    PyTorchSNNClassifier,
    Residual,
    SpikingNetwork,
)
from art_snn.data import Split, load_digits, sources
from art_snn.snn import readers
from art_snn.training import DIGITS_RECIPE, train_cached
from tests.adapters import nodes

TIME_STEPS = 5
IMAGES = 96


def make_body(neuron: Callable[[], nn.Module], *, residual: bool = False, pool: nn.Module | None = None) -> nn.Module:
    """Layers from (2, 8, 8) to 5 logits."""
    middle: list[nn.Module] = [nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)]
    if residual:
        middle = [Residual(nn.Sequential(*middle, neuron(), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)))]
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        neuron(),
        nn.AvgPool2d(2) if pool is None else pool,
        *middle,
        neuron(),
        nn.Flatten(),
        nn.Linear(96, 20),
        nn.BatchNorm1d(20),
        neuron(),
        nn.Linear(20, 5),
    )


def settle(network: nn.Module, x: Tensor) -> nn.Module:
    """Give batch norm statistics with which every layer fires, and return the network in evaluation mode."""
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(x)
    return network.eval()


def make_network(kind: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Return a network of a kind and a batch of four inputs for it."""
    torch.manual_seed(seed)
    x = torch.rand(4, 2, 8, 8)
    encoder: nn.Module = DirectEncoder(time_steps=TIME_STEPS)
    if kind == "event-frame":
        x = torch.randint(0, 3, (4, TIME_STEPS, 2, 8, 8)).float()
        encoder = EventFrameEncoder()
    elif kind == "poisson":
        encoder = PoissonEncoder(time_steps=TIME_STEPS, generator=torch.Generator().manual_seed(3))
    neuron = (lambda: IF(reset="soft")) if kind == "residual" else (lambda: LIF(decay=0.8))
    pool = nn.MaxPool2d(2) if kind == "max-pool" else None
    network = SpikingNetwork(encoder, make_body(neuron, residual=kind == "residual", pool=pool))
    settle(network, x)
    return network.to(dtype), x.to(dtype)


@contextmanager
def one_thread() -> Iterator[None]:
    """Train with one thread inside the block: the order of sums, and so the weights, depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> Split:
    return load_digits()


@pytest.fixture
def few(monkeypatch) -> Split:
    """Few digits, so that an epoch takes a moment."""
    full = load_digits()
    data = Split(full.x_train[:IMAGES], full.y_train[:IMAGES], full.x_test[:64], full.y_test[:64])
    monkeypatch.setattr(sources, "load_digits", lambda: data)
    return data


def train_command(out: Path, *more: str, defence: str = "fbf", epochs: int = 3) -> list[str]:
    return [
        *("train", "--out", str(out), "--defence", defence, "--epochs", str(epochs)),
        *("--time-steps", "2", "--batch-size", "32", "--device", "cpu", "--quiet", *more),
    ]


@pytest.fixture(scope="session")
def _trained(digits: Split, tmp_path_factory: pytest.TempPathFactory) -> PyTorchSNNClassifier:
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setenv("ART_SNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train_cached(replace(DIGITS_RECIPE, epochs=4, time_steps=4), digits, device_type="cpu")[0]


@pytest.fixture
def classifier(_trained: PyTorchSNNClassifier) -> Iterator[PyTorchSNNClassifier]:
    """A classifier trained on the digits; it must be left as it was found."""
    state = {name: tensor.clone() for name, tensor in _trained.model.state_dict().items()}
    yield _trained
    _trained.gradient_rule = "hart"
    assert all(torch.equal(tensor, state[name]) for name, tensor in _trained.model.state_dict().items())


@pytest.fixture
def known(monkeypatch):
    """The neurons of `tests.adapters.nodes`, which a reader knows for the time of a test."""
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    readers.register_reader(nodes.read)


@pytest.fixture
def doubles() -> Iterator[None]:
    """Make networks of float64, the same in every test."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
