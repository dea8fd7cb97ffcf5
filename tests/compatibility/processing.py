"""ART's preprocessors and postprocessors, set on a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from art.defences import postprocessor as post
from art.defences import preprocessor as pre
from art.defences.preprocessor.preprocessor import Preprocessor, PreprocessorPyTorch
from art.preprocessing import expectation_over_transformation as eot
from art.preprocessing.image import ImageResize, ImageResizePyTorch, ImageSquarePad, ImageSquarePadPyTorch
from art.preprocessing.standardisation_mean_std import StandardisationMeanStd, StandardisationMeanStdPyTorch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from art_snn import (
    LIF,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    PyTorchSNNClassifier,
    SpikingNetwork,
    for_event_frames,
)
from tests.compatibility.probabilities import Softmax
from tests.compatibility.table import ART_REFUSES, CLASS, LOSS, MODEL, REFUSED, SOURCE, Case, Table

TABLE = Table()
FAMILY = "Preprocessors and postprocessors"
CLIP = (0.0, 1.0)
SAMPLES = 4


def _seed() -> None:
    """Let random defences draw the same again."""
    torch.manual_seed(0)
    np.random.seed(0)


def _close(found: np.ndarray, expected: np.ndarray | Tensor) -> None:
    expected = expected.detach().numpy() if isinstance(expected, Tensor) else expected
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def _trains(case: Case) -> None:
    """Assert that a short `fit` moves the weights."""
    before = [parameter.detach().clone() for parameter in case.classifier.model.parameters()]
    case.classifier.fit(case.x_train[:32], case.y_train[:32], batch_size=16, nb_epochs=1)
    after = list(case.classifier.model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in after)


def _defended(case: Case, defence: Preprocessor) -> None:
    """Assert that a defence is in force in every method, with the rule's gradient behind it."""
    classifier = case.classifier
    classifier.set_params(preprocessing_defences=defence)
    x, y = case.x[:SAMPLES], case.y[:SAMPLES]
    # What the model should get, and its labels.
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    inputs, rows = leaf, torch.from_numpy(y.copy())
    if defence.apply_predict and isinstance(defence, PreprocessorPyTorch):
        _seed()
        inputs, rows = defence.forward(leaf, rows)
    elif defence.apply_predict:
        _seed()
        processed, labels = defence(x.copy(), y.copy())
        inputs = leaf = torch.tensor(processed, dtype=torch.float32, requires_grad=True)
        rows = torch.from_numpy(labels)
    logits = classifier.model(inputs)
    targets = rows.argmax(1)

    def back(total: Tensor) -> np.ndarray:
        (gradient,) = torch.autograd.grad(total, leaf, retain_graph=True)
        if not defence.apply_predict or isinstance(defence, PreprocessorPyTorch):
            return gradient.numpy()
        return defence.estimate_gradient(x, gradient.numpy())

    _seed()
    _close(classifier.predict(x), logits)
    _seed()
    _close(classifier.loss_gradient(x, y), back(cross_entropy(logits, targets)))
    _seed()
    _close(classifier.class_gradient(x, label=1), back(logits[:, 1].sum())[:, None])
    _seed()
    chosen = logits.gather(1, targets[:, None])
    _close(classifier.class_gradient(x, label=y.argmax(1)), back(chosen.sum())[:, None])
    _seed()
    _close(classifier.compute_loss(x, y), cross_entropy(logits, targets, reduction="none"))
    _trains(case)


def _smooths_over_time(case: Case) -> None:
    """Assert that ART's smoothing changes frames that have nothing to smooth, only other frames beside them."""
    x = np.zeros_like(case.x[:1])
    x[:, ::2] = 1
    case.classifier.set_params(preprocessing_defences=pre.TotalVarMin(clip_values=CLIP))
    _seed()
    assert not np.allclose(case.classifier.preprocessing_defences[0](x)[0], x, atol=1e-3)


def _takes_steps_for_channels(case: Case) -> None:
    """Assert that ART takes three steps for the channels of an RGB video."""
    x = case.x[:1, :3]
    defence = pre.VideoCompression(video_format="mp4", channels_first=True)
    assert defence(255 * x)[0].shape == x.shape


PATHS = [LOSS, CLASS, MODEL]  # MODEL: by the row itself, to compare
LABELS = "needs labels, so in training only"
RANDOM = "random"

