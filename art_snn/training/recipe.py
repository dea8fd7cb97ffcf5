"""Recipes: all that a training depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from torch.optim import SGD, Adam, Optimizer

from art_snn.checks import (
    check_choice,
    check_count,
    check_decay,
    check_not_negative,
    check_positive,
    check_seed,
    check_share,
)
from art_snn.data import Framing, source
from art_snn.errors import TrainingError
from art_snn.rules import get_rule
from art_snn.rules.base import GradientRule
from art_snn.snn.dynamics import RESETS, Reset
from art_snn.snn.models import Architecture, architecture_names, get_architecture
from art_snn.snn.surrogates import ATan, Sigmoid, Triangle
from art_snn.training.augmentation import AUGMENTATIONS
from art_snn.training.losses import DEFENCES, STEPPED, LossSettings

SURROGATES: dict[str, Callable[[], object]] = {"triangle": Triangle, "atan": ATan, "sigmoid": Sigmoid}
MOMENTUM = 0.9
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "sgd": partial(SGD, momentum=MOMENTUM)}
SCHEDULES = ("cosine", "cosine-epochs")
TIME_STEPS = 4
OF_ARCHITECTURES = ("architecture", "width", "decay", "reset", "surrogate")  # settings that a model has itself
_VERSION = 2  # rises when equal recipes would be trained to other weights than before


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a training depends on: equal recipes on equal data give equal weights on one machine.

    Attributes:
        data: What `art_snn.data.source` takes: "digits", "cifar10", "cifar100", a folder or file.
        events: Whether the data are event recordings; None to look, once.
        split_by: "number" or "time": how event recordings are cut into frames.
        binary: Whether frames of event recordings are 1 where there are events, in the place of counts.
        test_share: Share of event recordings to test on, in (0, 1); None for the source's own split.
        model: A user's own network, by the words that name its function, such as "nets.py:make"; None for a registered
            architecture. It has neurons of its own: ``decay``, ``reset`` and ``surrogate`` do nothing.
        architecture: A registered name; None for "digits_net" on digits, "vgg_small" on images, "vgg_dvs" on events,
            and where there is a ``model``.
        width: Channels of the first layer of "vgg_small" and "vgg_dvs", >= 1; None for their own.
        image_size: Height and width of inputs, but of digits and CIFAR; None for 32, and 48 for event recordings.
        time_steps: T, >= 1; None for 4, and for what a ``model`` does with images.
        decay: Membrane retention lambda, in (0, 1].
        reset: "hard" or "soft".
        surrogate: Slope of the neurons in training, "triangle" (the papers'), "atan" or "sigmoid".
        defence: A name of `art_snn.training.losses.DEFENCES`.
        eps: Largest change of a pixel (L-infinity), > 0; pixels are in [0, 1], event frames are counts.
        eps_step: Step of PGD, > 0; None for eps / 2.
        max_iter: Steps of PGD, >= 1.
        beta: Weight of TRADES' second term, > 0.
        rule: Name of the gradient rule that makes the examples.
        gamma: Gamma of the rule, > 0, if it has one.
        epochs: Passes over the training images, >= 1.
        batch_size: Images per step, >= 1.
        optimizer: "adam", or "sgd" with momentum 0.9.
        lr: Learning rate at the start, > 0.
        schedule: It falls to 0 along a cosine, from batch to batch ("cosine") or epoch to epoch ("cosine-epochs").
        weight_decay: Weight decay of the optimizer, >= 0.
        augmentation: A name of `art_snn.training.augmentation.AUGMENTATIONS`.
        mixed_precision: Take the losses' passes in bfloat16 where that is safe; the attacks stay in float32.
        seed: Seed of weights, batches and random starts, in 0 to 2**32 - 1.
    """

    data: str = "digits"
    events: bool | None = None
    split_by: str = "number"
    binary: bool = False
    test_share: float | None = None
    model: str | None = None
    architecture: str | None = None
    width: int | None = None
    image_size: int | None = None
    time_steps: int | None = None
    decay: float = 0.9
    reset: Reset = "hard"
    surrogate: str = "triangle"
    defence: str = "madry-pgd"
    eps: float = 0.1
    eps_step: float | None = None
    max_iter: int = 3
    beta: float = 6.0
    rule: str = "hart"
    gamma: float = 1.0
    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float = 2e-3
    schedule: str = "cosine"
    weight_decay: float = 0.0
    augmentation: str = "none"
    mixed_precision: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        # Once, at birth: the disk that is asked here may be another one when the run is loaded.
        object.__setattr__(self, "data", str(self.data))
        data = source(self.data)
        if self.model is not None and self.architecture is not None:
            raise ValueError(f"a recipe has a model or an architecture, got {self.model!r} and {self.architecture!r}")
        for name in ("events", "image_size", *(("architecture",) if self.model is None else ())):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(data, name))
        if self.time_steps is None and (self.model is None or self.events):
            object.__setattr__(self, "time_steps", TIME_STEPS)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # which no checkpoint may hold
                object.__setattr__(self, field.name, value.item())
        choices: dict[str, Iterable[str]] = {"defence": DEFENCES, "reset": RESETS, "surrogate": SURROGATES}
        choices |= {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "augmentation": AUGMENTATIONS}
        if self.model is None:
            choices["architecture"] = architecture_names()
        for name, known in choices.items():
            check_choice(name, getattr(self, name), known)
        if self.width is not None:
            if self.model is not None or "width" not in self.network.options:
                raise ValueError(f"{self.network_name} has no width to choose, got width={self.width!r}")
            check_count("width", self.width)
        if self.binary and not self.events:
            raise ValueError(f"binary frames are of event recordings, and {self.data!r} are images; leave it out")
        if self.test_share is not None:
            check_share("test_share", self.test_share)
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        check_decay(self.decay)
        check_not_negative("weight_decay", self.weight_decay)
        check_positive("lr", self.lr)
        check_seed(self.seed)
        _ = self.framing, self.loss_settings, self.gradient_rule  # each checks its settings

    @property
    def title(self) -> str:
        """What tables call the data set."""
        return source(self.data).title

    @property
    def digest(self) -> str:
        """Sixteen digits that equal recipes share."""
        settings = asdict(self) | {"version": _VERSION}
        if self.model is None:  # as it was before there were models
            del settings["model"]
        if not self.binary:  # nor binary frames
            del settings["binary"]
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def framing(self) -> Framing:
        """Size of the inputs, and how event recordings are cut."""
        time_steps = TIME_STEPS if self.time_steps is None else self.time_steps  # images have none
        size = self.image_size
        return Framing(time_steps=time_steps, split_by=self.split_by, image_size=size, binary=self.binary)

    @property
    def network_name(self) -> str:
        """What messages call the network."""
        return str(self.architecture if self.model is None else self.model)

    @property
    def network(self) -> Architecture:
        """Entry of the network in the table, where it is no ``model``."""
        return get_architecture(str(self.architecture))

    @property
    def loss_settings(self) -> LossSettings:
        """What the losses of the training need."""
        return LossSettings(**{field.name: getattr(self, field.name) for field in fields(LossSettings)})

    @property
    def gradient_rule(self) -> GradientRule:
        """The rule that makes the examples."""
        rule = get_rule(self.rule)
        return replace(rule, gamma=self.gamma) if hasattr(rule, "gamma") else rule  # type: ignore[type-var]

    def attack_settings(self, eps: float | None = None) -> dict[str, Any]:
        """Return what `art_snn.attacks.make_attack` takes to attack the network as it was trained.

        With steps, if it was trained on examples of PGD; else, attacks have their own. Another ``eps`` than the
        training's has a step of the same share of it, unless the recipe has an ``eps_step``.
        """
        eps = self.eps if eps is None else eps
        if self.defence not in STEPPED:
            return {"eps": eps}
        return {
            "eps": eps,
            "eps_step": replace(self.loss_settings, eps=eps, eps_step=self.eps_step).eps_step,
            "steps": self.max_iter,
        }

    def steps(self, input_shape: tuple[int, ...]) -> int | None:
        """Return T for inputs of a shape, (C, H, W) or (T, C, H, W); None where only a ``model`` knows."""
        return input_shape[0] if len(input_shape) == 4 else self.time_steps

    def check_inputs(self, input_shape: tuple[int, ...], samples: int | None = None) -> None:
        """Raise TrainingError unless the network can be trained on inputs, (C, H, W) or (T, C, H, W), and so many.

        What a ``model`` takes is seen when it runs.
        """
        if self.model is not None:
            return
        name, network, advice = self.architecture, self.network, "leave the architecture out"
        frames = len(input_shape) == 4
        if frames and not network.events:
            raise TrainingError(f"{name} takes images, not event frames (T, C, H, W); {advice}")
        if network.events and not frames:
            raise TrainingError(f"{name} takes event frames, not images {input_shape}; {advice}")
        if network.fixed_shape not in (None, input_shape):
            raise TrainingError(f"{name} takes images {network.fixed_shape}, not {input_shape}; {advice}")
        if any(side % network.multiple for side in input_shape[-2:]):
            sizes = f"inputs whose height and width are multiples of {network.multiple}"
            raise TrainingError(f"{name} takes {sizes}, got {input_shape}")
        if self.steps(input_shape) == 1 and 1 in (self.batch_size, samples):
            few = "batch_size=1" if self.batch_size == 1 else "1 training sample"
            raise TrainingError(f"batch norm needs two samples at T=1, got {few}; raise it, or time_steps")


# The network of the documentation, trained in twenty seconds on one core.
DIGITS_RECIPE = Recipe(defence="none", time_steps=8, schedule="cosine-epochs")
