"""A trained spiking network for the embedded digits, kept in a cache."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass

import torch
from torch import nn

from art_snn.checks import check_choice, check_count, check_decay
from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data import Split
from art_snn.files import cache_folder, load_weights, save_weights
from art_snn.snn.dynamics import RESETS, Reset
from art_snn.snn.models import digits_net

logger = logging.getLogger(__name__)

# Raise when the network, the data or the training changes, so that no older cache is taken for a newer one.
RECIPE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class DigitsRecipe:
    """How the digits network is built and trained. Equal recipes share a cache entry.

    Attributes:
        time_steps: T, >= 1.
        decay: Membrane retention lambda, in (0, 1].
        reset: "hard" or "soft".
        seed: Seed of weights and batches, >= 0.
        epochs: Passes over the training images, >= 1.
    """

    time_steps: int = 8
    decay: float = 0.9
    reset: Reset = "hard"
    seed: int = 0
    epochs: int = 20

    def __post_init__(self) -> None:
        check_count("time_steps", self.time_steps)
        check_decay(self.decay)
        check_choice("reset", self.reset, RESETS)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 to 2**63 - 1, got {self.seed!r}")
        if self.epochs < 1:
            raise ValueError(f"epochs must be >= 1, got {self.epochs!r}")

    @property
    def file_name(self) -> str:
        """Name of the cache file, with a digest of the recipe."""
        text = json.dumps({**asdict(self), "version": RECIPE_VERSION}, sort_keys=True)
        return f"digits-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def trained_digits_classifier(
    recipe: DigitsRecipe, data: Split, *, device_type: str = "gpu", verbose: bool = False
) -> tuple[PyTorchSNNClassifier, bool]:
    """Return a classifier for the digits, from the cache or trained now and then put there.

    Args:
        recipe: How to train it.
        data: The digits.
        device_type: "gpu" or "cpu".
        verbose: Show training progress.

    Returns:
        The classifier, and whether it came from the cache. A damaged cache file is replaced.
    """
    path = cache_folder() / recipe.file_name
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(recipe.seed)
        network = digits_net(time_steps=recipe.time_steps, decay=recipe.decay, reset=recipe.reset)
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
        classifier = PyTorchSNNClassifier(
            network,
            nn.CrossEntropyLoss(),
            input_shape=data.x_train.shape[1:],
            nb_classes=10,
            optimizer=optimizer,
            clip_values=(0.0, 1.0),
            device_type=device_type,
        )
        if path.is_file():
            try:
                load_weights(network, path)
            except ValueError as error:
                logger.warning("training anew: %s", error)
            else:
                return classifier, True
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs)
        classifier.fit(
            data.x_train,
            data.y_train,
            batch_size=64,
            nb_epochs=recipe.epochs,
            scheduler=scheduler,
            verbose=verbose,
        )
    try:
        save_weights(network, path, metadata={"recipe": json.dumps(asdict(recipe)), "version": str(RECIPE_VERSION)})
    except OSError as error:
        logger.warning("the trained network is not kept (ART_SNN_CACHE names another folder): %s", error)
    return classifier, False
