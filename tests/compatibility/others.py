"""Black-box attacks, inference, poisoning, detectors, trainers, metrics, certification and wrappers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from art import metrics
from art.attacks import evasion, extraction, poisoning
from art.attacks.inference import membership_inference as membership
from art.attacks.inference.model_inversion import MIFace
from art.attacks.poisoning.perturbations import add_pattern_bd
from art.defences import detector, trainer, transformer
from art.defences.preprocessor import Cutout, Mixup
from art.estimators import classification
from art.estimators.certification import PyTorchDeRandomizedSmoothing
from art.estimators.certification import randomized_smoothing as smoothing
from art.evaluations.great_score.great_score import GreatScorePyTorch
from art.evaluations.security_curve import SecurityCurve
from art.metrics.privacy import get_roc_for_fpr, get_roc_for_multi_fprs

from art_snn import LIF, DirectEncoder, GradientRuleModule, PyTorchSNNClassifier, SpikingNetwork, for_event_frames
from tests.benchmarks.robust_trainers import oaat as run_oaat
from tests.compatibility.probabilities import as_probabilities
from tests.compatibility.table import CLASS, CUSTOM, LAYER, LOSS, MODEL, REFUSED, SOURCE, Case, Table

TABLE = Table()
BLACK, INFER, POISON = "Evasion, black box", "Inference and extraction", "Poisoning"
DETECT, TRAIN = "Detectors and transformers", "Trainers"
MEASURE, CERTIFY = "Metrics and evaluation", "Certification and wrappers"
QUIET: dict[str, Any] = {"verbose": False}


def pgd(case: Case, **options: Any) -> Any:
    options = {"eps": 0.3, "eps_step": 0.1, "max_iter": 2, **QUIET, **options}
    return evasion.ProjectedGradientDescent(case.classifier, **options)


def moved(case: Case, work: Any) -> None:
    """Assert that ``work`` changes the weights, and leaves them finite."""
    before = [parameter.detach().clone() for parameter in case.classifier.model.parameters()]
    work()
    after = list(case.classifier.model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in after)
    case.classifier.model.eval()


# --- black box -------------------------------------------------------------------------------------------------------


def enlarged(case: Case, times: int) -> Case:
    """Return the case with larger images and a network trained on them; event frames are left as they are."""
    if case.events:
        return case
    pixel = np.ones((times, times), dtype=np.float32)
    x, x_train = np.kron(case.x, pixel), np.kron(case.x_train, pixel)
    layers = [torch.nn.Flatten(), torch.nn.Linear(x[0].size, 64), LIF(decay=0.9), torch.nn.Linear(64, 10)]
    network = SpikingNetwork(DirectEncoder(time_steps=4), torch.nn.Sequential(*layers))
    adam = torch.optim.Adam(network.parameters(), lr=5e-3)
    classifier = PyTorchSNNClassifier(
        network, torch.nn.CrossEntropyLoss(), x.shape[1:], 10, adam, clip_values=(0.0, 1.0), device_type="cpu"
    )
    classifier.fit(x_train, case.y_train, nb_epochs=15)
    right = classifier.predict(x).argmax(1) == case.labels
    return replace(case, classifier=classifier, x=x[right], y=case.y[right], x_train=x_train)


@TABLE.row("BoundaryAttack", BLACK)
def boundary(case: Case) -> None:
    attack = evasion.BoundaryAttack(
        case.classifier, targeted=False, max_iter=5, num_trial=5, sample_size=5, init_size=50, **QUIET
    )
    case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=0.5)


@TABLE.row("HopSkipJump", BLACK)
def hop_skip_jump(case: Case) -> None:
    for norm in (2, np.inf):
        attack = evasion.HopSkipJump(
            case.classifier, norm=norm, max_iter=1, max_eval=30, init_eval=5, init_size=50, **QUIET
        )
        case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=0.5)


@TABLE.row("SignOPTAttack", BLACK)
def sign_opt(case: Case) -> None:
    attack = evasion.SignOPTAttack(
        case.classifier, targeted=False, max_iter=1, num_trial=10, k=5, query_limit=100, eval_perform=False, **QUIET
    )
    case = case.unsure()
    case.attacked(attack.generate(case.x[:1], case.y[:1]), n=1, robust=0)


@TABLE.row("SquareAttack", BLACK, events=REFUSED)
def square(case: Case) -> None:
    attack = evasion.SquareAttack(case.classifier, eps=0.5, max_iter=50, **QUIET)
    case.attacked(attack.generate(case.x, case.y), eps=0.5, robust=0.4)


@TABLE.row(
    "SquareAttack, norm=2",
    BLACK,
    "SquareAttack",
    events=REFUSED,
    note="tried on 16x16 images: below 10 pixels ART divides 0 by 0, and art_snn's `predict` refuses the NaN images",
    link=f"{SOURCE}/attacks/evasion/square_attack.py#L285",
)
def square_l2(case: Case) -> None:
    case = enlarged(case, 2)
    attack = evasion.SquareAttack(case.classifier, norm=2, eps=6.0, max_iter=30, **QUIET)
    case.attacked(attack.generate(case.x, case.y), eps=6.0, norm=2, robust=0.9)


def _simba(name: str, events: str) -> None:
    note = "wants probabilities: give the classifier a softmax postprocessor"

    @TABLE.row(f"SimBA, attack={name}", BLACK, "SimBA", events=events, note=note)
    def simba(case: Case) -> None:
        as_probabilities(case.classifier)
        attack = evasion.SimBA(case.classifier, attack=name, max_iter=500, freq_dim=4, stride=1, epsilon=1.0, **QUIET)
        case = case.unsure()
        case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, robust=0.75)


_simba("px", "works")
_simba("dct", REFUSED)


ZOO: dict[str, Any] = {"binary_search_steps": 1, "initial_const": 1e3, "variable_h": 0.5, **QUIET}
STEPS = "its finite differences see only the steps of a spiking network: make `variable_h` large"


@TABLE.row("ZooAttack", BLACK, events=REFUSED, note=f"{STEPS}; tried on 32x32 images, ART's smallest size", slow=True)
def zoo(case: Case) -> None:
    case = enlarged(case, 4)
    attack = evasion.ZooAttack(case.classifier, max_iter=6, nb_parallel=256, learning_rate=0.3, **ZOO)
    case = case.unsure()
    case.attacked(attack.generate(case.x[:1], case.y[:1]), n=1, robust=0)


@TABLE.row("ZooAttack, use_resize=False, use_importance=False", BLACK, "ZooAttack", note=STEPS)
def zoo_plain(case: Case) -> None:
    options = {"use_resize": False, "use_importance": False}
    attack = evasion.ZooAttack(case.classifier, max_iter=30, nb_parallel=64, learning_rate=1.0, **options, **ZOO)
    case = case.unsure()
    case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, robust=0.75)


@TABLE.row(
    "GeoDA",
    BLACK,
    events=REFUSED,
    art_fails="`np.mat` was removed in the NumPy 2.0 release",
    link=f"{SOURCE}/attacks/evasion/geometric_decision_based_attack.py#L160",
)
def geoda(case: Case) -> None:
    attack = evasion.GeoDA(case.classifier, sub_dim=4, max_iter=400, bin_search_tol=0.1, **QUIET)
    attack.generate(case.x[:2], case.y[:2])


def _pixels(name: str, threshold: int) -> None:
    @TABLE.row(name, BLACK, events=REFUSED, needs=("cma",), note="for images in 0 to 255")
    def pixels(case: Case) -> None:
        attack = getattr(evasion, name)(case.classifier, th=threshold, es=0, max_iter=20, **QUIET)
        case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=0.5)


_pixels("PixelAttack", 30)
_pixels("ThresholdAttack", 200)


@TABLE.row("SpatialTransformation", BLACK, events=REFUSED)
def spatial(case: Case) -> None:
    attack = evasion.SpatialTransformation(
        case.classifier, max_translation=20.0, num_translations=3, max_rotation=30.0, num_rotations=3, **QUIET
    )
    case.attacked(attack.generate(case.x, case.y), robust=0.9)


@TABLE.row(
    "LaserAttack",
    BLACK,
    events=REFUSED,
    art_fails="Channels first models are not supported",
    link=f"{SOURCE}/attacks/evasion/laser_attack/laser_attack.py#L165",
)
def laser(case: Case) -> None:
    evasion.LaserAttack(case.classifier, 1, None, None).generate(case.x[:1])


@TABLE.row("GRAPHITEBlackbox", BLACK, events=REFUSED, needs=("cv2",), slow=True)
def graphite(case: Case) -> None:
    size = (case.x.shape[-1], case.x.shape[-2])
    attack = evasion.GRAPHITEBlackbox(
        case.classifier,
        noise_size=size,
        net_size=size,
        heat_patch_size=(4, 4),
        heat_patch_stride=(4, 4),
        num_xforms_mask=3,
        num_xforms_boost=3,
        num_boost_queries=10,
        max_mask_size=-1,
        blur_kernels=[0],
        tr_lo=0.3,
        tr_hi=0.6,
    )
    case.attacked(attack.generate(case.x[:1], case.y[1:2], x_tar=case.x[1:2]), n=1, robust=0)


# --- inference and extraction ----------------------------------------------------------------------------------------


@TABLE.row("MIFace", INFER, gradient=[CLASS])
def mi_face(case: Case) -> None:
    x, target = case.x[:1], np.array([3])
    step = 0.5 * case.classifier.class_gradient(x, label=target)[:, 0]
    found = MIFace(case.classifier, max_iter=1, learning_rate=0.5, **QUIET).infer(x.copy(), target)
    assert np.abs(step).max() > 0
    np.testing.assert_allclose(found, np.clip(x + step, 0, 1), atol=1e-6)


@TABLE.row("MembershipInferenceBlackBox", INFER)
def membership_black_box(case: Case) -> None:
    for kind in ("prediction", "loss"):
        attack = membership.MembershipInferenceBlackBox(case.classifier, attack_model_type="rf", input_type=kind)
        attack.fit(case.x_train[:40], case.y_train[:40], case.x_test[:40], case.y_test[:40])
        assert set(np.unique(attack.infer(case.x, case.y))) <= {0, 1}


@TABLE.row("MembershipInferenceBlackBoxRuleBased", INFER, "MembershipInferenceBlackBoxRuleBased", "LabelOnlyGapAttack")
def membership_rule(case: Case) -> None:
    for make in (membership.MembershipInferenceBlackBoxRuleBased, membership.LabelOnlyGapAttack):
        assert make(case.classifier).infer(case.x, case.y).all()  # all of them are classified correctly


@TABLE.row("LabelOnlyDecisionBoundary", INFER)
def membership_boundary(case: Case) -> None:
    attack = membership.LabelOnlyDecisionBoundary(case.classifier, distance_threshold_tau=0.1)
    options = {"max_iter": 1, "max_eval": 20, "init_eval": 2, "init_size": 30, **QUIET}
    assert attack.infer(case.x[:2], case.y[:2], **options).shape == (2,)


@TABLE.row("ShadowModels", INFER)
def shadow_models(case: Case) -> None:
    attack = membership.ShadowModels(case.classifier, num_shadow_models=1)
    (x, y, predictions), _ = attack.generate_shadow_dataset(case.x_train, case.y_train)
    assert predictions.shape == y.shape == (len(x), 10)


@TABLE.row("CopycatCNN", INFER, "CopycatCNN", "KnockoffNets")
def copies(case: Case) -> None:
    options = {"batch_size_fit": 16, "batch_size_query": 16, "nb_epochs": 1, "nb_stolen": 40}
    for make in (extraction.CopycatCNN, extraction.KnockoffNets):
        thief = case.classifier.clone_for_refitting()
        stolen = make(case.classifier, **options).extract(case.x_train, case.y_train, thieved_classifier=thief)
        assert type(stolen) is type(case.classifier)
        assert np.isfinite(stolen.predict(case.x)).all()


# --- poisoning -------------------------------------------------------------------------------------------------------


def backdoor(x: np.ndarray) -> np.ndarray:
    """Mark a corner; ART's own pattern takes images only."""
    x = x.copy()
    x[..., -2:, -2:] = 1
    return x if x.ndim == 5 else np.maximum(x, add_pattern_bd(x, distance=2, channels_first=True))


