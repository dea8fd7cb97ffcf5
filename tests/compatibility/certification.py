"""Certification and wrappers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.attacks import evasion
from art.estimators import classification
from art.estimators.certification import PyTorchDeRandomizedSmoothing
from art.estimators.certification import randomized_smoothing as smoothing

from art_snn import LIF, DirectEncoder, GradientRuleModule, SpikingNetwork
from tests.compatibility.probabilities import as_probabilities
from tests.compatibility.table import CLASS, LOSS, MODEL, QUIET, Case, Table, moved

TABLE = Table()
FAMILY = "Certification and wrappers"


@TABLE.row(
    "NumpyRandomizedSmoothing", FAMILY, gradient=[LOSS, CLASS], needs=("statsmodels",), note="around the classifier"
)
def numpy_smoothing(case: Case) -> None:
    smooth = smoothing.NumpyRandomizedSmoothing(case.classifier, sample_size=10, scale=0.05, alpha=0.05)
    _, radius = smooth.certify(case.x[:2], n=20)
    assert (radius >= 0).all()
    smooth.class_gradient(case.x[:2], label=1)
    attack = evasion.ProjectedGradientDescent(smooth, eps=0.4, eps_step=0.2, max_iter=3, **QUIET)
    case.attacked(attack.generate(case.x[:3], case.y[:3]), n=3, eps=0.4)


def _smoothing(name: str, options: dict[str, Any], gradient: Any = (), **more: Any) -> None:
    @TABLE.row(name, FAMILY, gradient=gradient, needs=("statsmodels",), note="around `classifier.model`", **more)
    def certified(case: Case) -> None:
        model = case.classifier.model
        smooth = getattr(smoothing, name)(
            model=model,
            loss=torch.nn.CrossEntropyLoss(),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
            input_shape=case.classifier.input_shape,
            nb_classes=10,
            clip_values=(0.0, 1.0),
            sample_size=10,
            scale=0.05,
            alpha=0.05,
            device_type="cpu",
            **options,
        )
        moved(case, lambda: smooth.fit(case.x_train[:32], case.y_train[:32], nb_epochs=1, batch_size=16))
        _, radius = smooth.certify(case.x[:2], n=20)
        assert (radius >= 0).all()


_smoothing("PyTorchRandomizedSmoothing", {})
_smoothing("PyTorchSmoothAdv", {"epsilon": 0.2, "num_noise_vec": 1, "num_steps": 2, "warmup": 1}, [MODEL])
_smoothing(
    "PyTorchSmoothMix", {"num_noise_vec": 2, "num_steps": 2}, [MODEL], events_fail="The size of tensor a (4) must match"
)
_smoothing(
    "PyTorchMACER", {"gaussian_samples": 4}, events_fail="Number of dimensions of repeat dims can not be smaller"
)


@TABLE.row(
    "PyTorchDeRandomizedSmoothing",
    FAMILY,
    events="no",
    note="`algorithm='levine2020'`, around a model for twice the channels; would double the steps of event frames",
)
def derandomized(case: Case) -> None:
    layers = [torch.nn.Flatten(), torch.nn.Linear(2 * case.x[0].size, 64), LIF(decay=0.9), torch.nn.Linear(64, 10)]
    model = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=4), torch.nn.Sequential(*layers)))
    smooth = PyTorchDeRandomizedSmoothing(
        model=model,
        loss=torch.nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        input_shape=case.classifier.input_shape,
        nb_classes=10,
        ablation_size=5,
        algorithm="levine2020",
        threshold=0.2,
        clip_values=(0.0, 1.0),
        device_type="cpu",
        verbose=False,
    )
    smooth.fit(case.x_train, case.y_train, nb_epochs=15, batch_size=32)
    assert (smooth.predict(case.x).argmax(1) == case.labels).mean() > 0.5
    accuracy, certified = smooth.eval_and_certify(case.x, case.y, size_to_certify=1, verbose=False)
    assert 0.5 < accuracy <= 1
    assert 0 <= certified <= accuracy


@TABLE.row("EnsembleClassifier", FAMILY, gradient=[LOSS, CLASS])
def ensemble(case: Case) -> None:
    both = classification.EnsembleClassifier([case.classifier] * 2, clip_values=(0.0, 1.0), channels_first=True)
    assert both.class_gradient(case.x).shape == (len(case.x), 10, *case.x.shape[1:])
    case.attacked(evasion.FastGradientMethod(both, eps=0.4).generate(case.x, case.y), eps=0.4, robust=0.6)


@TABLE.row(
    "QueryEfficientGradientEstimationClassifier", FAMILY, note="estimates gradients from probabilities: see SimBA"
)
def query_efficient(case: Case) -> None:
    as_probabilities(case.classifier)
    wrapped = classification.QueryEfficientGradientEstimationClassifier(case.classifier, 50, 0.5, round_samples=0)
    assert np.abs(wrapped.loss_gradient(case.x[:2], case.y[:2])).max() > 0


@TABLE.row("BlackBoxClassifierNeuralNetwork", FAMILY, "BlackBoxClassifier", "BlackBoxClassifierNeuralNetwork")
def black_box(case: Case) -> None:
    shape = case.classifier.input_shape
    for make in (classification.BlackBoxClassifier, classification.BlackBoxClassifierNeuralNetwork):
        wrapped = make(case.classifier.predict, shape, 10, clip_values=(0.0, 1.0))
        np.testing.assert_array_equal(wrapped.predict(case.x), case.classifier.predict(case.x))


@TABLE.row("DeepPartitionEnsemble", FAMILY)
def partition(case: Case) -> None:
    wrapped = classification.DeepPartitionEnsemble(
        case.classifier, ensemble_size=2, channels_first=True, clip_values=(0.0, 1.0)
    )
    wrapped.fit(case.x_train, case.y_train, batch_size=32, nb_epochs=1)
    assert wrapped.predict(case.x).shape == case.y.shape


@TABLE.row(
    "DetectorClassifier", FAMILY, gradient=[CLASS], events_fail="operands could not be broadcast together with shapes"
)
def detector_classifier(case: Case) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(case.x.shape[1:])), 1))
    loss = torch.nn.BCEWithLogitsLoss()
    judge = classification.PyTorchClassifier(model, loss, case.x.shape[1:], 2, clip_values=(0, 1), device_type="cpu")
    wrapped = classification.DetectorClassifier(case.classifier, judge)
    assert wrapped.class_gradient(case.x[:3]).shape == (3, 11, *case.x.shape[1:])
    assert wrapped.predict(case.x).shape == (len(case.x), 11)
