"""No class of ART is forgotten."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from tests.compatibility.not_applicable import NOT_APPLICABLE
from tests.compatibility.rows import ROWS

MODULES = [
    "art.attacks.evasion",
    "art.attacks.extraction",
    "art.attacks.inference.attribute_inference",
    "art.attacks.inference.membership_inference",
    "art.attacks.inference.model_inversion",
    "art.attacks.inference.reconstruction",
    "art.attacks.poisoning",
    "art.defences.detector.evasion",
    "art.defences.detector.poison",
    "art.defences.postprocessor",
    "art.defences.preprocessor",
    "art.defences.trainer",
    "art.defences.transformer.evasion",
    "art.defences.transformer.poisoning",
    "art.estimators.certification.randomized_smoothing",
    "art.preprocessing.expectation_over_transformation",
]
COVERED = {name for item in ROWS for name in item.covers}


def classes(module: str) -> set[str]:
    return {name for name, value in vars(import_module(module)).items() if inspect.isclass(value) and name[0] != "_"}


@pytest.mark.parametrize("module", MODULES)
def test_every_class_has_a_row_or_a_reason(module):
    assert classes(module) <= COVERED | set(NOT_APPLICABLE)


def test_reasons_are_for_classes_that_are_there_and_have_no_row():
    everything = set().union(*(classes(module) for module in MODULES))
    assert set(NOT_APPLICABLE) <= everything
    assert not set(NOT_APPLICABLE) & COVERED


def test_names_of_rows_are_unique():
    names = [item.name for item in ROWS]
    assert len(names) == len(set(names))
