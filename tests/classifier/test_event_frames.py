"""Preprocessors and standardisation on event frames."""

from __future__ import annotations

import copy
import pickle
from importlib import import_module

import numpy as np
import pytest
import torch
from art.attacks.evasion import AutoProjectedGradientDescent
from art.defences.preprocessor import Cutout, CutoutPyTorch, FeatureSqueezing, JpegCompression, TotalVarMin
from art.preprocessing.image import ImageResize, ImageResizePyTorch, ImageSquarePad, ImageSquarePadPyTorch
from art.preprocessing.standardisation_mean_std.numpy import StandardisationMeanStd
from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch
from torch import nn

from art_snn import PyTorchSNNClassifier, UnsupportedInputError, for_event_frames
from art_snn.classifier import event_frames as preprocessing
from tests.classifier.classifiers import Y
from tests.conftest import make_network


def event_classifier(**options: object) -> tuple[PyTorchSNNClassifier, np.ndarray]:
    network, x = make_network("event-frame")
    options = {"device_type": "cpu", "clip_values": (0.0, 1.0), **options}
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 5, **options), x.numpy().clip(0, 1)


@pytest.mark.parametrize(
    "defence",
    [
        Cutout(length=2, channels_first=True),
        ImageResize(8, 8, channels_first=True, apply_predict=True),
        ImageResizePyTorch(8, 8, channels_first=True, apply_predict=True),
        ImageSquarePad(channels_first=True, apply_predict=True),
        ImageSquarePadPyTorch(channels_first=True, apply_predict=True),
        JpegCompression((0.0, 1.0), channels_first=True),
        TotalVarMin(),
    ],
    ids=lambda defence: type(defence).__name__,
)
def test_what_would_misread_frames_is_refused(defence):
    name = type(defence).__name__
    for option in ("preprocessing_defences", "preprocessing"):
        with pytest.raises(UnsupportedInputError, match=f"{name} cannot take event frames"):
            event_classifier(**{option: defence})
    classifier, x = event_classifier()
    before = classifier.predict(x)
    with pytest.raises(UnsupportedInputError, match=f"{name} cannot take event frames"):
        classifier.set_params(preprocessing_defences=[defence])
    assert classifier.preprocessing_defences is None
    np.testing.assert_array_equal(classifier.predict(x), before)