PATTERN = "ART's `add_pattern_bd` takes images only; give a perturbation of your own for event frames"


@TABLE.row(
    "PoisoningAttackCleanLabelBackdoor",
    POISON,
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
    POISON,
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


@TABLE.row("FeatureCollisionAttack", POISON, gradient=[CUSTOM, LAYER])
def feature_collision(case: Case) -> None:
    attack = poisoning.FeatureCollisionAttack(
        case.classifier, case.x[:1], case.classifier.layer_names[-1], max_iter=3, similarity_coeff=256, **QUIET
    )
    x, _ = attack.poison(case.x[1:2])
    assert np.abs(x - case.x[1:2]).max() > 0


@TABLE.row("BullseyePolytopeAttackPyTorch", POISON, gradient=[LAYER])
def bullseye(case: Case) -> None:
    layer = len(case.classifier.layer_names) - 1
    attack = poisoning.BullseyePolytopeAttackPyTorch(case.classifier, case.x[:1], layer, max_iter=2, **QUIET)
    x, _ = attack.poison(case.x[1:4], case.y[1:4])
    assert np.abs(x - case.x[1:4]).max() > 0


@TABLE.row(
    "GradientMatchingAttack",
    POISON,
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


@TABLE.row("SleeperAgentAttack", POISON, gradient=[MODEL], events=REFUSED, second_order=True, slow=True)
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


# --- detectors and transformers --------------------------------------------------------------------------------------


def _detector(shape: tuple[int, ...]) -> Any:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), 2))
    adam = torch.optim.Adam(model.parameters())
    return classification.PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), shape, 2, adam, device_type="cpu")


