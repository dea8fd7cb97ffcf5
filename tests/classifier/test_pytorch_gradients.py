"""Gradients and losses of the classifier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import (
    DirectEncoder,
    GradientWarning,
    PyTorchSNNClassifier,
    SpikingNetwork,
    UnsupportedModelError,
    rule_names,
)
from tests.classifier.classifiers import Y, body, small_classifier
from tests.conftest import make_network


def rule_gradient(
    classifier: PyTorchSNNClassifier, x: np.ndarray, loss: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    leaf = torch.from_numpy(x).clone().requires_grad_()
    return torch.autograd.grad(loss(classifier.model(leaf)), leaf)[0].numpy()


def test_class_gradient_of_all_one_and_several_classes(x):
    classifier = small_classifier()
    every = classifier.class_gradient(x)
    assert every.shape == (4, 5, 2, 8, 8)
    for k in range(5):
        np.testing.assert_allclose(
            every[:, k], rule_gradient(classifier, x, lambda z, k=k: z[:, k].sum()), rtol=1e-5, atol=1e-8
        )
    np.testing.assert_allclose(classifier.class_gradient(x, label=3)[:, 0], every[:, 3], rtol=1e-5, atol=1e-8)
    for label in (np.array([4, 0, 0, 2]), [4, 0, 0, 2]):
        one_each = classifier.class_gradient(x, label=label)
        assert one_each.shape == (4, 1, 2, 8, 8)
        np.testing.assert_allclose(one_each[:, 0], every[np.arange(4), [4, 0, 0, 2]], rtol=1e-5, atol=1e-8)


def test_labels_as_indices_one_hot_and_probabilities(x):
    classifier = small_classifier()
    rows = np.eye(5, dtype=np.float32)[Y]
    np.testing.assert_array_equal(classifier.loss_gradient(x, Y), classifier.loss_gradient(x, rows))
    soft = 0.9 * rows + 0.02
    expected = rule_gradient(classifier, x, lambda z: nn.functional.cross_entropy(z, torch.from_numpy(soft)))
    np.testing.assert_allclose(classifier.loss_gradient(x, soft), expected, rtol=1e-5, atol=1e-8)


def test_training_mode_gradient_is_the_networks_own(x):
    classifier = small_classifier()
    for module in classifier.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0
    found = classifier.loss_gradient(x, Y, training_mode=True)
    leaf = torch.from_numpy(x).requires_grad_()
    network = classifier.model.network.train()
    expected = torch.autograd.grad(nn.functional.cross_entropy(network(leaf), torch.from_numpy(Y)), leaf)[0]
    network.eval()
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-8)
    assert np.abs(found - classifier.loss_gradient(x, Y)).max() > 1e-4


def test_loss_is_computed_without_and_with_a_graph(x):
    classifier = small_classifier()
    loss = classifier.loss
    z = torch.from_numpy(classifier.predict(x))
    expected = nn.functional.cross_entropy(z, torch.from_numpy(Y), reduction="none").numpy()
    np.testing.assert_allclose(classifier.compute_loss(x, Y), expected, rtol=1e-5)
    np.testing.assert_allclose(classifier.compute_loss(x, Y, reduction="sum"), expected.sum(), rtol=1e-5)
    leaf = torch.from_numpy(x).requires_grad_()
    value = classifier.compute_loss(leaf, torch.from_numpy(Y), reduction="mean")
    found = torch.autograd.grad(value, leaf)[0].numpy()
    np.testing.assert_allclose(found, classifier.loss_gradient(x, Y), rtol=1e-5, atol=1e-8)
    assert loss.reduction == "mean"
    with pytest.raises(ValueError, match="'average'"):
        classifier.compute_loss(x, Y, reduction="average")


def test_all_zero_gradients_are_reported(x):
    classifier = small_classifier(SpikingNetwork(DirectEncoder(time_steps=4), body(nn.Linear(16, 5))))
    classifier.gradient_rule = "bptr"
    with torch.no_grad():
        classifier.model.network.body[1].bias.fill_(-100.0)
    with pytest.warns(GradientWarning, match="all zero"):
        grad = classifier.loss_gradient(x, Y)
    assert not grad.any()
    with pytest.warns(GradientWarning, match="all zero"):
        classifier.class_gradient(x, label=2)


def test_gradients_that_are_not_finite_are_not_passed_on(x):
    class Log(nn.CrossEntropyLoss):
        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return (logits[:, 0] - logits[:, 0].detach()).sqrt().sum()

    network, _ = make_network("plain")
    classifier = PyTorchSNNClassifier(network, Log(), (2, 8, 8), 5, device_type="cpu")
    with pytest.warns(GradientWarning, match="NaN or inf"):
        grad = classifier.loss_gradient(x, Y)
    assert np.isfinite(grad).all()


def test_custom_loss_gradient_takes_arrays_and_tensors(x):
    classifier = small_classifier()
    name = classifier.layer_names[-1]
    leaf = torch.from_numpy(x).requires_grad_()
    target = torch.from_numpy(classifier.predict(x[::-1].copy()))
    expected = torch.autograd.grad(torch.norm(classifier.model(leaf) - target, p=2), leaf)[0].numpy()
    np.testing.assert_allclose(
        classifier.custom_loss_gradient(torch.norm, x, x[::-1].copy(), name), expected, rtol=1e-4, atol=1e-8
    )
    found = classifier.custom_loss_gradient(torch.norm, torch.from_numpy(x), torch.from_numpy(x[::-1].copy()), name)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("rule", ["hart", "stbp", "cba"])
def test_inference_mode_changes_nothing(x, rule):
    classifier = small_classifier(gradient_rule=rule)
    calls = (lambda v: classifier.loss_gradient(v, Y), classifier.class_gradient, classifier.predict)
    expected = [call(x) for call in calls]
    with torch.inference_mode():
        for call, value in zip(calls, expected, strict=True):
            np.testing.assert_array_equal(call(x), value)
        tensor = torch.from_numpy(x) * 1
        assert tensor.is_inference()
        np.testing.assert_array_equal(classifier.loss_gradient(tensor, Y).numpy(), expected[0])
        small_classifier(classifier.model.network).fit(x, Y, nb_epochs=1)
        made_there, _ = make_network("plain")
    assert np.abs(classifier.predict(x) - expected[2]).max() > 0
    with pytest.raises(UnsupportedModelError, match=r"is an inference tensor.*outside torch\.inference_mode\(\)"):
        small_classifier(made_there)


@pytest.mark.parametrize(("reduction", "factor"), [("none", 1), ("mean", 1), ("sum", 4)])
def test_losses_may_have_any_reduction(x, reduction, factor):
    expected = small_classifier().loss_gradient(x, Y)
    network, _ = make_network("plain")
    loss = nn.CrossEntropyLoss(reduction=reduction)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    classifier = PyTorchSNNClassifier(network, loss, (2, 8, 8), 5, optimizer=optimizer, device_type="cpu")
    np.testing.assert_allclose(classifier.loss_gradient(x, Y), factor * expected, rtol=1e-5, atol=1e-9)
    before = classifier.compute_loss(x, Y).mean()
    classifier.fit(x, Y, nb_epochs=5, training_mode=False)
    assert classifier.compute_loss(x, Y).mean() < before


@pytest.mark.parametrize("name", rule_names())
def test_autocast_changes_no_prediction_and_no_gradient(name):
    network, x = make_network("plain")
    classifier, inputs = small_classifier(network, gradient_rule=name), x.numpy()

    def run() -> list[np.ndarray]:
        return [
            classifier.predict(inputs),
            classifier.loss_gradient(inputs, Y),
            classifier.class_gradient(inputs, 1),
            classifier.compute_loss(inputs, Y),
        ]

    expected = run()
    with torch.autocast("cpu", torch.bfloat16):
        found = run()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
