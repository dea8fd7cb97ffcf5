"""Checks of models, inputs and labels, called directly."""

import numpy as np
import pytest
import torch
from torch import nn

from art_snn.classifier.inputs import check_input, check_labels, one_hot
from art_snn.snn.modes import evaluating, training_mode
from tests.conftest import make_network


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="x must be a numpy array or a torch tensor, got list"):
        check_input([[1.0]], (1,))
    with pytest.raises(TypeError, match="y must be a numpy array or a torch tensor, got list"):
        check_labels([1], 1, 3)


def test_one_hot_of_indices_columns_and_rows():
    expected = np.eye(3, dtype=np.float32)[[2, 0]]
    for y in (np.array([2, 0]), np.array([[2], [0]]), torch.tensor([2, 0]), expected, torch.from_numpy(expected)):
        np.testing.assert_array_equal(one_hot(y, 2, 3), expected)
        assert one_hot(y, 2, 3).dtype == np.float32


def test_modes_come_back_after_an_exception():
    network, x = make_network("poisson")
    network.body[1].train()
    flags = [module.training for module in network.modules()]
    state = network.encoder.generator.get_state()

    def fail() -> None:
        with evaluating(network):
            network(x)
            assert not network.body[1].training
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [module.training for module in network.modules()] == flags
    assert torch.equal(network.encoder.generator.get_state(), state)
    layer = nn.Dropout()
    with training_mode(layer, False):
        assert not layer.training
    assert layer.training