@TABLE.row("BinaryActivationDetector", DETECT, "BinaryInputDetector", "BinaryActivationDetector")
def binary_detectors(case: Case) -> None:
    shape = case.classifier.get_activations(case.x[:1], 0).shape[1:]
    answers = np.eye(2, dtype=np.float32)[np.arange(len(case.x)) % 2]
    for found in (
        detector.evasion.BinaryInputDetector(_detector(case.x.shape[1:])),
        detector.evasion.BinaryActivationDetector(case.classifier, _detector(shape), layer=0),
    ):
        found.fit(case.x, answers, nb_epochs=1)
        assert found.detect(case.x)[1].shape == (len(case.x),)


@TABLE.row("SubsetScanningDetector", DETECT)
def subset_scanning(case: Case) -> None:
    found = detector.evasion.SubsetScanningDetector(case.classifier, case.x_test[:30], layer=0, **QUIET)
    assert found.detect(case.x[:3])[1].shape == (3,)


@TABLE.row("ActivationDefence", DETECT, "ActivationDefence", "SpectralSignatureDefense")
def poison_detectors(case: Case) -> None:
    for make, options in (
        (detector.poison.ActivationDefence, {"nb_clusters": 2, "nb_dims": 3, "reduce": "PCA"}),
        (detector.poison.SpectralSignatureDefense, {}),
    ):
        _, clean = make(case.classifier, case.x_train, case.y_train).detect_poison(**options)
        assert len(clean) == len(case.x_train)


