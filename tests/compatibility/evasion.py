"""Evasion attacks with a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from art.attacks import evasion as art

from tests.compatibility.probabilities import as_probabilities
from tests.compatibility.table import CLASS, FRAMEWORK, LAYER, LOSS, MISREADS, MODEL, SOURCE, Case, Table

TABLE = Table()
FAMILY = "Evasion, with a gradient"
BIG = 0.5  # a radius at which nothing should be left of a network's accuracy
WIDE = 0.7  # the same for one perturbation of all inputs
LEFT = 0.1  # what may be left of it there
AUTO: dict[str, Any] = {"eps": BIG, "eps_step": 0.2, "max_iter": 10, "nb_random_init": 1, "verbose": False}


@TABLE.row("FastGradientMethod", FAMILY, gradient=[LOSS])
def fast_gradient(case: Case) -> None:
    method = art.FastGradientMethod
    case.attacked(method(case.classifier, eps=0.3).generate(case.x, case.y), eps=0.3)
    case.attacked(method(case.classifier, norm=2, eps=1.0).generate(case.x, case.y), eps=1.0, norm=2)
    case.attacked(method(case.classifier, norm=1, eps=5.0).generate(case.x, case.y), eps=5.0, norm=1)
    case.attacked(method(case.classifier, eps=0.3, targeted=True).generate(case.x, case.targets), eps=0.3)
    mask = np.zeros_like(case.x)
    mask[..., :4] = 1
    examples = method(case.classifier, eps=0.3).generate(case.x, case.y, mask=mask)
    assert np.array_equal(examples * (1 - mask), case.x * (1 - mask))
    case.attacked(method(case.classifier, eps=BIG).generate(case.x, case.y), eps=BIG, robust=0.4)


@TABLE.row("FastGradientMethod, minimal", FAMILY, "FastGradientMethod", gradient=[LOSS])
def fast_gradient_minimal(case: Case) -> None:
    attack = art.FastGradientMethod(case.classifier, eps=1.0, eps_step=0.1, minimal=True)
    case.attacked(attack.generate(case.x, case.y), eps=1.0, robust=0.4)


@TABLE.row("BasicIterativeMethod", FAMILY, gradient=[LOSS])
def basic_iterative(case: Case) -> None:
    attack = art.BasicIterativeMethod(case.classifier, eps=BIG, eps_step=0.1, max_iter=10, verbose=False)
    case.attacked(attack.generate(case.x, case.y), eps=BIG, robust=LEFT)


@TABLE.row(
    "ProjectedGradientDescent",
    FAMILY,
    "ProjectedGradientDescent",
    "ProjectedGradientDescentPyTorch",
    gradient=[LOSS],
)
def projected_gradient(case: Case) -> None:
    def attack(**options: Any) -> Any:
        options = {"eps": 0.3, "eps_step": 0.1, "max_iter": 3, "verbose": False, **options}
        return art.ProjectedGradientDescent(case.classifier, **options)

    strong = attack(eps=BIG, max_iter=10)
    assert isinstance(strong._attack, art.ProjectedGradientDescentPyTorch)
    case.attacked(strong.generate(case.x, case.y), eps=BIG, robust=LEFT)
    case.attacked(attack(num_random_init=2).generate(case.x, case.y), eps=0.3)
    case.attacked(attack(norm=2, eps=1.5, eps_step=0.5).generate(case.x, case.y), eps=1.5, norm=2)
    case.attacked(attack(norm=1, eps=8.0, eps_step=3.0).generate(case.x, case.y), eps=8.0, norm=1)
    case.attacked(attack(targeted=True).generate(case.x, case.targets), eps=0.3)
    case.attacked(attack(decay=0.9).generate(case.x, case.y), eps=0.3)
    radius = np.full(case.x.shape[1:], 0.2, dtype=np.float32)
    radius[..., :4] = 0.1
    examples = attack(eps=radius, eps_step=radius / 2).generate(case.x, case.y, mask=np.ones_like(case.x))
    case.attacked(examples, eps=0.2)
    assert (np.abs(examples - case.x) <= radius + 1e-5).all()


@TABLE.row("ProjectedGradientDescentNumpy", FAMILY, gradient=[LOSS])
def projected_gradient_numpy(case: Case) -> None:
    attack = art.ProjectedGradientDescentNumpy(case.classifier, eps=BIG, eps_step=0.1, max_iter=10, verbose=False)
    case.attacked(attack.generate(case.x, case.y), eps=BIG, robust=LEFT)


@TABLE.row("MomentumIterativeMethod", FAMILY, gradient=[LOSS])
def momentum(case: Case) -> None:
    attack = art.MomentumIterativeMethod(case.classifier, eps=BIG, eps_step=0.1, max_iter=10, verbose=False)
    case.attacked(attack.generate(case.x, case.y), eps=BIG, robust=LEFT)


def _auto(name: str, loss_type: str | None) -> None:
    own = loss_type is None
    conjugate = "Conjugate" in name
    note = "" if own else "ART builds a plain classifier around `classifier.model`, which has the rule in it"
    link = None
    if conjugate and loss_type != "difference_logits_ratio":
        note += "; " * bool(note) + "in L-infinity ART leaves the sign out of the step, which is tiny: restart often, "
        note += "or take the L2 norm, as on event frames here"
        link = f"{SOURCE}/attacks/evasion/auto_conjugate_gradient.py#L494"

    @TABLE.row(
        f"{name}, loss_type={loss_type}", FAMILY, name, gradient=[LOSS] if own else [MODEL], note=note, link=link
    )
    def auto(case: Case) -> None:
        options = {**AUTO, "nb_random_init": 5} if conjugate else AUTO
        if link and case.events:
            options = {**AUTO, "norm": 2, "eps": 6.0, "eps_step": 2.0}
        attack = getattr(art, name)(case.classifier, loss_type=loss_type, **options)
        norm = options.get("norm", np.inf)
        case.attacked(attack.generate(case.x, case.y), eps=options["eps"], norm=norm, robust=LEFT)


for _name in ("AutoProjectedGradientDescent", "AutoConjugateGradient", "RescalingAutoConjugateGradient"):
    for _loss in (None, "cross_entropy", "difference_logits_ratio"):
        _auto(_name, _loss)


def _members(case: Case) -> list[Any]:
    auto = art.AutoProjectedGradientDescent
    short = {**AUTO, "max_iter": 5}
    members: list[Any] = [
        art.DeepFool(case.classifier, max_iter=1, verbose=False),
        auto(case.classifier, loss_type="cross_entropy", **short),
        auto(case.classifier, loss_type="difference_logits_ratio", **short),
    ]
    if not case.events:
        members.append(art.SquareAttack(case.classifier, eps=BIG, max_iter=20, verbose=False))
    return members


@TABLE.row(
    "AutoAttack",
    FAMILY,
    gradient=[MODEL, CLASS],
    needs=("multiprocess",),
    note="on event frames with `attacks=[...]`: its own list has SquareAttack",
)
def auto_attack(case: Case) -> None:
    attack = art.AutoAttack(case.classifier, eps=BIG, eps_step=0.2, attacks=_members(case))
    case.attacked(attack.generate(case.x, case.y), eps=BIG, robust=LEFT)


@TABLE.row("AutoAttack, targeted", FAMILY, "AutoAttack", gradient=[MODEL], needs=("multiprocess",))
def auto_attack_targeted(case: Case) -> None:
    members = _members(case)[1:3]
    attack = art.AutoAttack(case.classifier, eps=BIG, eps_step=0.2, attacks=members, targeted=True)
    case.attacked(attack.generate(case.x[:2], case.y[:2]), eps=BIG, n=2, robust=LEFT)


ENDS = (
    "its change of variables has next to no gradient where inputs are at the ends of `clip_values`, as in binary "
    "frames: make {} large there"
)


@TABLE.row("CarliniL2Method", FAMILY, gradient=[CLASS], note=ENDS.format("`initial_const` and `learning_rate`"))
def carlini_l2(case: Case) -> None:
    options = {"binary_search_steps": 2, "initial_const": 100.0, "learning_rate": 0.1}
    if case.events:
        options = {"binary_search_steps": 1, "initial_const": 1e9, "learning_rate": 1.0}
    attack = art.CarliniL2Method(case.classifier, max_iter=10, verbose=False, **options)
    case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, robust=0.25)


@TABLE.row("CarliniLInfMethod", FAMILY, gradient=[CLASS], note=ENDS.format("`learning_rate`"))
def carlini_linf(case: Case) -> None:
    attack = art.CarliniLInfMethod(
        case.classifier,
        max_iter=20,
        learning_rate=1.0,
        initial_const=1e3,
        largest_const=2e3,
        decrease_factor=0.5,
        verbose=False,
    )
    case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=LEFT)


@TABLE.row("CarliniL0Method", FAMILY, gradient=[CLASS], events_fail="operands could not be broadcast together")
def carlini_l0(case: Case) -> None:
    attack = art.CarliniL0Method(
        case.classifier, max_iter=5, binary_search_steps=1, initial_const=100.0, learning_rate=0.1, verbose=False
    )
    case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=LEFT)


@TABLE.row("DeepFool", FAMILY, gradient=[CLASS])
def deep_fool(case: Case) -> None:
    attack = art.DeepFool(case.classifier, max_iter=5, nb_grads=3, batch_size=4, verbose=False)
    case.attacked(attack.generate(case.x[:4]), n=4)
    attack = art.DeepFool(case.classifier, max_iter=20, batch_size=6, verbose=False)
    case.attacked(attack.generate(case.x), robust=0.35)


@TABLE.row("ElasticNet", FAMILY, gradient=[CLASS])
def elastic_net(case: Case) -> None:
    attack = art.ElasticNet(
        case.classifier, max_iter=10, binary_search_steps=3, initial_const=1.0, learning_rate=0.1, verbose=False
    )
    case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, robust=0.25)


@TABLE.row("NewtonFool", FAMILY, gradient=[CLASS], note="small steps: raise `eta`")
def newton_fool(case: Case) -> None:
    attack = art.NewtonFool(case.classifier, max_iter=50, eta=2.0, batch_size=len(case.x), verbose=False)
    case.attacked(attack.generate(case.x), robust=LEFT)


@TABLE.row("SaliencyMapMethod", FAMILY, gradient=[CLASS])
def saliency_map(case: Case) -> None:
    attack = art.SaliencyMapMethod(case.classifier, theta=0.5, gamma=0.3, verbose=False)
    case.attacked(attack.generate(case.x[:3], case.targets[:3]), n=3, robust=0.34)


@TABLE.row("UniversalPerturbation", FAMILY, gradient=[LOSS])
def universal(case: Case) -> None:
    attack = art.UniversalPerturbation(
        case.classifier,
        attacker="pgd",
        attacker_params={"eps": BIG, "eps_step": 0.2, "max_iter": 5, "verbose": False},
        delta=0.01,
        max_iter=20,
        eps=WIDE,
        batch_size=8,
        verbose=False,
    )
    case.attacked(attack.generate(case.x, case.y), eps=WIDE, robust=0.5)


@TABLE.row("TargetedUniversalPerturbation", FAMILY, gradient=[LOSS])
def targeted_universal(case: Case) -> None:
    targets = np.tile(np.eye(10, dtype=np.float32)[3], (len(case.x), 1))
    attack = art.TargetedUniversalPerturbation(
        case.classifier,
        attacker="fgsm",
        attacker_params={"eps": 0.3, "targeted": True},
        delta=0.01,
        max_iter=5,
        eps=WIDE,
    )
    case.attacked(attack.generate(case.x, targets), eps=WIDE, robust=0.5)


@TABLE.row(
    "VirtualAdversarialMethod",
    FAMILY,
    note="works on probabilities: give the classifier a softmax postprocessor; its finite differences see only the "
    "steps of a spiking network, so make `finite_diff` large",
)
def virtual_adversarial(case: Case) -> None:
    as_probabilities(case.classifier)
    attack = art.VirtualAdversarialMethod(
        case.classifier, eps=16.0, finite_diff=1.0, max_iter=2 if case.events else 1, batch_size=4, verbose=False
    )
    case.attacked(attack.generate(case.x[:4]), n=4, robust=0.75)


@TABLE.row("Wasserstein", FAMILY, gradient=[LOSS], events_fail="could not broadcast input array from shape")
def wasserstein(case: Case) -> None:
    attack = art.Wasserstein(
        case.classifier,
        regularization=100,
        kernel_size=3,
        max_iter=5,
        conjugate_sinkhorn_max_iter=5,
        projected_sinkhorn_max_iter=10,
        eps=3.0,
        eps_step=0.5,
        norm="wasserstein",
        ball="wasserstein",
        batch_size=4,
        verbose=False,
    )
    case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, robust=LEFT)


@TABLE.row(
    "ShadowAttack",
    FAMILY,
    gradient=[LOSS],
    events_fail="Shadow Attack can only be applied to image data",
    note="one image at a time, 1 or 3 channels; labels are always targets",
    link=f"{SOURCE}/attacks/evasion/shadow_attack.py#L136",
)
def shadow(case: Case) -> None:
    attack = art.ShadowAttack(
        case.classifier,
        sigma=0.1,
        nb_steps=30,
        learning_rate=1.0,
        lambda_tv=0.0,
        lambda_c=0.0,
        batch_size=16,
        verbose=False,
    )
    examples = [attack.generate(case.x[i : i + 1], case.targets[i : i + 1]) for i in range(2)]
    case.attacked(np.concatenate(examples), n=2, robust=LEFT)


NEARER = 0.95  # of the distance of features to those of the guides


def _distance(case: Case, x: np.ndarray, guides: np.ndarray, layer: int) -> float:
    features = case.classifier.get_activations(x, layer) - case.classifier.get_activations(guides, layer)
    return float(np.square(features).sum())


@TABLE.row("FeatureAdversariesNumpy", FAMILY, note="finite differences of a layer's output")
def feature_adversaries_numpy(case: Case) -> None:
    attack = art.FeatureAdversariesNumpy(case.classifier, layer=0, delta=0.2, batch_size=1)
    maxiter = 1
    x, guide = case.x[:1], case.x[2:3]
    examples = attack.generate(x, guide, maxiter=maxiter)
    case.attacked(examples, n=1, eps=0.2)
    assert _distance(case, examples, guide, 0) < NEARER * _distance(case, x, guide, 0)


@TABLE.row("FeatureAdversariesPyTorch", FAMILY, gradient=[LAYER])
def feature_adversaries(case: Case) -> None:
    layer = len(case.classifier.layer_names) - 3
    attack = art.FeatureAdversariesPyTorch(
        case.classifier, delta=0.3, layer=layer, max_iter=10, step_size=0.05, optimizer=None, verbose=False
    )
    guides = case.x[::-1][:4].copy()
    examples = attack.generate(case.x[:4], guides)
    case.attacked(examples, n=4, eps=0.3)
    assert _distance(case, examples, guides, layer) < NEARER * _distance(case, case.x[:4], guides, layer)


@TABLE.row("FrameSaliencyAttack", FAMILY, gradient=[LOSS], note="`frame_index=1` is time in event frames")
def frame_saliency(case: Case) -> None:
    inner = art.ProjectedGradientDescent(case.classifier, eps=BIG, eps_step=0.2, max_iter=5, verbose=False)
    for method in ("iterative_saliency", "iterative_saliency_refresh", "one_shot"):
        attack = art.FrameSaliencyAttack(
            case.classifier, inner, method=method, frame_index=1, batch_size=4, verbose=False
        )
        case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, eps=BIG, robust=0.25)


def _flickers_over_columns(case: Case) -> None:
    """Assert that ART adds one value to all channels and rows, which it takes for rows and columns."""
    x = np.full_like(case.x[:1], 0.5)
    attack = art.OverTheAirFlickeringPyTorch(case.classifier, eps_step=0.1, max_iter=1, batch_size=1, verbose=False)
    change = attack.generate(x) - x
    assert np.ptp(change) > 0
    np.testing.assert_array_equal(change, np.broadcast_to(change[:, :, :1, :1], change.shape))


@TABLE.row(
    "OverTheAirFlickeringPyTorch",
    FAMILY,
    images=False,
    events=MISREADS,
    misreads=_flickers_over_columns,
    note="made for video with the channels last, (N, T, H, W, C): it flickers columns, not colours",
)
def over_the_air(case: Case) -> None:
    attack = art.OverTheAirFlickeringPyTorch(case.classifier, max_iter=2, batch_size=2, verbose=False)
    case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2)


def _patch(case: Case) -> dict[str, Any]:
    channels = case.classifier.input_shape[-3]
    return {
        "patch_shape": (channels, 8, 8),
        "batch_size": 16,
        "scale_min": 0.9,
        "scale_max": 1.0,
        "rotation_max": 0.0,
        "max_iter": 10,
        "learning_rate": 0.3,
        "targeted": False,
        "verbose": False,
    }


@TABLE.row("AdversarialPatchPyTorch", FAMILY, gradient=[FRAMEWORK], needs=("torchvision",))
def adversarial_patch(case: Case) -> None:
    attack = art.AdversarialPatchPyTorch(case.classifier, optimizer="pgd", **_patch(case))
    attack.generate(case.x, case.y)
    case.attacked(attack.apply_patch(case.x, scale=1.0), robust=LEFT)


@TABLE.row("AdversarialPatch", FAMILY, gradient=[FRAMEWORK], needs=("torchvision",))
def adversarial_patch_front(case: Case) -> None:
    attack = art.AdversarialPatch(case.classifier, **_patch(case))
    assert isinstance(attack._attack, art.AdversarialPatchPyTorch)
    attack.generate(case.x, case.y)
    case.attacked(attack.apply_patch(case.x, scale=1.0), robust=LEFT)


@TABLE.row(
    "AdversarialPatchNumpy",
    FAMILY,
    art_fails="'AdversarialPatchNumpy' object has no attribute 'patch'",
    events_fail="'AdversarialPatchNumpy' object has no attribute 'patch'",
    link=f"{SOURCE}/attacks/evasion/adversarial_patch/adversarial_patch_numpy.py#L619",
)
def adversarial_patch_numpy(case: Case) -> None:
    attack = art.AdversarialPatchNumpy(case.classifier, max_iter=2, rotation_max=0.0, batch_size=8, verbose=False)
    attack.generate(case.x, case.y)


@TABLE.row(
    "GRAPHITEWhiteboxPyTorch",
    FAMILY,
    gradient=[FRAMEWORK],
    events_fail="axes don't match array",
    needs=("cv2",),
)
def graphite_whitebox(case: Case) -> None:
    size = case.x.shape[-2:]
    attack = art.GRAPHITEWhiteboxPyTorch(
        case.classifier,
        net_size=size,
        min_tr=1.0,
        num_xforms=3,
        step_size=0.4,
        steps=3,
        first_steps=10,
        rotation_range=(-5.0, 5.0),
        gamma_range=(1.0, 1.0),
        blur_kernels=[0],
    )
    case.attacked(attack.generate(case.x[:2], case.targets[:2]), n=2, robust=LEFT)


@TABLE.row(
    "CompositeAdversarialAttackPyTorch",
    FAMILY,
    gradient=[MODEL],
    events_fail="Invalid tensor shape, we expect CxHxW or BxCxHxW",
    needs=("kornia",),
    note="hue and saturation need RGB",
)
def composite(case: Case) -> None:
    attack = art.CompositeAdversarialAttackPyTorch(
        case.classifier,
        enabled_attack=(2, 3, 4, 5),
        pgd_epsilon=(-BIG, BIG),
        max_iter=3,
        max_inner_iter=5,
        batch_size=12,
        attack_order="random",
        verbose=False,
    )
    case.attacked(attack.generate(case.x, case.y), robust=LEFT)


@TABLE.row("BrendelBethgeAttack", FAMILY, gradient=[MODEL], needs=("numba",), slow=True)
def brendel_bethge(case: Case) -> None:
    attack = art.BrendelBethgeAttack(
        case.classifier, norm=2, steps=3, init_size=20, binary_search_steps=5, batch_size=4
    )
    case.attacked(attack.generate(case.x[:2], case.y[:2]), n=2, robust=LEFT)


@TABLE.row("AutoAttack, in parallel", FAMILY, "AutoAttack", needs=("multiprocess",), slow=True)
def auto_attack_parallel(case: Case) -> None:
    attack = art.AutoAttack(case.classifier, eps=BIG, eps_step=0.2, attacks=_members(case)[:2], parallel_pool_size=2)
    case.attacked(attack.generate(case.x[:4], case.y[:4]), n=4, eps=BIG, robust=0.25)
