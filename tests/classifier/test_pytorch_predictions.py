"""Predictions of the classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.postprocessor import Rounded
from torch import nn

from art_snn import EventFrameEncoder, SpikingNetwork
from tests.classifier.classifiers import Y, body, small_classifier


def test_predict_does_not_depend_on_the_batch_size(x):
    classifier = small_classifier()
    whole = classifier.predict(x)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(classifier.predict(x, batch_size=1), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(classifier.predict(x, batch_size=np.int64(128)), whole)
    network = classifier.model.network
    with torch.no_grad():
        np.testing.assert_allclose(whole, network(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.uint8])
def test_other_number_types_are_cast(x, dtype):
    classifier = small_classifier()
    cast = (3 * x).astype(dtype)
    np.testing.assert_array_equal(classifier.predict(cast), classifier.predict(cast.astype(np.float32)))
    assert classifier.loss_gradient(cast, Y).dtype == np.float32


def test_empty_batch(x):
    classifier = small_classifier()
    assert classifier.predict(x[:0]).shape == (0, 5)


def test_predict_leaves_flags_alone(x):
    classifier = small_classifier()
    classifier.model.train()
    inner = classifier.predict(x)
    assert all(module.training for module in classifier.model.modules())
    classifier.model.eval()
    np.testing.assert_array_equal(classifier.predict(x), inner)


def test_postprocessing_is_applied(x):
    rounded = small_classifier(postprocessing_defences=Rounded(decimals=1)).predict(x)
    np.testing.assert_allclose(rounded, np.round(rounded, 1), atol=1e-6)


def test_layers_that_work_in_place_leave_the_users_array_alone(x):
    network = SpikingNetwork(
        EventFrameEncoder(), nn.Sequential(nn.Hardtanh(0, 0.5, inplace=True), body(nn.Linear(16, 5)))
    )
    classifier = small_classifier(network, input_shape=(1, 2, 8, 8), preprocessing=None)
    frames = x[:, None].copy()
    first = classifier.predict(frames)
    np.testing.assert_array_equal(frames, x[:, None])
    np.testing.assert_array_equal(classifier.predict(frames), first)