@TABLE.row(
    "RONIDefense",
    DETECT,
    art_fails="all the input arrays must have same number of dimensions",
    events_fail="all the input arrays must have same number of dimensions",
    link=f"{SOURCE}/defences/detector/poison/roni.py#L153",
)
def roni(case: Case) -> None:
    test = case.x_test[:16], case.y_test[:16]
    options = {"pp_cal": 0.25, "pp_quiz": 0.2, "calibrated": False}
    detector.poison.RONIDefense(case.classifier, case.x_train[:24], case.y_train[:24], *test, **options).detect_poison()


@TABLE.row("ProvenanceDefense", DETECT, note="with `perf_func` as a function")
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


@TABLE.row("DefensiveDistillation", DETECT, note="wants probabilities: give the classifier a softmax postprocessor")
def distillation(case: Case) -> None:
    as_probabilities(case.classifier)
    defence = transformer.evasion.DefensiveDistillation(case.classifier, batch_size=16, nb_epochs=1)
    moved(case, lambda: defence(case.x_train, case.classifier))


@TABLE.row("STRIP", DETECT, note="wants probabilities: give the classifier a softmax postprocessor")
def strip(case: Case) -> None:
    as_probabilities(case.classifier)
    defended = transformer.poisoning.STRIP(case.classifier)()
    defended.mitigate(case.x_test[:20])
    assert defended.predict(case.x).shape == case.y.shape


