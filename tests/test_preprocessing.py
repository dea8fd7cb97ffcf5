"""Preprocessors that read video, on event frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.preprocessor import Cutout, CutoutPyTorch, JpegCompression, TotalVarMin
from torch import nn

from art_snn import PyTorchSNNClassifier, UnsupportedInputError, for_event_frames
from tests.conftest import make_network

Y = np.array([0, 1, 2, 4])


def make(**options: object) -> tuple[PyTorchSNNClassifier, np.ndarray]:
    network, x = make_network("event-frame")
    options = {"device_type": "cpu", "clip_values": (0.0, 1.0), **options}
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 5, **options), x.numpy().clip(0, 1)


@pytest.mark.parametrize(
    "defence",
    [Cutout(length=2, channels_first=True), JpegCompression((0.0, 1.0), channels_first=True), TotalVarMin()],
    ids=lambda defence: type(defence).__name__,
)
def test_what_would_misread_frames_is_refused(defence):
    name = type(defence).__name__
    with pytest.raises(UnsupportedInputError, match=f"{name} cannot take event frames"):
        make(preprocessing_defences=defence)
    classifier, x = make()
    before = classifier.predict(x)
    with pytest.raises(UnsupportedInputError, match=f"{name} cannot take event frames"):
        classifier.set_params(preprocessing_defences=[defence])
    assert classifier.preprocessing_defences is None
    np.testing.assert_array_equal(classifier.predict(x), before)


def test_wrapped_defence_is_the_defence_on_swapped_axes():
    classifier, x = make()
    plain = JpegCompression((0.0, 1.0), quality=30, channels_first=True, apply_predict=True)
    expected = np.swapaxes(plain(np.swapaxes(x, 1, 2))[0], 1, 2)
    np.testing.assert_array_equal(for_event_frames(plain)(x)[0], expected)
    clean = classifier.predict(expected)
    gradient = classifier.loss_gradient(expected, Y)
    classifier.set_params(preprocessing_defences=for_event_frames(plain))
    np.testing.assert_allclose(classifier.predict(x), clean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(classifier.loss_gradient(x, Y), gradient, rtol=1e-4, atol=1e-8)


def test_wrapped_defence_on_tensors_keeps_the_graph():
    defence = CutoutPyTorch(length=4, channels_first=True, apply_predict=True, device_type="cpu")
    wrapped = for_event_frames(defence)
    frames = torch.ones(2, 3, 2, 8, 8, requires_grad=True)
    np.random.seed(0)
    torch.manual_seed(0)
    found, _ = wrapped.forward(frames)
    np.random.seed(0)
    torch.manual_seed(0)
    expected = defence.forward(frames.detach().transpose(1, 2))[0].transpose(1, 2)
    assert torch.equal(found, expected)
    assert (found == 0).any()
    assert (found[:, :, 0] == found[:, :, 1]).all()  # both polarities of a frame lose the same pixels
    (grad,) = torch.autograd.grad(found.sum(), frames)
    assert torch.equal(grad, (found != 0).float())
    classifier, x = make(preprocessing_defences=wrapped)
    assert classifier.all_framework_preprocessing
    assert np.abs(classifier.loss_gradient(x, Y)).max() > 0


def test_images_keep_arts_preprocessors():
    network, x = make_network("plain")
    defence = Cutout(length=2, channels_first=True, apply_predict=True)
    classifier = PyTorchSNNClassifier(
        network, nn.CrossEntropyLoss(), (2, 8, 8), 5, preprocessing_defences=defence, device_type="cpu"
    )
    assert classifier.predict(x.numpy()).shape == (4, 5)


def test_only_preprocessors_can_be_wrapped():
    with pytest.raises(TypeError, match="defence must be a preprocessor of ART, got str"):
        for_event_frames("cutout")
    assert repr(for_event_frames(Cutout(length=2, channels_first=True))).startswith("for_event_frames(")
