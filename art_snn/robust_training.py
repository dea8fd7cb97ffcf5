"""Robust training that can be stopped at any moment and goes on."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from art_snn import checkpoints
from art_snn.augmentation import AUGMENTATIONS, augment
from art_snn.checkpoints import Checkpoint, CheckpointError
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.data import Split
from art_snn.data.frames import SPLIT_BY
from art_snn.data.sets import DIGITS, is_events, load
from art_snn.defences import DEFENCES, Budget
from art_snn.encoders import check_time_steps
from art_snn.errors import GradientWarning
from art_snn.models import digits_net, resnet17, vgg11, vgg_dvs, vgg_small
from art_snn.network import SpikingNetwork
from art_snn.rules import HART, get_rule
from art_snn.surrogates import check_decay
from art_snn.types import GradientRule, Reset
from art_snn.validation import check_count

VGG_SMALL, VGG_DVS = "vgg_small", "vgg_dvs"
ARCHITECTURES: dict[str, Callable[..., SpikingNetwork]] = {
    "digits_net": digits_net,
    VGG_SMALL: vgg_small,
    "vgg11": vgg11,
    "resnet17": resnet17,
    VGG_DVS: vgg_dvs,
}
OPTIMIZERS = ("adam", "sgd")
MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class RobustRecipe:
    """All that a training depends on: equal recipes on equal data give equal weights on one machine.

    Attributes:
        data: What `art_snn.data.sets.load` takes: "digits", "cifar10", "cifar100", a folder or file.
        split_by: "number" or "time": how event recordings are cut into frames.
        test_share: Share of event recordings to test on, in (0, 1); None for the source's own split.
        architecture: A name of `ARCHITECTURES`; None for "digits_net" on digits and "vgg_small" on
            images and "vgg_dvs" on event frames.
        width: Channels of the first layer of "vgg_small" and "vgg_dvs"; None for their own.
        image_size: Height and width that inputs are brought to; digits and CIFAR keep theirs.
        time_steps: T, >= 1.
        decay: Membrane retention lambda, in (0, 1].
        reset: "hard" or "soft".
        defence: A name of `art_snn.defences.DEFENCES`.
        eps: Largest change of a pixel (L-infinity), > 0; pixels are in [0, 1], event frames are counts.
        eps_step: Step of PGD, > 0; None for eps / 2.
        max_iter: Steps of PGD, >= 1.
        beta: Weight of TRADES' second term, > 0.
        rule: Name of the gradient rule that makes the examples.
        gamma: Gamma of HART, > 0.
        epochs: Passes over the training images, >= 1.
        batch_size: Images a step, >= 1.
        optimizer: "adam", or "sgd" with momentum 0.9.
        lr: Learning rate at the start, > 0; it follows a cosine to 0.
        weight_decay: Weight decay of the optimizer, >= 0.
        augmentation: A name of `art_snn.augmentation.AUGMENTATIONS`.
        mixed_precision: Compute the losses in bfloat16 where that is safe.
        seed: Seed of weights, batches and random starts, in 0 to 2**32 - 1.
    """

    data: str = DIGITS
    split_by: str = "number"
    test_share: float | None = None
    architecture: str | None = None
    width: int | None = None
    image_size: int = 32
    time_steps: int = 4
    decay: float = 0.9
    reset: Reset = "hard"
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
    weight_decay: float = 0.0
    augmentation: str = "none"
    mixed_precision: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_time_steps(self.time_steps)
        check_decay(self.decay)
        if self.reset not in ("hard", "soft"):
            raise ValueError(f"reset must be 'hard' or 'soft', got {self.reset!r}")
        if self.defence not in DEFENCES:
            raise ValueError(f"unknown defence {self.defence!r}; known: {', '.join(DEFENCES)}")
        for name, value, known in (
            ("architecture", self.architecture or VGG_SMALL, ARCHITECTURES),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("augmentation", self.augmentation, AUGMENTATIONS),
            ("split_by", self.split_by, SPLIT_BY),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        if self.width is not None and self.architecture not in (None, VGG_SMALL, VGG_DVS):
            raise ValueError(f"{self.architecture} has no width to choose, got width={self.width!r}")
        for name in ("epochs", "batch_size", "image_size"):
            check_count(name, getattr(self, name))
        if self.test_share is not None and not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be in (0, 1), got {self.test_share!r}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be a finite number >= 0, got {self.weight_decay!r}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be a finite number > 0, got {self.lr!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in 0 to 2**32 - 1, got {self.seed!r}")
        _ = self.budget, self.gradient_rule

    @property
    def architecture_name(self) -> str:
        """The architecture, also where it was left to the data."""
        if self.architecture is not None:
            return self.architecture
        if self.data == DIGITS:
            return "digits_net"
        return VGG_DVS if is_events(self.data) else VGG_SMALL

    @property
    def budget(self) -> Budget:
        """What the attacks of the training may do."""
        step = self.eps / 2 if self.eps_step is None else self.eps_step
        return Budget(
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


def make_classifier(
    recipe: RobustRecipe,
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
    """
    options: dict[str, Any] = {"decay": recipe.decay, "reset": recipe.reset, "nb_classes": nb_classes}
    name = recipe.architecture_name
    if (name == VGG_DVS) != (len(input_shape) == 4):
        raise ValueError(f"{name} does not take inputs of shape {input_shape}; leave the architecture out")
    if name != VGG_DVS:
        options["time_steps"] = recipe.time_steps
    if name != "digits_net":
        options |= {"in_channels": input_shape[-3], "image_size": input_shape[-1]}
    if recipe.width is not None:
        options["width"] = recipe.width
    network = ARCHITECTURES[name](**options)
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