# --- trainers --------------------------------------------------------------------------------------------------------


def _trainer(name: str, make: Any, gradient: Any = (LOSS,), **options: Any) -> None:
    @TABLE.row(name, TRAIN, *options.pop("covers", (name,)), gradient=gradient, **options)
    def train(case: Case) -> None:
        moved(case, lambda: make(case).fit(case.x_train[:64], case.y_train[:64], nb_epochs=1, batch_size=32))


def second(case: Case) -> Any:
    """A classifier with the same weights."""
    other = case.classifier.clone_for_refitting()
    other.model.load_state_dict(case.classifier.model.state_dict())
    return other


def _auto_pgd(case: Case) -> Any:
    return evasion.AutoProjectedGradientDescent(
        case.classifier, eps=0.2, eps_step=0.1, max_iter=2, nb_random_init=1, loss_type="cross_entropy", **QUIET
    )


def _awp(mode: str) -> Any:
    options = {"mode": mode, "gamma": 0.01, "beta": 6.0, "warmup": 0}
    return lambda case: trainer.AdversarialTrainerAWPPyTorch(case.classifier, second(case), pgd(case), **options)


_trainer("AdversarialTrainer", lambda case: trainer.AdversarialTrainer(case.classifier, pgd(case), ratio=0.5))
_trainer(
    "AdversarialTrainer, attack that builds a classifier",
    lambda case: trainer.AdversarialTrainer(case.classifier, _auto_pgd(case), ratio=0.5),
    [MODEL],
    covers=("AdversarialTrainer",),
    note="ART computes the examples once, before training",
)
_trainer(
    "AdversarialTrainerMadryPGD",
    lambda case: trainer.AdversarialTrainerMadryPGD(case.classifier, eps=0.2, eps_step=0.1, max_iter=2),
)
_trainer(
    "AdversarialTrainerTRADES",
    lambda case: trainer.AdversarialTrainerTRADESPyTorch(case.classifier, pgd(case), beta=6.0),
    covers=("AdversarialTrainerTRADESPyTorch", "AdversarialTrainerTRADES"),
    note="refuses the schedulers of torch >= 2",
)
for _mode in ("PGD", "TRADES"):
    _trainer(
        f"AdversarialTrainerAWP, mode={_mode}",
        _awp(_mode),
        covers=("AdversarialTrainerAWPPyTorch", "AdversarialTrainerAWP"),
    )
_trainer(
    "AdversarialTrainerFBF",
    lambda case: trainer.AdversarialTrainerFBFPyTorch(case.classifier, eps=0.2),
    covers=("AdversarialTrainerFBFPyTorch", "AdversarialTrainerFBF"),
    note="trains in evaluation mode; its learning rates are made for SGD",
)


@TABLE.row(
    "AdversarialTrainerOAAT",
    TRAIN,
    "AdversarialTrainerOAAT",
    "AdversarialTrainerOAATPyTorch",
    gradient=[LOSS, MODEL],
    slow=True,
)
def oaat(case: Case) -> None:
    moved(case, lambda: run_oaat(case.classifier, case.x_train, case.y_train))


@TABLE.row("DPInstaHideTrainer", TRAIN)
def insta_hide(case: Case) -> None:
    cutout: Any = Cutout(length=2, channels_first=True)
    for augmentation in (Mixup(num_classes=10), for_event_frames(cutout) if case.events else cutout):
        found = trainer.DPInstaHideTrainer(case.classifier, augmentation, noise="laplacian", scale=0.03)
        moved(case, lambda found=found: found.fit(case.x_train[:64], case.y_train[:64], nb_epochs=1, batch_size=32))


