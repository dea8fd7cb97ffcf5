"""Training that can be stopped at any moment and resumes."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from art_snn.classifier.fit import diverged, not_finite
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data import Split, source
from art_snn.errors import (
    ArtSnnError,
    CheckpointError,
    DataError,
    GradientWarning,
    InexactReplayWarning,
    TrainingError,
    UsageError,
)
from art_snn.labels import class_indices
from art_snn.ranges import check_range
from art_snn.training import checkpoints
from art_snn.training.augmentation import augment
from art_snn.training.build import MakeNetwork, inputs_of, make_classifier
from art_snn.training.checkpoints import Checkpoint, History
from art_snn.training.losses import DEFENCES
from art_snn.training.recipe import Recipe


def load_data(recipe: Recipe, *, verbose: bool = False) -> Split:
    """Return the recipe's inputs and labels, as class indices.

    Raises:
        DataError: The data are missing or damaged.
    """
    data = source(recipe.data)
    if data.events != recipe.events:
        kind = "event recordings" if recipe.events else "images"
        raise DataError(f"{recipe.data!r} does not hold the {kind} that the recipe is for; put them there")
    return with_class_indices(data.load(recipe.framing, test_share=recipe.test_share, verbose=verbose), DataError)


def with_class_indices(data: Split, error: type[ArtSnnError]) -> Split:
    """Return data with labels as class indices (N,), int64; raise the error if they are none of these inputs."""
    try:
        y_train = class_indices(data.y_train, len(data.x_train), name="y_train")
        return data._replace(y_train=y_train, y_test=class_indices(data.y_test, len(data.x_test), name="y_test"))
    except (TypeError, ValueError) as reason:
        raise error(str(reason)) from None


def load_trained(
    checkpoint: Checkpoint, *, device_type: str = "gpu", make_network: MakeNetwork | None = None
) -> tuple[Recipe, PyTorchSNNClassifier]:
    """Return what a checkpoint was trained by, and its classifier, in evaluation mode.

    Args:
        checkpoint: The checkpoint.
        device_type: "gpu" or "cpu".
        make_network: The function that the recipe's ``model`` names, if it has one.

    Raises:
        CheckpointError: Its weights are not those of the recipe's network, or the function is missing.
    """
    model = checkpoint.recipe.model
    if model is not None and make_network is None:
        raise CheckpointError(
            f"{checkpoint.path} holds the weights of {model}, whose code is not run unless you give it"
        )
    settings = checkpoint.input_shape, checkpoint.nb_classes, device_type, checkpoint.clip_values
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            classifier = make_classifier(checkpoint.recipe, *settings, make_network=make_network)
        except UsageError:  # of the function
            raise
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{checkpoint.path}: {checkpoint.recipe.network_name} has changed: {reason}"
            ) from None
    checkpoint.restore_weights(classifier)
    return checkpoint.recipe, classifier


def resume_point(run: Path, recipe: Recipe) -> Checkpoint | None:
    """Return a run's newest checkpoint, or None; raise CheckpointError if it is damaged, or of another training."""
    if not run.is_dir() or checkpoints.newest(run) is None:
        return None
    checkpoint = checkpoints.read_checkpoint(run)
    here, there = asdict(recipe), asdict(checkpoint.recipe)
    other = [f"{name} is {there[name]!r} there and {here[name]!r} here" for name in here if there[name] != here[name]]
    if other:
        raise CheckpointError(f"{run} holds another training ({'; '.join(other)}); give another folder")
    return checkpoint


def train(
    recipe: Recipe,
    data: Split,
    run: Path | None,
    *,
    device_type: str = "gpu",
    verbose: bool = False,
    wait: bool = False,
    make_network: MakeNetwork | None = None,
) -> tuple[PyTorchSNNClassifier, History]:
    """Train a network, or resume a stopped training; a checkpoint is written after every epoch.

    The global random generators of torch and numpy are seeded for the training, and put back afterwards.

    Args:
        recipe: What to train, and how.
        data: Images (N, C, H, W) in [0, 1], or event frames (N, T, C, H, W), and labels in any form of
            `art_snn.labels`; the class of a row counts.
        run: Folder for the checkpoints, made if missing; None to keep none.
        device_type: "gpu" or "cpu".
        verbose: Show progress.
        wait: Wait for another process that trains in the folder.
        make_network: The function that the recipe's ``model`` names, if it has one. It is called once, after seeding.

    Returns:
        The classifier in evaluation mode, and one entry per epoch: "loss", "train_accuracy" (of what the defence
        trains on), "test_accuracy" (clean), "seconds".

    Raises:
        CheckpointError: The folder holds another training, or a damaged checkpoint.
        BusyError: Another process trains in the folder.
        TrainingError: Inputs or labels do not fit the recipe, inputs are out of their range, or loss or weights became
            NaN or inf; checkpoints stay.
    """
    data = with_class_indices(data, TrainingError)
    with seeded(recipe.seed):
        classifier = _untrained(recipe, data, device_type, make_network)
        with nullcontext() if run is None else checkpoints.locked(run, wait=wait):
            history = _train(classifier, recipe, data, run, verbose)
    classifier.model.eval()
    return classifier, history