# Name to its making, options of the row, and whether it reads video and so wants `for_event_frames`.
_Make = Callable[[], Preprocessor]
PREPROCESSORS: dict[str, tuple[_Make, dict[str, Any], bool]] = {
    "CutMix": (lambda: pre.CutMix(num_classes=10, channels_first=True), {"note": LABELS}, True),
    "CutMixPyTorch": (
        lambda: pre.CutMixPyTorch(num_classes=10, channels_first=True, device_type="cpu"),
        {"note": LABELS},
        True,
    ),
    "Cutout": (lambda: pre.Cutout(length=2, channels_first=True, apply_predict=True), {"note": RANDOM}, True),
    "CutoutPyTorch": (
        lambda: pre.CutoutPyTorch(length=2, channels_first=True, apply_predict=True, device_type="cpu"),
        {"note": RANDOM},
        True,
    ),
    "FeatureSqueezing": (lambda: pre.FeatureSqueezing(clip_values=CLIP, bit_depth=2), {}, False),
    "GaussianAugmentation": (
        lambda: pre.GaussianAugmentation(sigma=0.1, augmentation=False, clip_values=CLIP, apply_predict=True),
        {"note": RANDOM},
        False,
    ),
    "GaussianAugmentation, augmentation=True": (
        lambda: pre.GaussianAugmentation(sigma=0.1, augmentation=True, clip_values=CLIP),
        {"note": "in training only"},
        False,
    ),
    "JpegCompression": (lambda: pre.JpegCompression(clip_values=CLIP, quality=80, channels_first=True), {}, True),
    "LabelSmoothing": (lambda: pre.LabelSmoothing(max_value=0.9), {"note": LABELS}, False),
    "Mixup": (lambda: pre.Mixup(num_classes=10), {"note": LABELS}, False),
    "MixupPyTorch": (lambda: pre.MixupPyTorch(num_classes=10, device_type="cpu"), {"note": LABELS}, False),
    "SpatialSmoothing": (
        lambda: pre.SpatialSmoothing(window_size=3, channels_first=True, clip_values=CLIP),
        {},
        False,
    ),
    "SpatialSmoothingPyTorch": (
        lambda: pre.SpatialSmoothingPyTorch(window_size=3, channels_first=True, clip_values=CLIP, device_type="cpu"),
        {"needs": ("kornia",)},
        False,
    ),
    "StandardisationMeanStd": (lambda: StandardisationMeanStd(mean=0.2, std=0.5), {}, False),
    "StandardisationMeanStdPyTorch": (
        lambda: StandardisationMeanStdPyTorch(mean=0.2, std=0.5, device_type="cpu"),
        {},
        False,
    ),
    "TotalVarMin": (
        lambda: pre.TotalVarMin(max_iter=2, clip_values=CLIP),
        {
            "events": REFUSED,
            "misreads": _smooths_over_time,
            "note": "random; ART reads images with the channels last: it smooths columns of (C, H, W), not images",
            "link": f"{SOURCE}/defences/preprocessor/variance_minimization.py#L128",
        },
        False,
    ),
}
ROWS_OF_EOT = "random; `predict` returns N x nb_samples rows, the gradient is that of all rows"
EOT: dict[str, tuple[_Make, dict[str, Any], bool]] = {
    "EoTBrightnessPyTorch": (
        lambda: eot.EoTBrightnessPyTorch(nb_samples=2, clip_values=CLIP, delta=0.2),
        {"note": ROWS_OF_EOT},
        False,
    ),
    "EoTContrastPyTorch": (
        lambda: eot.EoTContrastPyTorch(nb_samples=2, clip_values=CLIP, contrast_factor=0.5),
        {
            "art_fails": "Number of color channels is not 1 or 3",
            "events": ART_REFUSES,
            "events_fail": "Number of color channels is not 1 or 3",
            "link": f"{SOURCE}/preprocessing/expectation_over_transformation/natural_corruptions/contrast/pytorch.py",
            "note": "reads images with the channels last",
        },
        False,
    ),
    "EoTGaussianNoisePyTorch": (
        lambda: eot.EoTGaussianNoisePyTorch(nb_samples=2, clip_values=CLIP, std=0.1),
        {"note": ROWS_OF_EOT},
        False,
    ),
    "EoTImageCenterCropPyTorch": (
        lambda: eot.EoTImageCenterCropPyTorch(nb_samples=2, clip_values=CLIP, size=2),
        {"note": ROWS_OF_EOT, "needs": ("torchvision",), "events": REFUSED},
        False,
    ),
    "EoTImageRotationPyTorch": (
        lambda: eot.EoTImageRotationPyTorch(nb_samples=2, clip_values=CLIP, angles=20.0),
        {"note": ROWS_OF_EOT, "needs": ("torchvision",), "events": REFUSED},
        False,
    ),
    "EoTShotNoisePyTorch": (
        lambda: eot.EoTShotNoisePyTorch(nb_samples=2, clip_values=CLIP, lam=(0.1, 0.2)),
        {"note": ROWS_OF_EOT},
        False,
    ),
    "EoTZoomBlurPyTorch": (
        lambda: eot.EoTZoomBlurPyTorch(nb_samples=2, clip_values=CLIP, zoom=1.5),
        {
            "note": f"{ROWS_OF_EOT}; reads images with the channels last",
            "needs": ("torchvision",),
            "events": REFUSED,
        },
        False,
    ),
}


