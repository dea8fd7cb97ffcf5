"""On a GPU everything is what it is on the CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescent
from torch import nn

from art_snn import GradientRuleModule, PyTorchSNNClassifier
from art_snn.rules import get_rule, rule_names
from tests.conftest import make_network

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
    pytest.mark.filterwarnings("ignore::art_snn.InexactReplayWarning"),
]
KINDS = ["plain", "residual", "event-frame", "max-pool"]


def gradients(kind: str, rule: str, dtype: torch.dtype, device: str) -> list[torch.Tensor]:
    """Return the logits and the gradients of the input and of all weights, on the CPU."""
    network, x = make_network(kind)
    network, x = copy.deepcopy(network).to(device, dtype), x.to(device, dtype).requires_grad_()
    module = GradientRuleModule(network, get_rule(rule)).eval()
    logits = module(x)
    weights = [w for w in network.parameters() if w.requires_grad]
    found = torch.autograd.grad(logits.square().sum(), [x, *weights])
    return [each.detach().cpu() for each in (logits, *found)]


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind, rule):
    for expected, found in zip(
        gradients(kind, rule, torch.float64, "cpu"), gradients(kind, rule, torch.float64, "cuda"), strict=True
    ):
        assert expected.abs().max() > 0
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("rule", rule_names())
def test_attacks_of_art(rule):
    network, x = make_network("plain")
    options = {"loss": nn.CrossEntropyLoss(), "input_shape": tuple(x.shape[1:]), "nb_classes": 5, "clip_values": (0, 1)}
    on_cpu, on_gpu = (
        PyTorchSNNClassifier(copy.deepcopy(network), device_type=device, gradient_rule=rule, **options)
        for device in ("cpu", "gpu")
    )
    images = x.numpy().clip(0, 1)
    np.testing.assert_allclose(on_gpu.predict(images), on_cpu.predict(images), atol=1e-4)
    y = on_cpu.predict(images).argmax(1)
    expected, found = on_cpu.loss_gradient(images, y), on_gpu.loss_gradient(images, y)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    attack = ProjectedGradientDescent(on_gpu, eps=0.2, eps_step=0.05, max_iter=5, verbose=False)
    assert np.abs(attack.generate(images, y) - images).max() == pytest.approx(0.2, abs=1e-5)
