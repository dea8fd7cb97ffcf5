"""Trained networks in the cache folder."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data import Split
from art_snn.errors import CheckpointError
from art_snn.files import cache_folder
from art_snn.training import checkpoints
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_trained, resume_point, train

logger = logging.getLogger(__name__)


def train_cached(
    recipe: Recipe, data: Split, *, device_type: str = "gpu", verbose: bool = False
) -> tuple[PyTorchSNNClassifier, bool]:
    """Return a trained classifier from the cache folder, or train it there; a damaged entry is trained again.

    The network has the ordinary layout in memory, which some of ART's classes need.

    Args:
        recipe: What to train, and how; equal recipes share an entry.
        data: The recipe's data.
        device_type: "gpu" or "cpu".
        verbose: Show progress.

    Returns:
        The classifier in evaluation mode, and whether it came from the cache.

    Raises:
        TrainingError: Inputs or labels do not fit the recipe, or the loss or the weights became NaN or inf.
    """
    folder = cache_folder()
    run = folder / f"{recipe.title}-{recipe.digest}"
    try:
        classifier = _cached(recipe, run, device_type)
        cached = classifier is not None
        if classifier is None:
            if old := [file.name for file in folder.glob("digits-*.safetensors")]:
                logger.warning("networks of art_snn 0.1.0 in %s are no longer used; delete %s", folder, ", ".join(old))
            classifier, _ = train(recipe, data, run, device_type=device_type, verbose=verbose, wait=True)
    except OSError as error:
        logger.warning("the trained network is not kept (ART_SNN_CACHE names another folder): %s", error)
        cached = False
        classifier, _ = train(recipe, data, None, device_type=device_type, verbose=verbose)
    classifier.model.to(memory_format=torch.contiguous_format)
    return classifier, cached


def _cached(recipe: Recipe, run: Path, device_type: str) -> PyTorchSNNClassifier | None:
    """Return the classifier of a whole training; None, and no checkpoint is left, if there is a damaged one."""
    try:
        checkpoint = resume_point(run, recipe)
        if checkpoint is None or checkpoint.epoch < recipe.epochs:
            return None
        return load_trained(checkpoint, device_type=device_type)[1]
    except CheckpointError as error:
        logger.warning("training anew: %s", error)
    with checkpoints.locked(run, wait=True):
        try:
            resume_point(run, recipe)  # another process may have trained it in the meantime
        except CheckpointError:
            checkpoints.clean(run, everything=True)
    return None
