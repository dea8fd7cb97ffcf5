"""What `generate` of the attacks does that keep what they find."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from art.attacks import EvasionAttack
from tqdm.auto import tqdm

from art_snn.attacks.found import Found
from art_snn.classifier import PyTorchSNNClassifier


class Generating(EvasionAttack):
    """Base of attacks on a `PyTorchSNNClassifier` that say what they found for each sample."""

    _estimator_requirements = (PyTorchSNNClassifier,)
    batch_size: int
    verbose: bool

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return adversarial examples (N, *S), float32, where some were found, else the best iterates.

        Args:
            x: Inputs (N, *S).
            y: Labels, in any form of `art_snn.labels`; None for the network's predictions.
            **kwargs: None; the attack has no mask.
        """
        if kwargs:
            raise TypeError(f"{type(self).__name__}.generate takes x and y, got {', '.join(kwargs)}, too")
        labels = self.estimator.predict(x, batch_size=self.batch_size).argmax(1) if y is None else y
        with tqdm(desc=type(self).__name__, total=len(x), unit="sample", disable=not self.verbose, leave=False) as bar:
            return self.search(x, labels, progress=bar.update).x_adv

    @abstractmethod
    def search(self, x: Any, y: Any, *, seeds: Any = None, progress: Any = None) -> Found:
        """Return what was found for each sample of ``x`` (N, *S)."""