# --- metrics and evaluation ------------------------------------------------------------------------------------------


@TABLE.row("empirical_robustness", MEASURE, "adversarial_accuracy", "empirical_robustness", gradient=[LOSS])
def robustness(case: Case) -> None:
    attack = evasion.FastGradientMethod(case.classifier, eps=0.5)
    share = metrics.adversarial_accuracy(case.classifier, case.x, case.y, attack_crafter=attack)
    assert share == case.accuracy(attack.generate(case.x, case.y), case.y)
    assert metrics.empirical_robustness(case.classifier, case.x, "fgsm", {"eps_step": 0.1, "eps": 1.0}) > 0


@TABLE.row("loss_sensitivity", MEASURE, "loss_sensitivity", "loss_gradient_check", gradient=[LOSS])
def sensitivity(case: Case) -> None:
    assert metrics.loss_sensitivity(case.classifier, case.x, case.y) > 0
    assert not metrics.loss_gradient_check(case.classifier, case.x, case.y, **QUIET)[:, 1:].any()


@TABLE.row("clever", MEASURE, "clever", "clever_t", "clever_u", gradient=[CLASS])
def clever(case: Case) -> None:
    target = int((case.labels[0] + 1) % 10)
    assert metrics.clever_t(case.classifier, case.x[0], target, 3, 3, 2.0, norm=2, pool_factor=2) >= 0
    assert metrics.clever_u(case.classifier, case.x[0], 2, 2, 2.0, norm=2, pool_factor=2, **QUIET) >= 0


@TABLE.row("PDTP", MEASURE, "PDTP", "SHAPr", "wasserstein_distance")
def privacy(case: Case) -> None:
    other = case.classifier.clone_for_refitting()
    scores, *_ = metrics.PDTP(
        case.classifier, other, case.x_train[:16], case.y_train[:16], indexes=np.array([0, 1]), num_iter=1
    )
    assert scores.shape == (2,)
    values = metrics.SHAPr(case.classifier, case.x_train[:40], case.y_train[:40], case.x_test[:20], case.y_test[:20])
    assert values.shape == (40,)
    assert np.allclose(metrics.wasserstein_distance(case.x, case.x), 0)


@TABLE.row("SecurityCurve", MEASURE, gradient=[LOSS])
def security_curve(case: Case) -> None:
    options = {"max_iter": 2, "eps_step": 0.1}
    _, robust, clean = SecurityCurve(eps=[0.1, 0.4]).evaluate(case.classifier, case.x, case.y, **options)
    assert clean == 1
    assert robust[1] <= robust[0]


@TABLE.row("get_roc_for_fpr", MEASURE, "get_roc_for_fpr", "get_roc_for_multi_fprs")
def worst_case_roc(case: Case) -> None:
    attack = membership.MembershipInferenceBlackBox(case.classifier, attack_model_type="rf")
    attack.fit(case.x_train[:40], case.y_train[:40], case.x_test[:40], case.y_test[:40])
    x, y = (np.concatenate([train[40:80], test[40:80]]) for train, test in _members_and_others(case))
    scores, members = attack.infer(x, y, probabilities=True).ravel(), np.arange(80) < 40
    ((found, hits, _),) = get_roc_for_fpr(scores, members, targeted_fpr=0.3)
    assert 0 <= found <= 0.3
    assert 0 <= hits <= 1
    assert get_roc_for_multi_fprs(scores, members, np.array([0.3]))[:2] == ([found], [hits])


def _members_and_others(case: Case) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return (case.x_train, case.x_test), (case.y_train, case.y_test)


@TABLE.row("GreatScorePyTorch", MEASURE, note="made for probabilities: give the classifier a softmax postprocessor")
def great_score(case: Case) -> None:
    as_probabilities(case.classifier)
    score, accuracy = GreatScorePyTorch(case.classifier).evaluate(case.x, case.y)
    ordered = np.sort(case.classifier.predict(case.x), axis=1)
    assert accuracy == 1
    np.testing.assert_allclose(score, (ordered[:, -1] - ordered[:, -2]).mean(), rtol=1e-5)


