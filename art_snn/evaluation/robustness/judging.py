"""What counts as an adversarial example: one that is allowed, and misclassified by the network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from art_snn.attacks.judging import predict_full, share_wrong
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.evaluation.robustness.threats import Threat
from art_snn.snn.encoders import is_random
from art_snn.snn.modes import noise_states

# Times the draws that judge a sample of a random encoder at the end of a stage, and of all.
MANY = 5


class Judge:
    """Judge inputs by the plain network; where its encoder is random, by the majority of fresh draws.

    Args:
        classifier: The classifier.
        threat: What is allowed.
        batch_size: Samples in each run of the network; the last batch is filled up, so that all have one size.
        draws: Draws that a random encoder is judged by.
    """

    def __init__(self, classifier: PyTorchSNNClassifier, threat: Threat, batch_size: int, draws: int) -> None:
        self.classifier, self.threat, self.batch_size = classifier, threat, batch_size
        self.random = is_random(classifier.model.network)
        self.draws = draws if self.random else 1

    def of_many(self, batch_size: int | None = None) -> Judge:
        """Return a judge by `MANY` times as many draws, where they are random, with batches of another size."""
        size = self.batch_size if batch_size is None else batch_size
        return Judge(self.classifier, self.threat, size, self.draws * MANY)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return logits (N, K) of one draw."""
        return predict_full(self.classifier, x, self.batch_size)

    def wrong_share(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return for each input (N,) the share of draws in which it is misclassified, in [0, 1]; NaN for no numbers."""
        if not len(x):
            return np.zeros(0)
        return share_wrong(np.stack([self.predict(x) for _ in range(self.draws)]), y)

    def wrong(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return whether inputs are misclassified (N,): by more than half of the draws.

        An input with a logit that is not finite is not; neither is it classified correctly, as `right` has it.
        """
        return self.wrong_share(x, y) > 0.5

    def right(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return whether inputs are classified correctly (N,): by at least half of the draws, all logits finite."""
        return self.wrong_share(x, y) <= 0.5

    def allows(self, x: np.ndarray, examples: np.ndarray) -> np.ndarray:
        """Return whether each example (N,) is finite, inside the budget and inside the clip values."""
        return self.threat.allows(x, examples, self.classifier.clip_values)

    def breaks(self, x: np.ndarray, examples: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return which examples (N,) of inputs are allowed and misclassified."""
        broken = self.allows(x, examples)
        broken[broken] = self.wrong(examples[broken], y[broken])
        return broken

    def averaged(self) -> PyTorchSNNClassifier:
        """Return a view of the classifier that predicts the mean of all draws, for attacks that judge by one."""
        view = self.classifier.with_rule(self.classifier.gradient_rule, warn=False)
        if self.random:
            predict = view.predict

            def mean(*args: Any, **kwargs: Any) -> np.ndarray:
                return np.stack([predict(*args, **kwargs) for _ in range(self.draws)]).mean(0)

            view.predict = mean  # type: ignore[method-assign]
        return view


def sample_seeds(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a seed for each sample (N,), int64, that depends on its entries and label alone."""
    digests = [hashlib.sha256(sample.tobytes() + str(int(label)).encode()) for sample, label in zip(x, y, strict=True)]
    return np.array([int.from_bytes(digest.digest()[:4], "little") for digest in digests], dtype=np.int64)


@contextmanager
def seeded(classifier: PyTorchSNNClassifier, *parts: object) -> Iterator[None]:
    """Let all noise in a block follow from a few values; put every generator back afterwards."""
    seed = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little")
    own, old = noise_states(classifier.model.network), np.random.get_state()  # noqa: NPY002  (ART's attacks draw from it)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        for generator, _ in own:
            generator.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(old)  # noqa: NPY002
            for generator, state in own:
                generator.set_state(state)