def test_wrapped_defence_is_the_defence_on_swapped_axes():
    classifier, x = event_classifier()
    plain = JpegCompression((0.0, 1.0), quality=30, channels_first=True, apply_predict=True)
    expected = np.swapaxes(plain(np.swapaxes(x, 1, 2))[0], 1, 2)
    np.testing.assert_array_equal(for_event_frames(plain)(x)[0], expected)
    clean = classifier.predict(expected)
    gradient = classifier.loss_gradient(expected, Y)
    classifier.set_params(preprocessing_defences=for_event_frames(plain))
    np.testing.assert_allclose(classifier.predict(x), clean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(classifier.loss_gradient(x, Y), gradient, rtol=1e-4, atol=1e-8)


def test_wrapped_defence_estimates_gradients_of_all_classes():
    class Weighted(FeatureSqueezing):
        def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
            return grad * np.float32([1, 3])[:, None, None, None]  # (N, C, T, H, W) or (N, K, C, T, H, W)

    classifier, x = event_classifier(preprocessing_defences=for_event_frames(Weighted((0.0, 1.0), bit_depth=4)))
    plain, _ = event_classifier(preprocessing_defences=FeatureSqueezing((0.0, 1.0), bit_depth=4))
    weight = np.float32([1, 3])[:, None, None]
    np.testing.assert_allclose(classifier.loss_gradient(x, Y), weight * plain.loss_gradient(x, Y), rtol=1e-5)
    np.testing.assert_allclose(classifier.class_gradient(x), weight * plain.class_gradient(x), rtol=1e-5)


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
    classifier, x = event_classifier(preprocessing_defences=wrapped)
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
    with pytest.raises(UnsupportedInputError, match=r"TotalVarMin cannot take event frames .* made for images"):
        for_event_frames(TotalVarMin())
    assert repr(for_event_frames(Cutout(length=2, channels_first=True))).startswith("for_event_frames(")


def test_the_preprocessors_that_are_listed_are_arts():
    modules = [
        import_module(f"art.{name}")
        for name in ("defences.preprocessor", "preprocessing.expectation_over_transformation", "preprocessing.image")
    ]
    for name in (*preprocessing._READ_VIDEO, *preprocessing._IMAGES_ONLY):
        names = (name, f"{name}PyTorch")
        assert any(isinstance(getattr(module, name, None), type) for module in modules for name in names), name


# --- mean and divisor ------------------------------------------------------------------------------------------------

MEAN, STD = np.array([0.2, 0.7], dtype=np.float32), np.array([0.5, 2.0], dtype=np.float32)  # one a channel
ROUTES = {
    "pair": lambda: {"preprocessing": (MEAN, STD)},
    "lists": lambda: {"preprocessing": (MEAN.tolist(), STD.tolist())},
    "array preprocessor": lambda: {"preprocessing": StandardisationMeanStd(MEAN, STD)},
    "tensor preprocessor": lambda: {"preprocessing": StandardisationMeanStdPyTorch(MEAN, STD, device_type="cpu")},
    "defence": lambda: {"preprocessing_defences": [StandardisationMeanStdPyTorch(MEAN, STD, device_type="cpu")]},
    "single defence": lambda: {"preprocessing_defences": StandardisationMeanStd(MEAN, STD)},
}


def per_channel(x: np.ndarray, mean: np.ndarray = MEAN, std: np.ndarray = STD) -> np.ndarray:
    return (x - mean[:, None, None]) / std[:, None, None]


@pytest.mark.filterwarnings("ignore::art_snn.errors.InputRangeWarning")  # the values are not the point here
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("late", [False, True], ids=["constructor", "set_params"])
def test_one_mean_a_channel_is_on_the_channels(route, late):
    classifier, frames = event_classifier(**({} if late else route()))
    if late:
        classifier.set_params(**route())
    plain, _ = event_classifier(preprocessing=None)
    divisor = STD[:, None, None]
    for n, t in ((3, 5), (3, 2), (2, 5), (2, 2)):  # C is 2, too
        x, y = frames[:n, :t], Y[:n]
        inner = per_channel(x)
        np.testing.assert_allclose(classifier.predict(x), plain.predict(inner), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(classifier.compute_loss(x, y), plain.compute_loss(inner, y), rtol=1e-5, atol=1e-6)
        expected = plain.loss_gradient(inner, y) / divisor
        np.testing.assert_allclose(classifier.loss_gradient(x, y), expected, rtol=1e-4, atol=1e-8)
        every = plain.class_gradient(inner) / divisor
        np.testing.assert_allclose(classifier.class_gradient(x), every, rtol=1e-4, atol=1e-8)
        leaf = torch.from_numpy(x).requires_grad_()
        (grad,) = torch.autograd.grad(classifier.compute_loss(leaf, y, reduction="mean"), leaf)
        np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("late", [False, True], ids=["constructor", "set_params"])
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))], ids=["deepcopy", "pickle"])
def test_copies_keep_the_mean_on_the_channels(late, copier):
    network, x = make_network("event-frame")
    x = x.numpy()[:2, :2]
    options = {} if late else {"preprocessing": (MEAN, STD)}
    optimizer = torch.optim.Adam(network.parameters())
    classifier = PyTorchSNNClassifier(
        network, nn.CrossEntropyLoss(), (2, 2, 8, 8), 5, optimizer=optimizer, device_type="cpu", **options
    )
    if late:
        classifier.set_params(preprocessing=(MEAN, STD))
    classifier.predict(x)
    twin = copier(classifier)
    np.testing.assert_array_equal(twin.predict(x), classifier.predict(x))
    np.testing.assert_array_equal(twin.loss_gradient(x, Y[:2]), classifier.loss_gradient(x, Y[:2]))
    twin.set_params(**twin.get_params())
    for other in (classifier, twin, classifier.clone_for_refitting()):
        with torch.no_grad():
            expected = other.model(torch.from_numpy(per_channel(x))).numpy()
        np.testing.assert_allclose(other.predict(x), expected, rtol=1e-5, atol=1e-6)


def test_attacks_that_rebuild_a_plain_classifier_keep_the_mean_on_the_channels():
    classifier, x = event_classifier(preprocessing=(MEAN, STD))
    attack = AutoProjectedGradientDescent(classifier, loss_type="cross_entropy", max_iter=1, verbose=False)
    assert attack.estimator is not classifier
    x = x[:2, :2]
    np.testing.assert_allclose(attack.estimator.predict(x), classifier.predict(x), rtol=1e-5, atol=1e-6)
    expected = classifier.loss_gradient(x, Y[:2])
    found = attack.estimator.loss_gradient(x, np.eye(5, dtype=np.float32)[Y[:2]])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.filterwarnings("ignore::art_snn.errors.InputRangeWarning")  # the values are not the point here
