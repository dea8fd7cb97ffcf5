"""ART's trainers make a spiking network more robust, by a margin, against the same network trained ordinarily."""

from __future__ import annotations

import numpy as np
import pytest

from art_snn import PyTorchSNNClassifier
from art_snn.data import Split
from tests.benchmarks.robust_trainers import (
    TRAINERS,
    accuracy,
    first_training,
    ordinary,
    robust_accuracy,
    seed_all,
    trained,
)

SEED = 0
BASELINE = next(name for name, trainer in TRAINERS.items() if trainer is ordinary)
# Points of robust accuracy under HART-PGD that are gained at least; about half of what was measured.
MARGINS = {
    "AdversarialTrainer, PGD, ratio 0.5": 0.20,
    "AdversarialTrainerMadryPGD": 0.25,
    "AdversarialTrainerTRADESPyTorch": 0.25,
    "AdversarialTrainerAWPPyTorch, PGD": 0.25,
    "AdversarialTrainerAWPPyTorch, TRADES": 0.25,
    "AdversarialTrainerFBFPyTorch": 0.20,
    "AdversarialTrainerOAATPyTorch": 0.10,
    "DPInstaHideTrainer, Cutout": 0.10,
}


@pytest.fixture(scope="module")
def start(digits: Split) -> PyTorchSNNClassifier:
    random_state = np.random.get_state()
    yield first_training(SEED, digits)
    np.random.set_state(random_state)


@pytest.fixture(scope="module")
def baseline(start: PyTorchSNNClassifier, digits: Split) -> dict[str, float]:
    classifier = trained(BASELINE, start, SEED, digits)
    return {rule: robust_accuracy(classifier, rule, digits.x_test, digits.y_test) for rule in ("hart", "stbp")}


def test_every_trainer_has_a_margin():
    assert set(MARGINS) == set(TRAINERS) - {BASELINE}


@pytest.mark.slow
@pytest.mark.parametrize("name", MARGINS)
def test_trainer_raises_robust_accuracy(name, start, baseline, digits):
    seed_all(SEED)
    classifier = trained(name, start, SEED, digits)
    assert accuracy(classifier, digits.x_test, digits.y_test) > 0.9
    for rule, before in baseline.items():
        assert robust_accuracy(classifier, rule, digits.x_test, digits.y_test) >= before + MARGINS[name]
