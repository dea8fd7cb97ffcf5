"""Checks of inputs, called directly and by the classifier, and labels of every form at its public doors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from art_snn import EventFrameEncoder, PyTorchSNNClassifier
from art_snn.classifier.inputs import check_input
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network
from tests.labels import SHAPES, for_each_form, hard_form, labels_as


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="x must be a numpy array or a torch tensor, got list"):
        check_input([[1.0]], (1,))


@pytest.mark.parametrize("method", ["predict", "class_gradient", "loss_gradient", "compute_loss"])
def test_arrays_may_lie_in_memory_as_they_like(x, method):
    classifier = small_classifier(gradient_rule="stbp")
    call = getattr(classifier, method)
    labels = () if method in ("predict", "class_gradient") else (Y,)
    locked = x.copy()
    locked.setflags(write=False)
    expanded = np.broadcast_to(x[:1], x.shape)
    for array in (x[::-1], x[..., ::-1], np.asfortranarray(x), np.repeat(x, 2, axis=3)[..., ::2], expanded, locked):
        np.testing.assert_array_equal(call(array, *labels), call(array.copy(), *labels))


def test_a_loader_is_refused_with_what_to_do(x):
    loader = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(Y)), batch_size=2)
    classifier = small_classifier()
    for call in (classifier.predict, lambda v: classifier.fit(v, Y), lambda v: classifier.loss_gradient(v, Y)):
        with pytest.raises(TypeError, match=r"got DataLoader; go over its batches, .*PyTorchDataGenerator"):
            call(loader)
    with pytest.raises(TypeError, match=r"got DataLoader; a DataLoader goes into PyTorchDataGenerator"):
        classifier.fit_generator(loader)
    gradients = [classifier.loss_gradient(images, labels) for images, labels in loader]
    np.testing.assert_allclose(torch.cat(gradients).numpy(), 2 * classifier.loss_gradient(x, Y), rtol=1e-4, atol=1e-8)


# --- bad input -------------------------------------------------------------------------------------------------------

BAD_INPUT = {
    "rank": (lambda x: x[0], ValueError, r"x has shape \(2, 8, 8\), expected \(N, 2, 8, 8\)"),
    "channels": (lambda x: x[:, :1], ValueError, r"x has shape \(4, 1, 8, 8\), expected \(N, 2, 8, 8\)"),
    "size": (lambda x: x[..., :7], ValueError, r"x has shape \(4, 2, 8, 7\)"),
    "nan": (
        lambda x: np.where(x == x[2, 1, 3, 3], np.nan, x),
        ValueError,
        r"NaN or inf in 1 of 4 samples, .* sample 2",
    ),
    "inf": (
        lambda x: np.where(x == x[3, 1, 3, 3], np.inf, x),
        ValueError,
        r"NaN or inf in 1 of 4 samples, .* sample 3",
    ),
    "strings": (lambda x: x.astype(str), TypeError, "x must hold numbers"),
    "masked": (lambda x: np.ma.array(x, mask=x == x.max()), ValueError, "x has 1 masked entries; leave them out"),
}


@pytest.mark.parametrize(("spoil", "error", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_inputs_are_refused_and_the_classifier_goes_on(x, spoil, error, message):
    classifier = small_classifier()
    before = classifier.predict(x)
    bad = spoil(x)
    for call in (
        classifier.predict,
        lambda v: classifier.loss_gradient(v, Y),
        classifier.class_gradient,
        lambda v: classifier.compute_loss(v, Y),
        lambda v: classifier.fit(v, Y),
        lambda v: classifier.get_activations(v, 0),
    ):
        with pytest.raises(error, match=message):
            call(bad)
    np.testing.assert_array_equal(classifier.predict(x), before)


BAD_LABELS = {
    "too large": (np.array([0, 1, 2, 5]), ValueError, r"labels must be classes in 0 to 4 \(nb_classes=5\), got 5"),
    "negative": (np.array([0, -1, 2, 4]), ValueError, "got -1"),
    "too few": (np.array([0, 1]), ValueError, "2 labels for 4 samples"),
    "columns": (np.eye(6)[:4], ValueError, r"y has shape \(4, 6\)"),
    "fractions": (torch.tensor([[0.5], [1.0], [2.0], [4.0]], requires_grad=True), ValueError, "got 0.5"),
    "logits": (-np.eye(5)[:4], ValueError, "must be one-hot or probabilities, got -1.0"),
    "words": (["0", "1", "2", "4"], TypeError, "list of real numbers, got dtype <U1"),
    "masked": (np.ma.array([0, 1, 2, 4], mask=[1, 0, 0, 0]), ValueError, "y has 1 masked entries; leave them out"),
}


@pytest.mark.parametrize(("y", "error", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused(x, y, error, message):
    classifier = small_classifier()
    for call in (classifier.loss_gradient, classifier.compute_loss, classifier.fit):
        with pytest.raises(error, match=message):
            call(x, y)
    for label in (5, -1, 0.5, np.array([0, 1, 2, 9]), torch.tensor(5.0), [[0], [1], [2], [9]]):
        with pytest.raises(ValueError, match="labels must be classes in 0 to 4"):
            classifier.class_gradient(x, label=label)
    assert np.abs(classifier.loss_gradient(x, Y)).max() > 0


DOORS = {
    "loss_gradient": lambda classifier, x, y: classifier.loss_gradient(x, y),
    "loss_gradient of a tensor": lambda classifier, x, y: classifier.loss_gradient(torch.tensor(x), y).numpy(),
    "compute_loss": lambda classifier, x, y: classifier.compute_loss(x, y),
    "compute_losses": lambda classifier, x, y: classifier.compute_losses(torch.tensor(x), y)["total"].detach().numpy(),
    "class_gradient": lambda classifier, x, y: classifier.class_gradient(x, label=y),
    "reduce_labels": lambda classifier, x, y: np.asarray(classifier.reduce_labels(y)),
    "preprocessing, which ART's trainers call": lambda classifier, x, y: classifier._apply_preprocessing(x, y, True)[1],
}


@pytest.mark.parametrize("call", DOORS.values(), ids=DOORS)
def test_labels_of_every_form_mean_the_indices(x, call):
    classifier = small_classifier()
    expected = call(classifier, x, Y)

    @for_each_form
    @given(hard_form)
    def check(form):
        np.testing.assert_array_equal(call(classifier, x, labels_as(form, Y, 5)), expected)

    check()


def test_probabilities_of_every_form_are_the_target_of_the_loss_and_the_class_of_a_class_gradient(x):
    classifier = small_classifier()
    rows = 0.5 * np.eye(5, dtype=np.float32)[Y] + 0.1
    gradients, losses = classifier.loss_gradient(x, rows), classifier.compute_loss(x, rows)
    assert np.abs(losses - classifier.compute_loss(x, Y)).max() > 0.05
    of_class = classifier.class_gradient(x, label=Y)
    for kind in SHAPES["probabilities"][1]:
        y = labels_as(("probabilities", kind), Y, 5)
        np.testing.assert_allclose(classifier.loss_gradient(x, y), gradients, rtol=0.02, atol=1e-4)
        np.testing.assert_allclose(classifier.compute_loss(x, y), losses, rtol=0.005)
        np.testing.assert_array_equal(classifier.class_gradient(x, label=y), of_class)


@pytest.mark.parametrize("label", [3, np.int8(3), 3.0, np.array(3, dtype=object), torch.tensor(3), torch.tensor(3.0)])
def test_one_class_of_every_form_is_that_of_all_samples(x, label):
    classifier = small_classifier()
    np.testing.assert_array_equal(
        classifier.class_gradient(x, label=label), classifier.class_gradient(x, label=[3] * 4)
    )


def test_what_else_is_refused_or_works(x):
    classifier = small_classifier()
    with pytest.raises(ValueError, match="needs labels y"):
        classifier.loss_gradient(x, None)
    for call in (classifier.compute_loss, classifier.fit):
        with pytest.raises(TypeError, match="y must be an array, a tensor or a list of real numbers, got NoneType"):
            call(x, None)
    with pytest.raises(ValueError, match="make no batch of 10"):
        classifier.fit(x, Y, batch_size=10, drop_last=True)
    with pytest.raises(ValueError, match="0 samples make no batch"):
        classifier.fit(x[:0], Y[:0])
    with pytest.raises(ValueError, match=r"labels must be classes .* got 0.5"):
        classifier.loss_gradient(x, Y * 0.5 + 0.5)
    with pytest.raises(ValueError, match="y holds NaN"):
        classifier.loss_gradient(x, np.full((4, 5), np.nan, dtype=np.float32))
    assert classifier.loss_gradient(x[:0], Y[:0]).shape == (0, 2, 8, 8)
    assert classifier.class_gradient(x[:0]).shape == (0, 5, 2, 8, 8)
    expected = classifier.loss_gradient(x, Y)
    with torch.no_grad():
        np.testing.assert_array_equal(classifier.loss_gradient(x, Y), expected)
    with pytest.raises(ValueError, match="needs a loss with a reduction"):
        PyTorchSNNClassifier(
            make_network("plain")[0], nn.functional.cross_entropy, (2, 8, 8), 5, device_type="cpu"
        ).compute_loss(x, Y)
    assert not hasattr(nn.functional.cross_entropy, "reduction")


PER_CLASS = {
    "squares": (nn.MSELoss(), lambda logits, rows: (logits - rows).square().mean(1)),
    "sum of squares": (nn.MSELoss(reduction="sum"), lambda logits, rows: (logits - rows).square().sum(1)),
    "divergence": (
        nn.KLDivLoss(reduction="batchmean"),
        lambda logits, rows: nn.functional.kl_div(logits, rows, reduction="none").sum(1),
    ),
}


@pytest.mark.parametrize(("loss", "expected"), PER_CLASS.values(), ids=PER_CLASS)
def test_losses_of_each_class_are_one_for_each_sample(x, loss, expected):
    network, _ = make_network("plain")
    classifier = PyTorchSNNClassifier(network, loss, (2, 8, 8), 5, device_type="cpu")
    logits, rows = torch.tensor(classifier.predict(x)), torch.eye(5)[torch.tensor(Y)]
    for y in (Y, rows.numpy(), Y.tolist()):
        losses = classifier.compute_loss(x, y)
        assert losses.shape == (4,)
        np.testing.assert_allclose(losses, expected(logits, rows).numpy(), rtol=1e-5, atol=1e-6)
    assert np.ndim(classifier.compute_loss(x, Y, reduction="sum")) == 0
    leaf = torch.tensor(x, requires_grad=True)
    assert classifier.compute_loss(leaf, Y).shape == (4,)


def test_bad_counts_and_layers_are_refused(x):
    classifier = small_classifier()
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1, got 0"):
        classifier.predict(x, batch_size=0)
    with pytest.raises(ValueError, match="nb_epochs must be a whole number >= 1, got 0"):
        classifier.fit(x, Y, nb_epochs=0)
    for layer in (99, "nope", None, -13):
        with pytest.raises(ValueError, match="layer must be an index below 12"):
            classifier.get_activations(x, layer)


def test_event_frames_of_any_length_but_zero():
    network, x = make_network("event-frame")
    classifier = small_classifier(network, input_shape=(5, 2, 8, 8))
    x = x.numpy()
    assert classifier.predict(x[:, :3]).shape == (4, 5)
    with pytest.raises(ValueError, match="time axis of x has length 0"):
        classifier.predict(x[:, :0])
    with pytest.raises(ValueError, match=r"expected \(N, T, 2, 8, 8\)"):
        classifier.predict(x[:, :, :1])
    with pytest.raises(ValueError, match="length 0"):
        EventFrameEncoder()(torch.zeros(2, 0, 3))
