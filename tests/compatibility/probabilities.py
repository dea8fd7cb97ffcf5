"""Some of ART's classes want probabilities from ``predict``: a softmax after the logits."""

from __future__ import annotations

import numpy as np
from art.defences.postprocessor.postprocessor import Postprocessor
from art.estimators.classification import PyTorchClassifier
from scipy.special import softmax


class Softmax(Postprocessor):
    """Turn logits into probabilities in ``predict`` only."""

    def __init__(self) -> None:
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)

    def __call__(self, preds: np.ndarray) -> np.ndarray:
        return softmax(preds, axis=1).astype(np.float32)


def as_probabilities(classifier: PyTorchClassifier) -> None:
    classifier.set_params(postprocessing_defences=Softmax())