def load_data(recipe: RobustRecipe, *, verbose: bool = False) -> Split:
    """Return the recipe's inputs and labels.

    Raises:
        DataError: The data are missing or damaged.
    """
    return load(
        recipe.data,
        image_size=recipe.image_size,
        time_steps=recipe.time_steps,
        split_by=recipe.split_by,
        test_share=recipe.test_share,
        verbose=verbose,
    )


def load_trained(checkpoint: Checkpoint, *, device_type: str = "gpu") -> tuple[RobustRecipe, PyTorchSNNClassifier]:
    """Return what a checkpoint was trained by, and its classifier, in evaluation mode.

    Raises:
        CheckpointError: It does not fit this version.
    """
    try:
        recipe = RobustRecipe(**checkpoint.recipe)
        shape, nb_classes = tuple(checkpoint.extra["input_shape"]), checkpoint.extra["nb_classes"]
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            clip_values = tuple(checkpoint.extra.get("clip_values", (0.0, 1.0)))
            classifier = make_classifier(recipe, shape, nb_classes, device_type, clip_values)
        classifier.load_state(checkpoint.path / checkpoints.WEIGHTS)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{checkpoint.path} does not fit this art_snn: {error}") from None
    return recipe, classifier


def check_run(run: Path, recipe: RobustRecipe) -> Checkpoint | None:
    """Return the newest checkpoint in a run's folder, or None if it has none.

    Raises:
        CheckpointError: It is damaged, or of a training with other settings, which are named.
    """
    if not run.is_dir() or checkpoints.newest(run) is None:
        return None
    found = checkpoints.read_checkpoint(run)
    own = asdict(recipe)
    there = {**asdict(RobustRecipe()), **found.recipe}  # settings that came later had their defaults
    other = [f"{name} is {there[name]!r} there and {own[name]!r} here" for name in own if there[name] != own[name]]
    if other:
        raise CheckpointError(f"{run} holds another training ({'; '.join(other)}); give another folder")
    return found