# --- certification and wrappers --------------------------------------------------------------------------------------


@TABLE.row(
    "NumpyRandomizedSmoothing", CERTIFY, gradient=[LOSS, CLASS], needs=("statsmodels",), note="around the classifier"
)
def numpy_smoothing(case: Case) -> None:
    smooth = smoothing.NumpyRandomizedSmoothing(case.classifier, sample_size=10, scale=0.05, alpha=0.05)
    _, radius = smooth.certify(case.x[:2], n=20)
    assert (radius >= 0).all()
    smooth.class_gradient(case.x[:2], label=1)
    attack = evasion.ProjectedGradientDescent(smooth, eps=0.4, eps_step=0.2, max_iter=3, **QUIET)
    case.attacked(attack.generate(case.x[:3], case.y[:3]), n=3, eps=0.4)


def _smoothing(name: str, options: dict[str, Any], gradient: Any = (), **more: Any) -> None:
    @TABLE.row(name, CERTIFY, gradient=gradient, needs=("statsmodels",), note="around `classifier.model`", **more)
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
_smoothing("PyTorchSmoothMix", {"num_noise_vec": 2, "num_steps": 2}, [MODEL], events=REFUSED)
_smoothing("PyTorchMACER", {"gaussian_samples": 4}, events=REFUSED)


@TABLE.row(
    "PyTorchDeRandomizedSmoothing",
    CERTIFY,
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


@TABLE.row("EnsembleClassifier", CERTIFY, gradient=[LOSS, CLASS])
def ensemble(case: Case) -> None:
    both = classification.EnsembleClassifier([case.classifier] * 2, clip_values=(0.0, 1.0), channels_first=True)
    assert both.class_gradient(case.x).shape == (len(case.x), 10, *case.x.shape[1:])
    case.attacked(evasion.FastGradientMethod(both, eps=0.4).generate(case.x, case.y), eps=0.4, robust=0.6)


@TABLE.row(
    "QueryEfficientGradientEstimationClassifier", CERTIFY, note="estimates gradients from probabilities: see SimBA"
)
def query_efficient(case: Case) -> None:
    as_probabilities(case.classifier)
    wrapped = classification.QueryEfficientGradientEstimationClassifier(case.classifier, 50, 0.5, round_samples=0)
    assert np.abs(wrapped.loss_gradient(case.x[:2], case.y[:2])).max() > 0


@TABLE.row("BlackBoxClassifierNeuralNetwork", CERTIFY, "BlackBoxClassifier", "BlackBoxClassifierNeuralNetwork")
def black_box(case: Case) -> None:
    shape = case.classifier.input_shape
    for make in (classification.BlackBoxClassifier, classification.BlackBoxClassifierNeuralNetwork):
        wrapped = make(case.classifier.predict, shape, 10, clip_values=(0.0, 1.0))
        np.testing.assert_array_equal(wrapped.predict(case.x), case.classifier.predict(case.x))


@TABLE.row("DeepPartitionEnsemble", CERTIFY)
def partition(case: Case) -> None:
    wrapped = classification.DeepPartitionEnsemble(
        case.classifier, ensemble_size=2, channels_first=True, clip_values=(0.0, 1.0)
    )
    wrapped.fit(case.x_train, case.y_train, batch_size=32, nb_epochs=1)
    assert wrapped.predict(case.x).shape == case.y.shape


@TABLE.row("DetectorClassifier", CERTIFY, gradient=[CLASS], events=REFUSED)
def detector_classifier(case: Case) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(case.x.shape[1:])), 1))
    loss = torch.nn.BCEWithLogitsLoss()
    judge = classification.PyTorchClassifier(model, loss, case.x.shape[1:], 2, clip_values=(0, 1), device_type="cpu")
    wrapped = classification.DetectorClassifier(case.classifier, judge)
    assert wrapped.class_gradient(case.x[:3]).shape == (3, 11, *case.x.shape[1:])
    assert wrapped.predict(case.x).shape == (len(case.x), 11)
