"""Fitting: learning, schedulers, generators, divergence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from art.data_generators import DataGenerator, NumpyDataGenerator, PyTorchDataGenerator
from art.defences.trainer import AdversarialTrainerFBFPyTorch
from hypothesis import given
from torch import nn

from art_snn import PyTorchSNNClassifier
from art_snn.data import Split
from art_snn.errors import TrainingError
from art_snn.snn.models import digits_net
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network
from tests.labels import for_each_form, hard_form, labels_as


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


def as_generator(x: np.ndarray, y: object) -> PyTorchDataGenerator:
    """One batch, whose labels are as they are given."""
    loader = torch.utils.data.DataLoader([(x, y)], collate_fn=lambda batches: batches[0])
    return PyTorchDataGenerator(loader, size=len(x), batch_size=len(x))


def weights_after(fit: Callable[[PyTorchSNNClassifier], None]) -> torch.Tensor:
    classifier = small_classifier()
    torch.manual_seed(0)
    fit(classifier)
    return nn.utils.parameters_to_vector(classifier.model.parameters()).detach()


FITS = {
    "fit": lambda classifier, x, y: classifier.fit(x, y, nb_epochs=1),
    "fit_generator": lambda classifier, x, y: classifier.fit_generator(as_generator(x, y), nb_epochs=1),
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_labels_of_every_form_train_the_same_weights(x, fit):
    expected = weights_after(lambda c: fit(c, x, Y))

    @for_each_form
    @given(hard_form)
    def check(form):
        assert torch.equal(weights_after(lambda c: fit(c, x, labels_as(form, Y, 5))), expected)

    check()


def test_generators_give_every_batch_once_an_epoch_and_their_labels_are_those_of_fit(x):
    rows = 0.9 * np.eye(5)[Y] + 0.02
    seen = []

    def watching(classifier: PyTorchSNNClassifier, generator: DataGenerator) -> torch.Tensor:
        inner = classifier._loss
        classifier._loss = lambda logits, labels: seen.append(labels) or inner(logits, labels)
        classifier.fit_generator(generator, nb_epochs=1)

    weights_after(lambda c: watching(c, NumpyDataGenerator(x, rows, batch_size=2)))
    loader = torch.utils.data.DataLoader(list(zip(x, rows, strict=True)), batch_size=3)
    weights_after(lambda c: watching(c, PyTorchDataGenerator(loader, size=4, batch_size=3)))
    assert [len(labels) for labels in seen] == [2, 2, 3, 1]
    np.testing.assert_allclose(torch.cat(seen[:2]), rows, rtol=1e-6)
    np.testing.assert_allclose(torch.cat(seen[2:]), rows, rtol=1e-6)


def test_what_fit_generator_refuses(x):
    classifier = small_classifier()
    with pytest.raises(TypeError, match=r"generator must be one of art.data_generators, got DataLoader"):
        classifier.fit_generator(as_generator(x, Y).iterator)
    with pytest.raises(ValueError, match="nb_epochs must be a whole number >= 1, got 0"):
        classifier.fit_generator(as_generator(x, Y), nb_epochs=0)
    with pytest.raises(ValueError, match=r"labels must be classes in 0 to 4 .* got 5"):
        classifier.fit_generator(as_generator(x, Y + 1))
    with pytest.raises(ValueError, match="the generator gave no batch to train on"):
        classifier.fit_generator(PyTorchDataGenerator(torch.utils.data.DataLoader([]), size=1, batch_size=1))
    assert not classifier.model.training


def test_fast_is_better_than_free_of_art_trains_on_the_class_of_every_form(x):
    def fit(classifier: PyTorchSNNClassifier, y: object) -> None:
        np.random.seed(0)
        AdversarialTrainerFBFPyTorch(classifier, eps=0.1).fit(x, y, nb_epochs=1)

    state = np.random.get_state()
    expected = weights_after(lambda c: fit(c, Y))
    for y in (np.eye(5)[Y], Y[:, None], Y[:, None].astype(np.float32), torch.from_numpy(Y)[:, None]):
        assert torch.equal(weights_after(lambda c, y=y: fit(c, y)), expected)
    np.random.set_state(state)


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