def _preprocessor(name: str, make: _Make, options: dict[str, Any], video: bool) -> None:
    gradient = [] if "art_fails" in options else PATHS
    if video:
        options = {"note": "", **options}
        options["note"] += "; " * bool(options["note"]) + "on event frames in `for_event_frames`"

    @TABLE.row(name, FAMILY, name.split(",")[0], gradient=gradient, **options)
    def preprocessor(case: Case) -> None:
        defence = make()
        _defended(case, for_event_frames(defence) if video and case.events else defence)


for _name, (_made, _options, _video) in {**PREPROCESSORS, **EOT}.items():
    _preprocessor(_name, _made, _options, _video)


ARRAYS = "without gradients: ART's estimate keeps the size"
SIZE: dict[str, Any] = {"height": 8, "width": 8, "channels_first": True, "apply_predict": True}
PAD: dict[str, Any] = {"channels_first": True, "apply_predict": True}
# Name to its making, and what makes images of other sizes of the digits.
SIZES: dict[str, tuple[_Make, Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "ImageResize": (lambda: ImageResize(**SIZE), lambda x: np.kron(x, DOUBLE), {"note": ARRAYS, "needs": ("cv2",)}),
    "ImageResizePyTorch": (lambda: ImageResizePyTorch(**SIZE), lambda x: np.kron(x, DOUBLE), {"note": ""}),
    "ImageSquarePad": (lambda: ImageSquarePad(**PAD), lambda x: x[..., 1:7], {"note": ARRAYS}),
    "ImageSquarePadPyTorch": (lambda: ImageSquarePadPyTorch(**PAD), lambda x: x[..., 1:7], {"note": ""}),
}
DOUBLE = np.ones((2, 2), dtype=np.float32)


def _resizing(name: str, make: _Make, change: Callable[[np.ndarray], np.ndarray], options: dict[str, Any]) -> None:
    if "Resize" in name:
        options = {**options, "link": f"{SOURCE}/preprocessing/image/image_resize"}
        options["note"] += "; " * bool(options["note"]) + "tried on RGB: ART drops an only channel"

    on_tensors = name.endswith("PyTorch")

    @TABLE.row(name, FAMILY, gradient=[MODEL] if on_tensors else [], events=REFUSED, **options)
    def resizing(case: Case) -> None:
        defence = make()
        if case.events:
            case.classifier.set_params(preprocessing_defences=defence)
            case.classifier.predict(case.x)
            return
        body = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), LIF(decay=0.9), nn.Linear(64, 10))
        x, x_train = (change(images.repeat(3, axis=1)) for images in (case.x, case.x_train))
        classifier = PyTorchSNNClassifier(
            SpikingNetwork(DirectEncoder(time_steps=4), body),
            nn.CrossEntropyLoss(),
            x.shape[1:],
            10,
            optimizer=torch.optim.Adam(body.parameters(), lr=5e-3),
            clip_values=CLIP,
            preprocessing_defences=defence,
            device_type="cpu",
            gradient_rule=case.classifier.gradient_rule,
        )
        own = replace(case, classifier=classifier, x=x, x_train=x_train)
        if on_tensors:
            _defended(own, defence)
            return
        _close(classifier.predict(x), classifier.model(torch.from_numpy(defence(x)[0])))
        _trains(own)


for _name, (_made, _change, _options) in SIZES.items():
    _resizing(_name, _made, _change, _options)