def _untrained(recipe: Recipe, data: Split, device_type: str, make_network: MakeNetwork | None) -> PyTorchSNNClassifier:
    """Return the classifier to train; raise TrainingError if the data do not fit the recipe."""
    shape, nb_classes, clip_values = inputs_of(recipe, data)
    recipe.check_inputs(shape, len(data.x_train))
    for name in ("x_train", "x_test"):
        check_range(name, getattr(data, name), clip_values, TrainingError)
    try:
        classifier = make_classifier(recipe, shape, nb_classes, device_type, clip_values, make_network)
    except UsageError:  # of the function, by which it is not the inputs' fault
        raise
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"{recipe.network_name} cannot be trained on inputs {shape}: {reason}") from None
    if not any(weight.requires_grad for weight in classifier.model.parameters()):
        raise TrainingError(f"{recipe.network_name} has no weights to train: none requires a gradient")
    return classifier


def _train(classifier: PyTorchSNNClassifier, recipe: Recipe, data: Split, run: Path | None, verbose: bool) -> History:
    """Train for the epochs that are left, in a folder that is locked; return the history."""
    history: History = []
    if run is not None:
        start = resume_point(run, recipe)
        checkpoints.clean(run)
        if start is not None:
            history = list(start.history)
            start.restore(classifier)
    first = len(history)
    bar: dict[str, Any] = {"initial": first, "total": recipe.epochs, "unit": "epoch", "disable": not verbose}
    with tqdm(range(first, recipe.epochs), f"Training ({recipe.defence})", **bar) as epochs:
        for epoch in epochs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", GradientWarning)  # early on, some gradients are zero
                warnings.simplefilter("ignore", InexactReplayWarning)  # the recipes' networks are exact until NaN
                entry = _epoch(classifier, recipe, data, epoch, verbose)
            history.append(entry)
            epochs.set_postfix({name: f"{value:.3f}" for name, value in entry.items() if name != "seconds"})
            if run is not None:
                checkpoints.write_checkpoint(run, classifier, recipe, history)
    return history


def _epoch(
    classifier: PyTorchSNNClassifier, recipe: Recipe, data: Split, epoch: int, verbose: bool
) -> dict[str, float]:
    """Train for one epoch; return its entry in the history."""
    start = time.perf_counter()
    optimizer: Any = classifier.optimizer
    batches = _batches(recipe, data)
    total, correct = 0.0, 0
    for step, index in enumerate(tqdm(batches, desc="Batches", leave=False, disable=not verbose)):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(recipe, epoch, step / len(batches))
        x, y = augment(data.x_train[index.numpy()], recipe.augmentation), data.y_train[index.numpy()]
        loss, logits = DEFENCES[recipe.defence](classifier, x, y, recipe.loss_settings)
        if not torch.isfinite(loss):
            raise diverged("training loss", epoch, recipe.lr)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(index)
        correct += int((logits.argmax(1).cpu().numpy() == y).sum())
    if not_finite(classifier.model):
        raise diverged("weights", epoch, recipe.lr)
    classifier.model.eval()
    hits = classifier.predict(data.x_test).argmax(1) == data.y_test
    return {
        "loss": total / len(data.x_train),
        "train_accuracy": correct / len(data.x_train),
        "test_accuracy": float(hits.mean()),
        "seconds": time.perf_counter() - start,
    }


def _learning_rate(recipe: Recipe, epoch: int, progress: float) -> float:
    """Return the learning rate after ``progress``, in [0, 1), of an epoch that is counted from 0."""
    if recipe.schedule == "cosine":
        return recipe.lr * (1 + math.cos(math.pi * ((epoch + progress) / recipe.epochs))) / 2
    rate = recipe.lr
    for past in range(epoch):  # one epoch after another, as torch's CosineAnnealingLR does, to the last bit
        before, after = (1 + math.cos(math.pi * i / recipe.epochs) for i in (past, past + 1))
        rate *= after / before
    return rate


def _batches(recipe: Recipe, data: Split) -> list[Tensor]:
    """Draw the indices of an epoch's batches."""
    batches = list(torch.randperm(len(data.x_train)).split(recipe.batch_size))
    # At T=1, a last sample alone joins the batch before it: batch norm has no variance of one row.
    if len(batches) > 1 and len(batches[-1]) == 1 and recipe.steps(data.x_train.shape[1:]) in (1, None):
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch and numpy for a block, and put them back."""
    state = np.random.get_state()  # noqa: NPY002  (ART draws from it)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
