"""Inference and extraction."""

from __future__ import annotations

import numpy as np
from art.attacks import extraction
from art.attacks.inference import membership_inference as membership
from art.attacks.inference.model_inversion import MIFace

from tests.compatibility.table import CLASS, QUIET, SHAPES, Case, Table

TABLE = Table()
FAMILY = "Inference and extraction"


@TABLE.row("MIFace", FAMILY, gradient=[CLASS])
def mi_face(case: Case) -> None:
    x, target = case.x[:1], np.array([3])
    step = 0.5 * case.classifier.class_gradient(x, label=target)[:, 0]
    found = MIFace(case.classifier, max_iter=1, learning_rate=0.5, **QUIET).infer(x.copy(), target)
    assert np.abs(step).max() > 0
    np.testing.assert_allclose(found, np.clip(x + step, 0, 1), atol=1e-6)


@TABLE.row("MembershipInferenceBlackBox", FAMILY, no_effect=SHAPES)
def membership_black_box(case: Case) -> None:
    for kind in ("prediction", "loss"):
        attack = membership.MembershipInferenceBlackBox(case.classifier, attack_model_type="rf", input_type=kind)
        attack.fit(case.x_train[:40], case.y_train[:40], case.x_test[:40], case.y_test[:40])
        assert set(np.unique(attack.infer(case.x, case.y))) <= {0, 1}


@TABLE.row("MembershipInferenceBlackBoxRuleBased", FAMILY, "MembershipInferenceBlackBoxRuleBased", "LabelOnlyGapAttack")
def membership_rule(case: Case) -> None:
    for make in (membership.MembershipInferenceBlackBoxRuleBased, membership.LabelOnlyGapAttack):
        assert make(case.classifier).infer(case.x, case.y).all()  # all of them are classified correctly


@TABLE.row("LabelOnlyDecisionBoundary", FAMILY, no_effect=SHAPES)
def membership_boundary(case: Case) -> None:
    attack = membership.LabelOnlyDecisionBoundary(case.classifier, distance_threshold_tau=0.1)
    options = {"max_iter": 1, "max_eval": 20, "init_eval": 2, "init_size": 30, **QUIET}
    assert attack.infer(case.x[:2], case.y[:2], **options).shape == (2,)


@TABLE.row("ShadowModels", FAMILY, no_effect=SHAPES)
def shadow_models(case: Case) -> None:
    attack = membership.ShadowModels(case.classifier, num_shadow_models=1)
    (x, y, predictions), _ = attack.generate_shadow_dataset(case.x_train, case.y_train)
    assert predictions.shape == y.shape == (len(x), 10)


@TABLE.row("CopycatCNN", FAMILY, "CopycatCNN", "KnockoffNets", no_effect=SHAPES)
def copies(case: Case) -> None:
    options = {"batch_size_fit": 16, "batch_size_query": 16, "nb_epochs": 1, "nb_stolen": 40}
    for make in (extraction.CopycatCNN, extraction.KnockoffNets):
        thief = case.classifier.clone_for_refitting()
        stolen = make(case.classifier, **options).extract(case.x_train, case.y_train, thieved_classifier=thief)
        assert type(stolen) is type(case.classifier)
        assert np.isfinite(stolen.predict(case.x)).all()
