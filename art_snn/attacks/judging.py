"""Is the network itself, without a rule or a graph, wrong here?"""

from __future__ import annotations

import numpy as np
import torch

from art_snn.attacks.losses import margin
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.snn.encoders import is_random

DRAWS = 20  # of a random encoder, of which most have to be wrong


def draws_of(classifier: PyTorchSNNClassifier) -> int:
    """Return how many predictions a judgement takes: more than one where the encoder is random."""
    return DRAWS if is_random(classifier.model.network) else 1


def predict_full(classifier: PyTorchSNNClassifier, x: np.ndarray, size: int) -> np.ndarray:
    """Return predictions (N, K) for N > 0 inputs, in batches of one size, so that a row has the same bits in each."""
    filled = x[np.arange(-(-len(x) // size) * size) % len(x)]
    return classifier.predict(filled, batch_size=size)[: len(x)]


def share_wrong(predictions: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which share of predictions (D, N, K) is wrong for each class (N,); NaN where one is not finite."""
    return np.where(np.isfinite(predictions).all((0, 2)), (predictions.argmax(2) != y).mean(0), np.nan)


def judge(classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where predictions are wrong (N,), and their margins (N,), float32, as `wrong_shares` does.

    With a random encoder most of `DRAWS` predictions have to be wrong.
    """
    shares, margins = wrong_shares(classifier, x, y, size)
    return shares > 1 / 2, margins


def wrong_shares(
    classifier: PyTorchSNNClassifier, x: np.ndarray, y: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which share of predictions is wrong (N,), and their margins (N,), float32.

    There are `DRAWS` of each input with a random encoder, and the margin is that of their mean. Margins are inf with a
    postprocessing defence, whose outputs are no logits. Predictions that are not finite are not wrong.

    Args:
        classifier: The classifier.
        x: Inputs (N, *input_shape).
        y: Classes (N,).
        size: Samples in a batch. The last one is filled up, so that a sample has the same bits in every company.
    """
    number = len(x)
    if not number:
        return np.zeros(0), np.zeros(0, dtype=np.float32)
    draws = np.stack([predict_full(classifier, x, size) for _ in range(draws_of(classifier))])
    shares = share_wrong(draws, y)
    margins = np.full(number, np.inf, dtype=np.float32)
    if not classifier.postprocessing_defences:
        logits = torch.from_numpy(draws.mean(0, dtype=np.float64))
        margins = margin(logits, torch.from_numpy(y)).numpy().astype(np.float32)
        margins[np.isnan(shares)] = np.inf
    return np.nan_to_num(shares), margins
