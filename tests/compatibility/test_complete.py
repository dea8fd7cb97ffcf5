"""No class or function of ART is forgotten."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.compatibility.not_applicable import NOT_APPLICABLE
from tests.compatibility.rows import ROWS
from tests.compatibility.table import WORKS, status

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
    "art.estimators.certification",
    "art.estimators.certification.randomized_smoothing",
    "art.estimators.classification",
    "art.evaluations.great_score.great_score",
    "art.evaluations.security_curve",
    "art.metrics",
    "art.metrics.privacy",
    "art.preprocessing",
    "art.preprocessing.expectation_over_transformation",
    "art.preprocessing.image",
    "art.preprocessing.standardisation_mean_std",
]
COVERED = {name for item in ROWS for name in item.covers}


def public(module: str) -> set[str]:
    """Return the names of ART's classes and functions in one of its modules."""
    return {
        name
        for name, value in vars(import_module(module)).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.split(".")[0] == "art"
        and name[0] != "_"
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_class_has_a_row_or_a_reason(module):
    assert not public(module) - COVERED - set(NOT_APPLICABLE)


def test_reasons_are_for_classes_that_are_there_and_have_no_row():
    everything = set().union(*(public(module) for module in MODULES))
    assert set(NOT_APPLICABLE) <= everything
    assert not set(NOT_APPLICABLE) & COVERED


def test_names_of_rows_are_unique():
    names = [item.name for item in ROWS]
    assert len(names) == len(set(names))


def test_readme_counts_the_rows():
    text = " ".join((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split())
    found = re.search(r"(\d+) of (\d+) rows on images and (\d+) of (\d+) on event frames", text)
    states = {kind: [status(item, kind) for item in ROWS] for kind in ("images", "events")}
    for kind, (work, rows) in zip(states, (found.groups()[:2], found.groups()[2:]), strict=True):
        assert states[kind].count(WORKS) == int(work)
        assert len(states[kind]) - states[kind].count("no") == int(rows)
