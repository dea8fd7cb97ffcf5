"""Defects of ART's plain classifier that the spiking one does not have.

Each check fails with the plain classifier, so that a repair in ART is noticed.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from art import config

from tests.compatibility.table import Case
from tests.compatibility.test_compatibility import seeded


def float64_inputs(case: Case) -> None:
    x = case.x.astype(np.float64)
    np.testing.assert_array_equal(case.classifier.predict(x), case.classifier.predict(case.x))


def empty_batch(case: Case) -> None:
    assert case.classifier.predict(case.x[:0]).shape == (0, 10)


def deepcopy_after_use(case: Case) -> None:
    case.classifier.loss_gradient(case.x, case.y)
    case.classifier.get_activations(case.x, 0, batch_size=len(case.x))
    twin = copy.deepcopy(case.classifier)
    np.testing.assert_array_equal(twin.predict(case.x), case.classifier.predict(case.x))


def no_hook_stays(case: Case) -> None:
    for _ in range(3):
        case.classifier.get_activations(case.x, 0, batch_size=5)
    assert not any(module._forward_hooks for module in case.classifier.model.modules())


def no_file_of_pickling_stays(case: Case) -> None:
    os.makedirs(config.ART_DATA_PATH, exist_ok=True)  # noqa: PTH103
    before = set(os.listdir(config.ART_DATA_PATH))  # noqa: PTH208
    twin = pickle.loads(pickle.dumps(case.classifier))
    np.testing.assert_array_equal(twin.predict(case.x), case.classifier.predict(case.x))
    left = set(os.listdir(config.ART_DATA_PATH)) - before  # noqa: PTH208
    for name in left:
        os.remove(os.path.join(config.ART_DATA_PATH, name))  # noqa: PTH107, PTH118
    assert not left


def loss_of_tensors_has_a_graph(case: Case) -> None:
    x = torch.from_numpy(case.x).requires_grad_()
    loss = case.classifier.compute_loss(x, torch.from_numpy(case.y), reduction="mean")
    assert torch.autograd.grad(loss, x)[0].abs().max() > 0


def gradients_of_parameters_are_left_alone(case: Case) -> None:
    parameters = list(case.classifier.model.parameters())
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 7.0)
    case.classifier.loss_gradient(case.x, case.y)
    assert all((parameter.grad == 7).all() for parameter in parameters)


CHECKS: list[Callable[[Case], None]] = [
    float64_inputs,
    empty_batch,
    deepcopy_after_use,
    no_hook_stays,
    no_file_of_pickling_stays,
    loss_of_tensors_has_a_graph,
    gradients_of_parameters_are_left_alone,
]


@pytest.mark.parametrize("inputs", ["images", "events"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_defect_is_gone(check, inputs, make, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "ART_DATA_PATH", str(tmp_path))
    plain, spiking = make("plain", inputs), make("spiking", inputs)
    with seeded():
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            check(plain)
        check(spiking)


def test_layers_of_event_frames_are_batch_first(make):
    spiking = make("spiking", "events")
    for layer in spiking.classifier.layer_names:
        assert len(spiking.classifier.get_activations(spiking.x, layer)) == len(spiking.x)
    plain = make("plain", "events")
    assert len(plain.classifier.get_activations(plain.x, "conv1", batch_size=len(plain.x))) != len(plain.x)
