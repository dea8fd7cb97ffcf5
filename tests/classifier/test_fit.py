"""Fitting: learning, schedulers, generators, divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import PyTorchSNNClassifier
from art_snn.data import Split
from art_snn.errors import TrainingError
from art_snn.snn.models import digits_net
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network


@pytest.mark.filterwarnings("default")
def test_fit_learns_and_ends_in_evaluation_mode(x, capfd):
    classifier = small_classifier()
    inputs, labels = np.tile(x, (8, 1, 1, 1)), np.tile(Y, 8)
    before = classifier.compute_loss(x, Y, reduction="mean")
    classifier.fit(inputs, labels, batch_size=10, nb_epochs=5, verbose=True)
    assert not any(module.training for module in classifier.model.modules())
    assert classifier.compute_loss(x, Y, reduction="mean") < 0.5 * before
    assert "Training: 100%" in capfd.readouterr().err


def test_fit_takes_a_scheduler_and_drop_last(x):
    classifier = small_classifier()
    scheduler = torch.optim.lr_scheduler.StepLR(classifier.optimizer, step_size=1, gamma=0.1)
    classifier.fit(x, Y, batch_size=3, nb_epochs=2, drop_last=True, scheduler=scheduler)
    assert classifier.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_fit_without_optimizer_or_with_a_diverging_loss(x):
    network, _ = make_network("plain")
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu")
    with pytest.raises(ValueError, match="needs an optimizer"):
        classifier.fit(x, Y)
    broken = small_classifier()
    with torch.no_grad():
        broken.model.network.body[-1].bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or inf; lower the learning rate"):
        broken.fit(x, Y)
    assert not broken.model.training


def test_fit_generator_ends_in_evaluation_mode(x):
    from art.data_generators import PyTorchDataGenerator

    rows = torch.eye(5)[Y]
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), rows)
    generator = PyTorchDataGenerator(torch.utils.data.DataLoader(data, batch_size=2), size=4, batch_size=2)
    classifier = small_classifier()
    classifier.fit_generator(generator, nb_epochs=1)
    assert not classifier.model.training
    classifier.optimizer.param_groups[0]["lr"] = 1e36
    with pytest.raises(TrainingError, match="NaN or inf; lower the learning rate, lr=1e"):
        classifier.fit_generator(generator, nb_epochs=3)
    assert not classifier.model.training


def make_fitted(few: Split, lr: float) -> PyTorchSNNClassifier:
    network = digits_net(time_steps=2)
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf]))  # as attention has them
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    classifier = PyTorchSNNClassifier(
        network, torch.nn.CrossEntropyLoss(), (1, 8, 8), 10, optimizer=optimizer, device_type="cpu"
    )
    classifier.fit(few.x_train, few.y_train, batch_size=32, nb_epochs=2)
    return classifier


def test_fit_says_that_weights_diverged_though_the_loss_is_finite(few):
    torch.manual_seed(0)
    with pytest.raises(TrainingError, match=r"in epoch 1, the weights became NaN or inf; lower .*, lr=1e\+30"):
        make_fitted(few, 1e30)
    assert not make_fitted(few, 1e-3).model.training
