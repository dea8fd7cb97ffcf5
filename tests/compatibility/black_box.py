"""Black-box attacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from art.attacks import evasion

from art_snn import LIF, DirectEncoder, PyTorchSNNClassifier, SpikingNetwork
from tests.compatibility.probabilities import as_probabilities
from tests.compatibility.table import QUIET, SOURCE, Case, Table

TABLE = Table()
FAMILY = "Evasion, black box"


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


@TABLE.row("BoundaryAttack", FAMILY)
def boundary(case: Case) -> None:
    attack = evasion.BoundaryAttack(
        case.classifier, targeted=False, max_iter=5, num_trial=5, sample_size=5, init_size=50, **QUIET
    )
    case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=0.5)


@TABLE.row("HopSkipJump", FAMILY)
def hop_skip_jump(case: Case) -> None:
    for norm in (2, np.inf):
        attack = evasion.HopSkipJump(
            case.classifier, norm=norm, max_iter=1, max_eval=30, init_eval=5, init_size=50, **QUIET
        )
        case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=0.5)


@TABLE.row("SignOPTAttack", FAMILY)
def sign_opt(case: Case) -> None:
    attack = evasion.SignOPTAttack(
        case.classifier, targeted=False, max_iter=1, num_trial=10, k=5, query_limit=100, eval_perform=False, **QUIET
    )
    case = case.unsure()
    case.attacked(attack.generate(case.x[:1], case.y[:1]), n=1, robust=0)


IMAGES_ONLY = "Attack can only be applied to image data"


@TABLE.row("SquareAttack", FAMILY, events_fail=IMAGES_ONLY)
def square(case: Case) -> None:
    attack = evasion.SquareAttack(case.classifier, eps=0.5, max_iter=50, **QUIET)
    case.attacked(attack.generate(case.x, case.y), eps=0.5, robust=0.4)


@TABLE.row(
    "SquareAttack, norm=2",
    FAMILY,
    "SquareAttack",
    events_fail=IMAGES_ONLY,
    note="tried on 16x16 images: below 10 pixels ART divides 0 by 0, and art_snn's `predict` refuses the NaN images",
    link=f"{SOURCE}/attacks/evasion/square_attack.py#L285",
)
def square_l2(case: Case) -> None:
    case = enlarged(case, 2)
    attack = evasion.SquareAttack(case.classifier, norm=2, eps=6.0, max_iter=30, **QUIET)
    case.attacked(attack.generate(case.x, case.y), eps=6.0, norm=2, robust=0.9)


def _simba(name: str, events_fail: str | None = None) -> None:
    note = "wants probabilities: give the classifier a softmax postprocessor"

    @TABLE.row(f"SimBA, attack={name}", FAMILY, "SimBA", events_fail=events_fail, note=note)
    def simba(case: Case) -> None:
        as_probabilities(case.classifier)
        attack = evasion.SimBA(case.classifier, attack=name, max_iter=500, freq_dim=4, stride=1, epsilon=1.0, **QUIET)
        case = case.unsure()
        case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, robust=0.75)


_simba("px")
_simba("dct", "could not broadcast input array from shape")


ZOO: dict[str, Any] = {"binary_search_steps": 1, "initial_const": 1e3, "variable_h": 0.5, **QUIET}
STEPS = "its finite differences see only the steps of a spiking network: make `variable_h` large"


LESS_RANK = "sequence argument must have length equal to input rank"


@TABLE.row(
    "ZooAttack",
    FAMILY,
    events_fail=LESS_RANK,
    note=f"{STEPS}; tried on 32x32 images, ART's smallest size; asserted is that the right class's margin falls",
    slow=True,
)
def zoo(case: Case) -> None:
    case = enlarged(case, 4)
    attack = evasion.ZooAttack(case.classifier, max_iter=6, nb_parallel=256, learning_rate=0.3, **ZOO)
    case = case.unsure()
    x, y = case.x[:4], case.y[:4]
    examples = attack.generate(x, y)
    case.attacked(examples, n=4)
    # How many classes fall is chance. Over eight seeds, the mean margin fell by 0.67 to 1.19.
    assert case.margin(x, y) - case.margin(examples, y) > 0.3


@TABLE.row(
    "ZooAttack, use_resize=False, use_importance=False",
    FAMILY,
    "ZooAttack",
    note=f"{STEPS}; on event frames it is asserted that the margin of the right class falls",
)
def zoo_plain(case: Case) -> None:
    options = {"use_resize": False, "use_importance": False}
    attack = evasion.ZooAttack(case.classifier, max_iter=30, nb_parallel=64, learning_rate=1.0, **options, **ZOO)
    case = case.unsure()
    x, y = case.x[:4], case.y[:4]
    examples = attack.generate(x, y)
    case.attacked(examples, n=4, robust=None if case.events else 0.75)
    # How many classes fall depends on rounding. Over 18 trainings and seeds, the mean margin fell by 0.23 to 0.86.
    assert case.margin(x, y) - case.margin(examples, y) > 0.1


@TABLE.row(
    "GeoDA",
    FAMILY,
    events_fail="Input images `x` have to be square.",
    art_fails="`np.mat` was removed in the NumPy 2.0 release",
    link=f"{SOURCE}/attacks/evasion/geometric_decision_based_attack.py#L160",
)
def geoda(case: Case) -> None:
    attack = evasion.GeoDA(case.classifier, sub_dim=4, max_iter=400, bin_search_tol=0.1, **QUIET)
    attack.generate(case.x[:2], case.y[:2])


def _pixels(name: str, threshold: int) -> None:
    @TABLE.row(name, FAMILY, events_fail="out of bounds for axis 1", needs=("cma",), note="for images in 0 to 255")
    def pixels(case: Case) -> None:
        attack = getattr(evasion, name)(case.classifier, th=threshold, es=0, max_iter=20, **QUIET)
        case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=0.5)


_pixels("PixelAttack", 30)
_pixels("ThresholdAttack", 200)


@TABLE.row("SpatialTransformation", FAMILY, events_fail=LESS_RANK)
def spatial(case: Case) -> None:
    attack = evasion.SpatialTransformation(
        case.classifier, max_translation=20.0, num_translations=3, max_rotation=30.0, num_rotations=3, **QUIET
    )
    case.attacked(attack.generate(case.x, case.y), robust=0.9)


@TABLE.row(
    "LaserAttack",
    FAMILY,
    events_fail="Channels first models are not supported",
    art_fails="Channels first models are not supported",
    link=f"{SOURCE}/attacks/evasion/laser_attack/laser_attack.py#L165",
)
def laser(case: Case) -> None:
    evasion.LaserAttack(case.classifier, 1, None, None).generate(case.x[:1])


@TABLE.row("GRAPHITEBlackbox", FAMILY, events_fail="axes don't match array", needs=("cv2",), slow=True)
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
