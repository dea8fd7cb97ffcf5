"""The networks of the paper's evaluation: how each is trained, and what it is attacked with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from art_snn.attacks import FGSM, PAPER_STEP, PGD, Attack
from art_snn.checks import check_choice, check_seed, check_share
from art_snn.data import source
from art_snn.data.sources import absolute
from art_snn.errors import DataError
from art_snn.training.recipe import Recipe

SIZES = ("small", "full")
EPS = (2 / 255, 4 / 255, 8 / 255)
ROBUST_EPS = 2.55 / 255
# Frames are counts of events; what 8/255 is to an image would be lost among them.
EVENT_EPS = (8 / 255, 0.1, 0.25)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A network of the evaluation, and its attacks."""

    name: str  #: Name of its folder.
    recipe: Recipe  #: How it is trained.
    eps: tuple[float, ...] = EPS  #: Sizes of the attacks, where these are left out.
    #: The attacks; None for FGSM and PGD, whose step is the paper's 2/255 on images, and eps / 4 on counts of events.
    attacks: tuple[Attack, ...] | None = None

    def __post_init__(self) -> None:
        if self.attacks is None:
            step = None if self.recipe.events else PAPER_STEP
            attacks = [attack for eps in self.eps for attack in (FGSM(eps=eps), PGD(eps=eps, eps_step=step))]
            object.__setattr__(self, "attacks", tuple(attacks))

    @property
    def twin(self) -> Experiment:
        """The same experiment with the next seed: the network that black-box attacks take their gradient from."""
        return replace(self, name=f"{self.name}-twin", recipe=replace(self.recipe, seed=self.recipe.seed + 1))


def paper_experiments(
    size: str,
    *,
    images: str | None = None,
    events: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    test_share: float | None = None,
    robust: bool = False,
    mixed_precision: bool = True,
    seed: int = 0,
) -> list[Experiment]:
    """Return the networks of the paper's evaluation at a size.

    Small, for two cores: `vgg_small` with T=4 and lambda 0.5, 0.9 and 1.0 on images, a narrow `vgg_dvs` with T=10 and
    lambda 0.5 and 1.0 on events. Full: `vgg11` with T=4, 8 and 16 and `resnet17`, `vgg_dvs` with T=5 and 10, with the
    learning rate and the number of epochs of the paper's public code.

    Args:
        size: "small" or "full".
        images: "digits", "cifar10", "cifar100" or a folder of images; None for none.
        events: What `art_snn.data.load_event_frames` takes, such as an .npz of event recordings; None for none.
        epochs: Passes over the training data; None for 6 (20 over small sets of events) and 200.
        lr: Learning rate at the start, > 0; None for 0.05 and 0.1.
        test_share: Share of the recordings to test on, in (0, 1); None for 0.3 and the source's own split.
        robust: Train robust targets (*), too; always done at full size.
        mixed_precision: Train in bfloat16 where that is safe.
        seed: Seed of the targets; their twins have the next one.

    Raises:
        DataError: The images or events are not there, or are not of this kind.
        ValueError: A value is out of its range, or there are neither images nor events.
    """
    check_choice("size", size, SIZES)
    check_seed(seed, most=2**32 - 2)  # the twin has the next one
    if test_share is not None:
        check_share("test_share", test_share)
    if images is None and events is None:
        raise ValueError("there are neither images nor events to train on")
    small = size == "small"
    common: dict[str, Any] = {
        "defence": "none",
        "optimizer": "sgd",
        "lr": (0.05 if small else 0.1) if lr is None else lr,
        "weight_decay": 5e-4,
        "epochs": (6 if small else 200) if epochs is None else epochs,
        "seed": seed,
        "mixed_precision": mixed_precision,
    }
    experiments = [] if images is None else _on_images(_source(images, events=False), common, small, robust)
    if events is not None:
        if small:
            common |= {"batch_size": 16, "epochs": 20 if epochs is None else epochs}
        common["test_share"] = 0.3 if small and test_share is None else test_share
        experiments += _on_events(_source(events, events=True), common, small)
    return experiments


def _source(data: str, *, events: bool) -> str:
    data = absolute(data)
    if source(data).events != events:
        raise DataError(f"{data!r} holds {'images, not events' if events else 'events, not images'}")
    return data


def _on_images(images: str, common: dict[str, Any], small: bool, robust: bool) -> list[Experiment]:
    base = Recipe(
        **common,
        data=images,
        architecture=None if small else "vgg11",
        augmentation="none" if images == "digits" else "crop-flip" if small else "crop-flip-cutout",
        time_steps=4 if small else 8,
    )
    experiments = [_experiment(base, decay=decay) for decay in (0.9, 0.5, 1.0)]
    if robust or not small:
        experiments.append(_experiment(base, decay=0.9, defence="fgsm", eps=ROBUST_EPS))
    if not small:
        experiments.append(_experiment(base, decay=0.9, architecture="resnet17"))
        experiments += [_experiment(base, decay=d, time_steps=t) for d in (0.5, 1.0) for t in (4, 16)]
    return experiments


def _on_events(events: str, common: dict[str, Any], small: bool) -> list[Experiment]:
    base = Recipe(**common, data=events, time_steps=10, width=4 if small else None, augmentation="crop")
    steps = (10,) if small else (10, 5)
    return [_experiment(base, EVENT_EPS, time_steps=t, decay=d) for t in steps for d in (0.5, 1.0)]


def _experiment(base: Recipe, sizes: tuple[float, ...] = EPS, **changes: Any) -> Experiment:
    recipe = replace(base, **changes)
    star = "-robust" if recipe.defence != "none" else ""
    name = f"{recipe.architecture}-T{recipe.time_steps}-lambda{recipe.decay:g}{star}"
    return Experiment(name=name, recipe=recipe, eps=sizes)