@TABLE.row("Two PyTorch preprocessors", FAMILY, "CutoutPyTorch", gradient=PATHS, note="chained")
def two_of_pytorch(case: Case) -> None:
    def cutout() -> Preprocessor:
        made = pre.CutoutPyTorch(length=2, channels_first=True, apply_predict=True, device_type="cpu")
        return for_event_frames(made) if case.events else made

    first, second = cutout(), cutout()
    case.classifier.set_params(preprocessing_defences=[first, second])
    leaf = torch.from_numpy(case.x.copy()).requires_grad_()
    _seed()
    logits = case.classifier.model(second.forward(first.forward(leaf)[0])[0])
    (expected,) = torch.autograd.grad(cross_entropy(logits, torch.from_numpy(case.labels)), leaf)
    _seed()
    _close(case.classifier.predict(case.x), logits)
    _seed()
    _close(case.classifier.loss_gradient(case.x, case.y), expected)
    case.classifier.class_gradient(case.x[:2], label=1)
    _trains(case)


@TABLE.row(
    "Two preprocessors, one on arrays",
    FAMILY,
    "FeatureSqueezing",
    art_fails="combination of preprocessing types is not supported",
    events_fail="combination of preprocessing types is not supported",
    link=f"{SOURCE}/estimators/pytorch.py#L214",
    note="ART chains PyTorch preprocessors only",
)
def two_on_arrays(case: Case) -> None:
    squeeze = pre.FeatureSqueezing(clip_values=CLIP, bit_depth=4)
    case.classifier.set_params(preprocessing_defences=[squeeze, pre.LabelSmoothing()])
    case.classifier.predict(case.x)


@TABLE.row(
    "ThermometerEncoding",
    FAMILY,
    note="for a model with `num_space` times the channels; ART's estimate of its gradient lacks an axis",
)
def thermometer(case: Case) -> None:
    levels, channels = 3, case.x.shape[-3]
    size = levels * channels * case.x.shape[-2] * case.x.shape[-1]
    body = nn.Sequential(nn.Flatten(), nn.Linear(size, 64), LIF(decay=0.9), nn.Linear(64, 10))
    network = SpikingNetwork(EventFrameEncoder() if case.events else DirectEncoder(time_steps=4), body)
    defence = pre.ThermometerEncoding(clip_values=CLIP, num_space=levels, channels_first=True)
    wrapped = for_event_frames(defence) if case.events else defence
    case.classifier.set_params(preprocessing_defences=wrapped)
    case.classifier.model = GradientRuleModule(network, case.classifier.gradient_rule)
    case.classifier.fit(case.x_train, case.y_train, batch_size=32, nb_epochs=2)
    assert wrapped(case.x)[0].shape[-3] == levels * channels
    assert case.classifier.predict(case.x).shape == (len(case.x), 10)
    _trains(case)


@TABLE.row(
    "VideoCompression",
    FAMILY,
    "VideoCompression",
    "VideoCompressionPyTorch",
    images=False,
    events=REFUSED,
    misreads=_takes_steps_for_channels,
    needs=("ffmpeg",),
    note="RGB video (N, 3, T, H, W); for frames with three channels in `for_event_frames`",
)
def video_compression(case: Case) -> None:
    case.classifier.set_params(preprocessing_defences=pre.VideoCompression(video_format="mp4", channels_first=True))


def _postprocessor(name: str, options: dict[str, Any], *, note: str = "", link: str | None = None) -> None:
    @TABLE.row(name, FAMILY, gradient=[LOSS, CLASS], note=note, link=link)
    def postprocessor(case: Case) -> None:
        classifier, x, y = case.classifier, case.x, case.y
        classifier.set_params(postprocessing_defences=Softmax())
        probabilities = classifier.predict(x)
        gradients = classifier.loss_gradient(x, y), classifier.class_gradient(x[:2], label=1)
        losses = classifier.compute_loss(x, y)
        defence = getattr(post, name)(**options)
        classifier.set_params(postprocessing_defences=[Softmax(), defence])
        _seed()
        expected = defence(probabilities)
        _seed()
        found = classifier.predict(x)
        np.testing.assert_array_equal(found, expected)
        assert not np.array_equal(found, probabilities)
        np.testing.assert_array_equal(classifier.loss_gradient(x, y), gradients[0])
        np.testing.assert_array_equal(classifier.class_gradient(x[:2], label=1), gradients[1])
        np.testing.assert_array_equal(classifier.compute_loss(x, y), losses)
        _trains(case)


_postprocessor(
    "ClassLabels",
    {},
    note="ART marks every class that any input of the call has: predict one input at a time",
    link=f"{SOURCE}/defences/postprocessor/class_labels.py#L56",
)
_postprocessor("GaussianNoise", {"scale": 0.2}, note=RANDOM)
_postprocessor("HighConfidence", {"cutoff": 0.2}, note="made for probabilities")
_postprocessor("ReverseSigmoid", {}, note="made for probabilities")
_postprocessor("Rounded", {"decimals": 2})
