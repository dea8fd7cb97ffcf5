"""Poisoning."""

from __future__ import annotations

import numpy as np
from art.attacks import poisoning
from art.attacks.poisoning.perturbations import add_pattern_bd

from tests.compatibility.table import CUSTOM, LAYER, LOSS, MODEL, QUIET, Case, Table

TABLE = Table()
FAMILY = "Poisoning"


def backdoor(x: np.ndarray) -> np.ndarray:
    """Mark a corner; ART's own pattern takes images only."""
    x = x.copy()
    x[..., -2:, -2:] = 1
    return x if x.ndim == 5 else np.maximum(x, add_pattern_bd(x, distance=2, channels_first=True))


PATTERN = "ART's `add_pattern_bd` takes images only; give a perturbation of your own for event frames"


@TABLE.row(
    "PoisoningAttackCleanLabelBackdoor",
    FAMILY,
    "PoisoningAttackBackdoor",
    "PoisoningAttackCleanLabelBackdoor",
    gradient=[LOSS],
    note=PATTERN,
)
def clean_label(case: Case) -> None:
    target = np.eye(10, dtype=np.float32)[0]
    attack = poisoning.PoisoningAttackCleanLabelBackdoor(
        poisoning.PoisoningAttackBackdoor(backdoor), case.classifier, target, pp_poison=0.5, eps=0.3, max_iter=2
    )
    x, y = attack.poison(case.x_train, case.y_train)
    changed = (x != case.x_train).reshape(len(x), -1).any(1)
    assert changed.any()
    assert (y[changed].argmax(1) == 0).all()


@TABLE.row(
    "HiddenTriggerBackdoor",
    FAMILY,
    "HiddenTriggerBackdoor",
    "HiddenTriggerBackdoorPyTorch",
    gradient=[LAYER],
    note=PATTERN,
)
def hidden_trigger(case: Case) -> None:
    attack = poisoning.HiddenTriggerBackdoor(
        case.classifier,
        eps=0.1,
        target=np.eye(10, dtype=np.float32)[2],
        source=np.eye(10, dtype=np.float32)[1],
        feature_layer=len(case.classifier.layer_names) - 1,
        backdoor=poisoning.PoisoningAttackBackdoor(backdoor),
        max_iter=2,
        batch_size=4,
        poison_percent=0.2,
        **QUIET,
    )
    x, indices = attack.poison(case.x_train, case.y_train)
    assert len(x) == len(indices)
    assert 0 < np.abs(x - case.x_train[indices]).max() <= 0.1 + 1e-5


@TABLE.row("FeatureCollisionAttack", FAMILY, gradient=[CUSTOM, LAYER])
def feature_collision(case: Case) -> None:
    attack = poisoning.FeatureCollisionAttack(
        case.classifier, case.x[:1], case.classifier.layer_names[-1], max_iter=3, similarity_coeff=256, **QUIET
    )
    x, _ = attack.poison(case.x[1:2])
    assert np.abs(x - case.x[1:2]).max() > 0


@TABLE.row("BullseyePolytopeAttackPyTorch", FAMILY, gradient=[LAYER])
def bullseye(case: Case) -> None:
    layer = len(case.classifier.layer_names) - 1
    attack = poisoning.BullseyePolytopeAttackPyTorch(case.classifier, case.x[:1], layer, max_iter=2, **QUIET)
    x, _ = attack.poison(case.x[1:4], case.y[1:4])
    assert np.abs(x - case.x[1:4]).max() > 0


@TABLE.row(
    "GradientMatchingAttack",
    FAMILY,
    gradient=[MODEL],
    second_order=True,
    note="second derivatives, through the replay's parameters",
)
def gradient_matching(case: Case) -> None:
    attack = poisoning.GradientMatchingAttack(
        case.classifier, percent_poison=0.3, max_trials=1, max_epochs=1, epsilon=0.3, batch_size=16, verbose=0
    )
    x, _ = attack.poison(case.x[:1], np.array([3]), case.x_train, case.y_train.argmax(1))
    assert 0 < np.abs(x - case.x_train).max() <= 0.3 + 1e-5


@TABLE.row(
    "SleeperAgentAttack",
    FAMILY,
    gradient=[MODEL],
    events_fail="could not broadcast input array from shape",
    second_order=True,
    slow=True,
)
def sleeper_agent(case: Case) -> None:
    labels = case.y_train.argmax(1)
    attack = poisoning.SleeperAgentAttack(
        case.classifier,
        percent_poison=0.5,
        max_trials=1,
        max_epochs=1,
        epsilon=0.3,
        batch_size=16,
        verbose=0,
        indices_target=np.flatnonzero(labels == 1),
        patching_strategy="random",
        selection_strategy="max-norm",
        patch=np.ones((case.x.shape[1], 2, 2), np.float32),
        retraining_factor=1,
        model_retrain=False,
        retrain_batch_size=16,
        class_source=0,
        class_target=1,
    )
    source = case.x_train[labels == 0][:4].copy()
    x, _ = attack.poison(source, np.full(len(source), 1), case.x_train, case.y_train, case.x_test, case.y_test)
    assert 0 < np.abs(x - case.x_train).max() <= 0.3 + 1e-5
    case.classifier.model.eval()
