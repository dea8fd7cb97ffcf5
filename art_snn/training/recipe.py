"""Recipes: all that a training depends on, and the classifier that it starts from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from art_snn.checks import check_choice, check_count, check_decay
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data.cifar import NAMES as CIFAR
from art_snn.data.frames import SPLIT_BY
from art_snn.data.sets import DIGITS, is_events, title
from art_snn.errors import TrainingError
from art_snn.rules import HART, get_rule
from art_snn.rules.base import GradientRule
from art_snn.snn.dynamics import RESETS, Reset
from art_snn.snn.models.table import ARCHITECTURES, CIFAR100_STATISTICS, DIGITS_NET, NORMALIZING, VGG_DVS, VGG_SMALL
from art_snn.snn.neurons import LIF
from art_snn.snn.surrogates import ATan, Sigmoid, Triangle
from art_snn.training.augmentation import AUGMENTATIONS
from art_snn.training.losses import DEFENCES, LossSettings

SURROGATES: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "triangle": Triangle,
    "atan": ATan,
    "sigmoid": Sigmoid,
}
OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("cosine", "cosine-epochs")
MOMENTUM = 0.9
# Rises when equal recipes would be trained to other weights than before.
_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a training depends on: equal recipes on equal data give equal weights on one machine.

    Attributes:
        data: What `art_snn.data.sets.load` takes: "digits", "cifar10", "cifar100", a folder or file.
        events: Whether the data are event recordings; None to look, once.
        split_by: "number" or "time": how event recordings are cut into frames.
        test_share: Share of event recordings to test on, in (0, 1); None for the source's own split.
        architecture: A name of `ARCHITECTURES`; None for "digits_net" on digits and "vgg_small" on
            images and "vgg_dvs" on event frames.
        width: Channels of the first layer of "vgg_small" and "vgg_dvs", >= 1; None for their own.
        image_size: Height and width that inputs are brought to; digits and CIFAR keep theirs.
        time_steps: T, >= 1.
        decay: Membrane retention lambda, in (0, 1].
        reset: "hard" or "soft".
        surrogate: Slope of the neurons in training, "triangle" (the papers'), "atan" or "sigmoid".
        defence: A name of `art_snn.training.losses.DEFENCES`.
        eps: Largest change of a pixel (L-infinity), > 0; pixels are in [0, 1], event frames are counts.
        eps_step: Step of PGD, > 0; None for eps / 2.
        max_iter: Steps of PGD, >= 1.
        beta: Weight of TRADES' second term, > 0.
        rule: Name of the gradient rule that makes the examples.
        gamma: Gamma of HART, > 0.
        epochs: Passes over the training images, >= 1.
        batch_size: Images a step, >= 1.
        optimizer: "adam", or "sgd" with momentum 0.9.
        lr: Learning rate at the start, > 0.
        schedule: "cosine": the learning rate falls to 0 along a cosine, from batch to batch; "cosine-epochs": from
            epoch to epoch.
        weight_decay: Weight decay of the optimizer, >= 0.
        augmentation: A name of `art_snn.training.augmentation.AUGMENTATIONS`.
        mixed_precision: Compute the losses in bfloat16 where that is safe.
        seed: Seed of weights, batches and random starts, in 0 to 2**32 - 1.
    """

    data: str = DIGITS
    events: bool | None = None
    split_by: str = "number"
    test_share: float | None = None
    architecture: str | None = None
    width: int | None = None
    image_size: int = 32
    time_steps: int = 4
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
        if self.events is None:
            object.__setattr__(self, "events", is_events(self.data))
        if self.architecture is None:
            own = DIGITS_NET if self.data == DIGITS else VGG_DVS if self.events else VGG_SMALL
            object.__setattr__(self, "architecture", own)
        check_count("time_steps", self.time_steps)
        check_decay(self.decay)
        check_choice("reset", self.reset, RESETS)
        if self.defence not in DEFENCES:
            raise ValueError(f"unknown defence {self.defence!r}; known: {', '.join(DEFENCES)}")
        for name, value, known in (
            ("architecture", self.architecture, ARCHITECTURES),
            ("surrogate", self.surrogate, SURROGATES),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("augmentation", self.augmentation, AUGMENTATIONS),
            ("split_by", self.split_by, SPLIT_BY),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        if self.width is not None and self.architecture not in (VGG_SMALL, VGG_DVS):
            raise ValueError(f"{self.architecture} has no width to choose, got width={self.width!r}")
        for name in ("epochs", "batch_size", "image_size", *(() if self.width is None else ("width",))):
            check_count(name, getattr(self, name))
        if self.test_share is not None and not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be in (0, 1), got {self.test_share!r}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be a finite number >= 0, got {self.weight_decay!r}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be a finite number > 0, got {self.lr!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in 0 to 2**32 - 1, got {self.seed!r}")
        _ = self.loss_settings, self.gradient_rule

    @property
    def title(self) -> str:
        """What tables call the data set."""
        return title(self.data)

    @property
    def digest(self) -> str:
        """Sixteen digits that equal recipes share."""
        text = json.dumps({**asdict(self), "version": _VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def loss_settings(self) -> LossSettings:
        """What the losses of the training need."""
        step = self.eps / 2 if self.eps_step is None else self.eps_step
        return LossSettings(
            eps=self.eps,
            eps_step=step,
            max_iter=self.max_iter,
            beta=self.beta,
            mixed_precision=self.mixed_precision,
        )

    @property
    def gradient_rule(self) -> GradientRule:
        """The rule that makes the examples."""
        return HART(gamma=self.gamma) if self.rule == HART.name else get_rule(self.rule)


# The network of the documentation, trained in twenty seconds on one core.
DIGITS_RECIPE = Recipe(defence="none", time_steps=8, schedule="cosine-epochs")


def steps_of(recipe: Recipe, input_shape: tuple[int, ...]) -> int:
    """Return T for inputs of a shape, (C, H, W) or (T, C, H, W)."""
    return input_shape[0] if len(input_shape) == 4 else recipe.time_steps


def expected_shape(recipe: Recipe) -> tuple[int, ...]:
    """Return the shape of one input, (C, H, W) or (T, C, H, W), before the data are loaded.

    Event frames are taken to have two polarities, as they nearly always do.
    """
    if recipe.data == DIGITS:
        return 1, 8, 8
    if recipe.data in CIFAR:
        return 3, 32, 32
    side = recipe.image_size
    return (recipe.time_steps, 2, side, side) if is_events(recipe.data) else (3, side, side)


def check_architecture(recipe: Recipe, input_shape: tuple[int, ...]) -> None:
    """Raise TrainingError unless the recipe's network takes inputs of a shape, (C, H, W) or (T, C, H, W)."""
    name, frames = recipe.architecture, len(input_shape) == 4
    if frames and name != VGG_DVS:
        raise TrainingError(f"{name} takes images, not event frames (T, C, H, W); leave the architecture out")
    if not frames and name == VGG_DVS:
        raise TrainingError(f"{name} takes event frames, not images {input_shape}; leave the architecture out")
    if name == DIGITS_NET and input_shape != (1, 8, 8):
        raise TrainingError(f"{name} takes images (1, 8, 8), not {input_shape}; leave the architecture out")


def check_batches(recipe: Recipe, input_shape: tuple[int, ...], samples: int | None = None) -> None:
    """Raise TrainingError if a batch would be one row, which batch norm refuses.

    Args:
        recipe: The recipe.
        input_shape: (C, H, W) or (T, C, H, W).
        samples: Number of training samples, if it is known.
    """
    if steps_of(recipe, input_shape) > 1:
        return
    if recipe.batch_size == 1:
        raise TrainingError("batch norm needs two samples at T=1, got batch_size=1; raise it, or time_steps")
    if samples == 1:
        raise TrainingError("batch norm needs two samples at T=1, got 1 training sample; raise time_steps")


def make_classifier(
    recipe: Recipe,
    input_shape: tuple[int, ...],
    nb_classes: int,
    device_type: str,
    clip_values: tuple[float, float] = (0.0, 1.0),
) -> PyTorchSNNClassifier:
    """Return an untrained classifier; the global torch generator decides on its weights.

    Args:
        recipe: The recipe.
        input_shape: (C, H, W) or (T, C, H, W).
        nb_classes: K, >= 2.
        device_type: "gpu" or "cpu".
        clip_values: Range of the inputs.

    Raises:
        TrainingError: The architecture does not take such inputs.
        ValueError: It cannot be built for them: K is 1, or height and width are no multiples of what it halves.
    """
    check_architecture(recipe, input_shape)
    options: dict[str, Any] = {"decay": recipe.decay, "reset": recipe.reset, "nb_classes": nb_classes}
    name = recipe.architecture
    if name != VGG_DVS:
        options["time_steps"] = recipe.time_steps
    if name != DIGITS_NET:
        options |= {"in_channels": input_shape[-3], "image_size": input_shape[-1]}
    if name in NORMALIZING and input_shape[-3] != 3:
        options |= {"mean": [0.5] * input_shape[-3], "std": [0.25] * input_shape[-3]}  # as vgg_small
    elif name in NORMALIZING and recipe.data == "cifar100":
        options |= CIFAR100_STATISTICS
    if recipe.width is not None:
        options["width"] = recipe.width
    # Convolutions, norms and pools are faster with the channels last. It is not so in the builders, since some of ART's
    # classes look at activations inside a network in ways that need the ordinary layout.
    network = ARCHITECTURES[str(name)](**options).to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, LIF):
            module.surrogate = SURROGATES[recipe.surrogate]()
    settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), momentum=MOMENTUM, **settings)
    else:
        optimizer = torch.optim.Adam(network.parameters(), **settings)
    return PyTorchSNNClassifier(
        network,
        nn.CrossEntropyLoss(),
        input_shape,
        nb_classes,
        optimizer=optimizer,
        clip_values=clip_values,
        device_type=device_type,
        gradient_rule=recipe.gradient_rule,
    )


def has_fast_bfloat16(device_type: str) -> bool:
    """Say whether a device computes in bfloat16 itself, so that mixed precision saves time there.

    Args:
        device_type: "gpu" (falls back to the CPU) or "cpu".
    """
    if device_type == "gpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public name for it
    return supported is not None and bool(supported())