def test_means_of_other_shapes():
    plain, x = event_classifier(preprocessing=None)
    array = np.random.default_rng(0).random((2, 8, 8), dtype=np.float32)
    for mean, std, inner in (
        (0.2, 2.0, (x - 0.2) / 2),
        ([0.2], [2.0], (x - 0.2) / 2),
        (0.2, STD, per_channel(x, np.float32([0.2, 0.2]))),
        (MEAN, [2.0], per_channel(x, MEAN, np.float32([2, 2]))),
        (array, STD, (x - array) / STD[:, None, None]),
        (MEAN[:, None, None], STD[:, None, None], per_channel(x)),
    ):
        found = event_classifier(preprocessing=(mean, std))[0].predict(x)
        np.testing.assert_allclose(found, plain.predict(inner), rtol=1e-5, atol=1e-6)
    given = StandardisationMeanStd(MEAN, STD)
    event_classifier(preprocessing=given)
    assert given.mean.shape == (2,)  # the caller's own is left alone


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (np.zeros(3), r"mean of 3 values.* C = 2 channels"),
        (np.zeros(5), r"mean of 5 values"),  # as many as frames
        (np.zeros(4), r"mean of 4 values"),  # as many as samples
        (np.zeros(8), r"mean of 8 values"),  # as many as columns
        (np.zeros((3, 1, 1)), r"mean of shape \(3, 1, 1\)"),
        (np.zeros((2, 2)), r"mean of shape \(2, 2\)"),
    ],
    ids=["other", "frames", "samples", "columns", "array", "matrix"],
)
def test_means_that_are_not_one_a_channel_are_refused(mean, message):
    classifier, x = event_classifier(preprocessing=(MEAN, STD))
    before = classifier.predict(x)
    for given in ((mean, 1.0), (mean, np.ones_like(mean)), StandardisationMeanStd(mean, np.ones_like(mean))):
        with pytest.raises(ValueError, match=message):
            event_classifier(preprocessing=given)
        with pytest.raises(ValueError, match=message):
            classifier.set_params(preprocessing=given)
    with pytest.raises(ValueError, match="std of 3 values"):
        event_classifier(preprocessing=(0.0, np.ones(3)))
    np.testing.assert_array_equal(classifier.predict(x), before)


def test_a_defence_that_gives_other_channels_may_have_a_mean_for_them():
    from art.defences.preprocessor import ThermometerEncoding

    from art_snn import LIF, EventFrameEncoder, SpikingNetwork

    body = nn.Sequential(nn.Flatten(), nn.Linear(6 * 64, 16), LIF(decay=0.9), nn.Linear(16, 5))
    network = SpikingNetwork(EventFrameEncoder(), body)
    defence = for_event_frames(ThermometerEncoding((0.0, 1.0), num_space=3, channels_first=True))
    mean = np.arange(6, dtype=np.float32) / 6
    classifier = PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        (6, 2, 8, 8),
        5,
        preprocessing_defences=defence,
        preprocessing=(mean, np.ones(6)),
        device_type="cpu",
    )
    x = np.random.default_rng(0).random((6, 6, 2, 8, 8), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(defence(x)[0] - mean[:, None, None]).float()).numpy()
    np.testing.assert_allclose(classifier.predict(x), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"mean of shape \(6, 1, 1\)"):
        classifier.set_params(preprocessing_defences=None)
    assert len(classifier.preprocessing_defences) == 1


def test_a_pair_set_later_stays_in_the_graph():
    network, x = make_network("plain")
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu")
    classifier.set_params(preprocessing=(0.25, 2.0))
    assert classifier.all_framework_preprocessing
    with pytest.raises(ValueError, match=r"preprocessing must be a pair \(mean, std\), got 1 values"):
        classifier.set_params(preprocessing=(0.25,))
    with pytest.raises(ValueError, match=r"preprocessing must be a pair \(mean, std\), got 3 values"):
        event_classifier(preprocessing=(0.0, 1.0, 2.0))
    squeezed, _ = event_classifier(
        preprocessing_defences=FeatureSqueezing((0.0, 1.0), bit_depth=3), preprocessing=(MEAN, STD)
    )
    assert not squeezed.all_framework_preprocessing
    plain = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (2, 8, 8), 5, preprocessing=None, device_type="cpu")
    x = x.numpy()
    np.testing.assert_allclose(classifier.predict(x), plain.predict((x - 0.25) / 2), rtol=1e-5, atol=1e-6)
