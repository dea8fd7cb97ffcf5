"""Gradients of a loss of each sample's own, and the logits of the same pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.preprocessor import FeatureSqueezing
from art.preprocessing.expectation_over_transformation import EoTImageRotationPyTorch
from torch import Tensor
from torch.nn import functional

from art_snn import rule_names
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network
from tests.test_contracts import assert_same, reseed, snapshot


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize("kind", ["plain", "event-frame"])
def test_gradients_are_those_of_the_loss_and_logits_those_of_predict(rule, kind):
    network, x = make_network(kind)
    classifier = small_classifier(network, input_shape=tuple(x.shape[1:]), gradient_rule=rule)
    before = snapshot(classifier.model)
    gradient, logits = classifier.gradient_and_logits(x.numpy(), Y, cross_entropies)
    assert_same(before, snapshot(classifier.model))
    assert isinstance(gradient, np.ndarray)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient / 4, classifier.loss_gradient(x.numpy(), Y), rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(logits.numpy(), classifier.predict(x.numpy()), rtol=1e-5, atol=1e-6)
    assert not logits.requires_grad
    as_tensor, _ = classifier.gradient_and_logits(x, np.eye(5)[Y], cross_entropies)
    assert isinstance(as_tensor, Tensor)
    np.testing.assert_array_equal(as_tensor.numpy(), gradient)


def test_each_row_is_the_gradient_of_its_own_loss():
    network, x = make_network("plain")
    classifier = small_classifier(network).with_rule("hart", warn=False)  # of the gradient that is zero
    weights = torch.tensor([1.0, 0.0, -2.0, 0.5])
    gradient, _ = classifier.gradient_and_logits(x.numpy(), Y, lambda z, y: weights * cross_entropies(z, y))
    plain, _ = classifier.gradient_and_logits(x.numpy(), Y, cross_entropies)
    expected = weights.numpy().reshape(4, 1, 1, 1) * plain
    np.testing.assert_allclose(gradient[[0, 2, 3]], expected[[0, 2, 3]], rtol=1e-5, atol=1e-9)
    assert (gradient[1] == 0).all()


def test_both_are_means_over_encodings():
    network, x = make_network("poisson")
    many = small_classifier(network, clip_values=(0, 1), eot_samples=3)
    reseed(network)
    gradient, logits = many.gradient_and_logits(x.numpy(), Y, cross_entropies)
    one = small_classifier(network, clip_values=(0, 1), eot_samples=1)
    reseed(network)
    singles = [one.gradient_and_logits(x.numpy(), Y, cross_entropies) for _ in range(3)]
    np.testing.assert_allclose(gradient, np.mean([each[0] for each in singles], axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(logits.numpy(), np.mean([each[1].numpy() for each in singles], axis=0), rtol=1e-5)
    assert len({float(each[1].sum()) for each in singles}) == 3


def test_defences_on_arrays_have_their_estimates():
    network, x = make_network("plain")
    defence = FeatureSqueezing(clip_values=(0, 1), bit_depth=3)
    classifier = small_classifier(network, clip_values=(0, 1), preprocessing_defences=defence)
    gradient, logits = classifier.gradient_and_logits(x, Y, cross_entropies)
    np.testing.assert_allclose(gradient.numpy() / 4, classifier.loss_gradient(x.numpy(), Y), rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(logits.numpy(), classifier.predict(x.numpy()), rtol=1e-5, atol=1e-6)


def test_a_defence_that_makes_several_inputs_of_one_is_refused():
    network, x = make_network("plain")
    rotations = EoTImageRotationPyTorch(nb_samples=3, angles=5.0, clip_values=(0, 1), apply_predict=True)
    classifier = small_classifier(network, clip_values=(0, 1), preprocessing_defences=rotations)
    with pytest.raises(ValueError, match="makes 12 inputs of 4, which have no logits of their own"):
        classifier.gradient_and_logits(x.numpy(), Y, cross_entropies)
