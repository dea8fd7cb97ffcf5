"""Defences in the gradient, and the estimates of those on arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.attacks.evasion import FeatureAdversariesPyTorch
from art.defences.preprocessor import FeatureSqueezing, GaussianAugmentation, SpatialSmoothing
from torch import nn

from art_snn import LIF, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network


def test_defences_are_in_the_gradient(x):
    shifted = small_classifier(preprocessing=(0.25, 2.0))
    plain = small_classifier(shifted.model.network)
    inner = (x - 0.25) / 2
    np.testing.assert_allclose(shifted.predict(x), plain.predict(inner), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shifted.loss_gradient(x, Y), plain.loss_gradient(inner, Y) / 2, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(shifted.class_gradient(x), plain.class_gradient(inner) / 2, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    "defence",
    [
        FeatureSqueezing(clip_values=(0, 1), bit_depth=3),
        SpatialSmoothing(window_size=3),
        GaussianAugmentation(sigma=0.1),
    ],
    ids=["squeezing", "smoothing", "gaussian"],
)
def test_numpy_defences_work(x, defence):
    classifier = small_classifier(preprocessing_defences=defence, clip_values=(0, 1))
    assert classifier.predict(x).shape == (4, 5)
    grad = classifier.loss_gradient(x, Y)
    assert grad.shape == x.shape
    assert np.abs(grad).max() > 0
    as_tensor = classifier.loss_gradient(torch.from_numpy(x), torch.from_numpy(Y))
    np.testing.assert_allclose(as_tensor.numpy(), grad, rtol=1e-5, atol=1e-8)
    assert classifier.class_gradient(x, label=1).shape == (4, 1, 2, 8, 8)
    classifier.fit(x, Y, nb_epochs=1)


def squeezed(kind: str = "plain", **options: object) -> tuple[PyTorchSNNClassifier, torch.Tensor]:
    """A classifier behind a defence on arrays and a standardisation, and inputs for it."""
    network, inputs = make_network(kind)
    shape = tuple(inputs.shape[1:])
    defence = FeatureSqueezing(clip_values=(0, 1), bit_depth=3)
    options = {"clip_values": (0, 1), "preprocessing": (0.25, 2.0), **options}
    return small_classifier(network, input_shape=shape, preprocessing_defences=defence, **options), inputs.clamp(0, 1)


@pytest.mark.parametrize("kind", ["plain", "event-frame"])
def test_tensors_behind_array_defences_have_the_defences_estimate(kind):
    classifier, leaf = squeezed(kind)
    leaf.requires_grad_()
    rows = torch.eye(5)[Y]
    array = leaf.detach().numpy()
    expected = classifier.loss_gradient(array, Y)
    assert np.abs(expected).max() > 0

    losses = classifier.compute_loss(leaf, torch.from_numpy(Y))
    np.testing.assert_allclose(losses.detach().numpy(), classifier.compute_loss(array, Y), rtol=1e-5, atol=1e-6)
    for _ in range(2):
        (grad,) = torch.autograd.grad(losses.mean(), leaf, retain_graph=True)
        np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-8)

    logits, labels = classifier._predict_framework(leaf, rows)
    assert isinstance(labels, torch.Tensor)
    assert torch.equal(labels, rows)
    np.testing.assert_allclose(logits.detach().numpy(), classifier.predict(array), rtol=1e-5, atol=1e-6)
    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), leaf)
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-8)
    assert classifier._predict_framework(leaf)[1] is None

    name = classifier.layer_names[-1]
    output = classifier.get_activations(leaf, name, framework=True)
    np.testing.assert_allclose(output.detach().numpy(), classifier.get_activations(array, name), rtol=1e-4, atol=1e-5)
    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(output, labels), leaf)
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-8)

    for inputs in (leaf.detach(), leaf.detach().double()):
        found = classifier.get_activations(inputs, name, framework=True).detach()
        torch.testing.assert_close(found, output.detach(), rtol=1e-5, atol=1e-6)
        found = classifier.compute_loss(inputs, rows).detach()
        torch.testing.assert_close(found, losses.detach(), rtol=1e-5, atol=1e-6)


def test_the_estimate_is_the_one_that_the_defence_gives(x):
    class Doubling(FeatureSqueezing):
        def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
            return 2.0 * x.astype(np.float64) * grad

    plain = small_classifier(preprocessing_defences=FeatureSqueezing((0, 1), bit_depth=3))
    classifier = small_classifier(plain.model.network, preprocessing_defences=Doubling((0, 1), bit_depth=3))
    leaf = torch.from_numpy(x).requires_grad_()
    (grad,) = torch.autograd.grad(classifier.compute_loss(leaf, Y, reduction="mean"), leaf, create_graph=True)
    assert grad.dtype == torch.float32
    np.testing.assert_allclose(grad.detach().numpy(), 2 * x * plain.loss_gradient(x, Y), rtol=1e-4, atol=1e-8)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_attacks_through_autograd_work_behind_array_defences(x):
    classifier, _ = squeezed()
    target = np.ascontiguousarray(x[::-1])
    attack = FeatureAdversariesPyTorch(
        classifier, delta=0.2, layer=classifier.layer_names[-1], max_iter=5, step_size=0.05, verbose=False
    )
    before, after = (classifier.get_activations(v, -1) for v in (x, attack.generate(x, target)))
    wanted = classifier.get_activations(target, -1)
    assert np.abs(after - wanted).mean() < np.abs(before - wanted).mean()

    pytest.importorskip("torchvision")
    from art.attacks.evasion import AdversarialPatchPyTorch, GRAPHITEWhiteboxPyTorch

    options = {"rotation_max": 0.0, "scale_min": 0.9, "scale_max": 1.0, "batch_size": 4, "verbose": False}
    patches = AdversarialPatchPyTorch(
        classifier, patch_shape=(2, 8, 8), max_iter=10, learning_rate=0.2, targeted=False, optimizer="pgd", **options
    )
    patches.generate(x, Y)
    loss = classifier.compute_loss(patches.apply_patch(x, scale=1.0), Y).mean()
    assert loss > classifier.compute_loss(x, Y).mean()
    # GRAPHITE lays its noise over RGB or grey images.
    grey = SpikingNetwork(
        DirectEncoder(time_steps=4), nn.Sequential(nn.Flatten(), nn.Linear(64, 16), LIF(decay=0.9), nn.Linear(16, 5))
    )
    defence = FeatureSqueezing(clip_values=(0, 1), bit_depth=5)
    classifier = small_classifier(grey, input_shape=(1, 8, 8), clip_values=(0, 1), preprocessing_defences=defence)
    graphite = GRAPHITEWhiteboxPyTorch(
        classifier, net_size=(8, 8), min_tr=1.0, num_xforms=2, step_size=0.05, steps=2, first_steps=3, blur_kernels=[0]
    )
    assert graphite.generate(x[:1, :1], np.eye(5, dtype=np.float32)[[3]]).shape == (1, 1, 8, 8)