def train_robustly(
    recipe: RobustRecipe, data: Split, run: Path, *, device_type: str = "gpu", verbose: bool = False
) -> tuple[PyTorchSNNClassifier, list[dict[str, float]]]:
    """Train a network, or go on where a stopped training was; a checkpoint is written after every epoch.

    The global random generators of torch and numpy are seeded for the training, and put back afterwards.

    Args:
        recipe: What to train, and how.
        data: Images (N, C, H, W) in [0, 1], or event frames (N, T, C, H, W), and labels.
        run: Folder for the checkpoints; made if missing.
        device_type: "gpu" or "cpu".
        verbose: Show progress.

    Returns:
        The classifier in evaluation mode, and one entry an epoch: "loss", "train_accuracy" (of what the defence
        trains on), "test_accuracy" (clean), "seconds".

    Raises:
        CheckpointError: The folder holds another training, or a damaged checkpoint.
        ValueError: The loss became NaN or inf.
    """
    found = check_run(run, recipe)
    run.mkdir(parents=True, exist_ok=True)
    checkpoints.clean(run)
    with _own_generators(recipe.seed):
        nb_classes = int(data.y_train.max()) + 1
        # Images are in [0, 1]; counts of events have no such limit, and clipping them below what they are is an attack.
        clip_values = (0.0, float(data.x_train.max()) if is_events(recipe.data) else 1.0)
        classifier = make_classifier(recipe, data.x_train.shape[1:], nb_classes, device_type, clip_values)
        optimizer: Any = classifier.optimizer
        history: list[dict[str, float]] = []
        if found is not None:
            history = list(found.history)
            checkpoints.restore(found, classifier.model.network, optimizer)
        first = len(history)
        with tqdm(
            range(first, recipe.epochs),
            initial=first,
            total=recipe.epochs,
            disable=not verbose,
            desc=f"Training ({recipe.defence})",
            unit="epoch",
        ) as epochs:
            for epoch in epochs:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", GradientWarning)  # early on, some gradients are zero
                    entry = _epoch(classifier, recipe, data, epoch, verbose)
                history.append(entry)
                epochs.set_postfix({name: f"{value:.3f}" for name, value in entry.items() if name != "seconds"})
                checkpoints.save_checkpoint(
                    run,
                    epoch=epoch + 1,
                    network=classifier.model.network,
                    optimizer=optimizer,
                    recipe=asdict(recipe),
                    history=history,
                    extra={
                        "input_shape": list(data.x_train.shape[1:]),
                        "nb_classes": nb_classes,
                        "clip_values": list(clip_values),
                        "versions": {name: version(name) for name in ("adversarial-robustness-toolbox", "torch")},
                    },
                )
    classifier.model.eval()
    return classifier, history


def _epoch(
    classifier: PyTorchSNNClassifier, recipe: RobustRecipe, data: Split, epoch: int, verbose: bool
) -> dict[str, float]:
    """Train for one epoch; return its entry in the history."""
    start = time.perf_counter()
    optimizer: Any = classifier.optimizer
    batches = torch.randperm(len(data.x_train)).split(recipe.batch_size)
    total, correct = 0.0, 0
    for step, index in enumerate(tqdm(batches, desc="Batches", leave=False, disable=not verbose)):
        progress = (epoch + step / len(batches)) / recipe.epochs
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * (1 + math.cos(math.pi * progress)) / 2
        x, y = augment(data.x_train[index.numpy()], recipe.augmentation), data.y_train[index.numpy()]
        loss, logits = DEFENCES[recipe.defence](classifier, x, y, recipe.budget)
        if not torch.isfinite(loss):
            raise ValueError(f"the training loss became {loss.item()} in epoch {epoch + 1}; lower lr={recipe.lr:g}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(index)
        correct += int((logits.argmax(1).cpu().numpy() == y).sum())
    classifier.model.eval()
    hits = classifier.predict(data.x_test).argmax(1) == data.y_test
    return {
        "loss": total / len(data.x_train),
        "train_accuracy": correct / len(data.x_train),
        "test_accuracy": float(hits.mean()),
        "seconds": time.perf_counter() - start,
    }


@contextmanager
def _own_generators(seed: int) -> Iterator[None]:
    """Seed the global generators of torch and numpy for a block, and put them back."""
    state = np.random.get_state()  # noqa: NPY002  (ART draws from it)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
