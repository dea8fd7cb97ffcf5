"""Samples of a grid."""

from __future__ import annotations

import numpy as np

from art_snn.data import load_digits
from art_snn.evaluation.samples import choose_samples


def test_samples_are_stratified_and_apart():
    data = load_digits()
    chosen = choose_samples(data, 100, 50)
    assert np.bincount(chosen["y"]).tolist() == [10] * 10
    attacked = {image.tobytes() for image in chosen["x"]}
    assert not attacked & {image.tobytes() for image in chosen["x_tune"]}
    assert chosen["tuned"] == "tuned on a split of its own"
    whole = choose_samples(data, 450, 50)
    assert whole["tuned"] == "tuned on training samples"
    training = {image.tobytes() for image in data.x_train}
    assert all(image.tobytes() in training for image in whole["x_tune"])
