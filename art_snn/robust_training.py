"""Robust training that can be stopped at any moment and goes on."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from art_snn import checkpoints
from art_snn.augmentation import augment
from art_snn.checkpoints import Checkpoint, CheckpointError
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.data import Split
from art_snn.data.sets import is_events, load
from art_snn.defences import DEFENCES
from art_snn.errors import GradientWarning
from art_snn.recipes import RobustRecipe, make_classifier


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
        BusyError: Another process trains in the folder.
        ValueError: The loss became NaN or inf.
    """
    check_run(run, recipe)
    run.mkdir(parents=True, exist_ok=True)
    with checkpoints.locked(run), _own_generators(recipe.seed):
        found = check_run(run, recipe)
        checkpoints.clean(run)
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
