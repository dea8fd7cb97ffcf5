"""Detectors and transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.defences import detector, transformer
from art.estimators import classification

from tests.compatibility.probabilities import as_probabilities
from tests.compatibility.table import QUIET, SHAPES, SOURCE, Case, Table, moved

TABLE = Table()
FAMILY = "Detectors and transformers"


def _detector(shape: tuple[int, ...]) -> Any:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), 2))
    adam = torch.optim.Adam(model.parameters())
    return classification.PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), shape, 2, adam, device_type="cpu")


@TABLE.row("BinaryActivationDetector", FAMILY, "BinaryInputDetector", "BinaryActivationDetector", no_effect=SHAPES)
def binary_detectors(case: Case) -> None:
    shape = case.classifier.get_activations(case.x[:1], 0).shape[1:]
    answers = np.eye(2, dtype=np.float32)[np.arange(len(case.x)) % 2]
    for found in (
        detector.evasion.BinaryInputDetector(_detector(case.x.shape[1:])),
        detector.evasion.BinaryActivationDetector(case.classifier, _detector(shape), layer=0),
    ):
        found.fit(case.x, answers, nb_epochs=1)
        assert found.detect(case.x)[1].shape == (len(case.x),)


@TABLE.row("SubsetScanningDetector", FAMILY, no_effect=SHAPES)
def subset_scanning(case: Case) -> None:
    found = detector.evasion.SubsetScanningDetector(case.classifier, case.x_test[:30], layer=0, **QUIET)
    assert found.detect(case.x[:3])[1].shape == (3,)


@TABLE.row("ActivationDefence", FAMILY, "ActivationDefence", "SpectralSignatureDefense", no_effect=SHAPES)
def poison_detectors(case: Case) -> None:
    for make, options in (
        (detector.poison.ActivationDefence, {"nb_clusters": 2, "nb_dims": 3, "reduce": "PCA"}),
        (detector.poison.SpectralSignatureDefense, {}),
    ):
        _, clean = make(case.classifier, case.x_train, case.y_train).detect_poison(**options)
        assert len(clean) == len(case.x_train)


@TABLE.row(
    "RONIDefense",
    FAMILY,
    art_fails="all the input arrays must have same number of dimensions",
    events_fail="all the input arrays must have same number of dimensions",
    link=f"{SOURCE}/defences/detector/poison/roni.py#L153",
)
def roni(case: Case) -> None:
    test = case.x_test[:16], case.y_test[:16]
    options = {"pp_cal": 0.25, "pp_quiz": 0.2, "calibrated": False}
    detector.poison.RONIDefense(case.classifier, case.x_train[:24], case.y_train[:24], *test, **options).detect_poison()


@TABLE.row("ProvenanceDefense", FAMILY, note="with `perf_func` as a function", no_effect=SHAPES)
def provenance(case: Case) -> None:
    origin = np.eye(2, dtype=np.float32)[np.arange(60) % 2]
    x = case.x_train[:60] + np.linspace(0, 1e-3, 60, dtype=np.float32).reshape(-1, *[1] * (case.x.ndim - 1))
    found = detector.poison.ProvenanceDefense(
        case.classifier,
        x,
        case.y_train[:60],
        origin,
        x_val=case.x_test[:20],
        y_val=case.y_test[:20],
        eps=0.1,
        perf_func=lambda truth, scores: float((truth.argmax(1) == scores.argmax(1)).mean()),
    )
    report, _ = found.detect_poison()
    assert isinstance(report, dict)


@TABLE.row("DefensiveDistillation", FAMILY, note="wants probabilities: give the classifier a softmax postprocessor")
def distillation(case: Case) -> None:
    as_probabilities(case.classifier)
    defence = transformer.evasion.DefensiveDistillation(case.classifier, batch_size=16, nb_epochs=1)
    moved(case, lambda: defence(case.x_train, case.classifier))


@TABLE.row("STRIP", FAMILY, note="wants probabilities: give the classifier a softmax postprocessor", no_effect=SHAPES)
def strip(case: Case) -> None:
    as_probabilities(case.classifier)
    defended = transformer.poisoning.STRIP(case.classifier)()
    defended.mitigate(case.x_test[:20])
    assert defended.predict(case.x).shape == case.y.shape
