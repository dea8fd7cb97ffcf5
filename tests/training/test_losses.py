"""Each loss of robust training against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from art_snn import GradientRuleModule
from art_snn.training import losses as defences
from art_snn.training.losses import DEFENCES, LossSettings
from tests.labels import any_form, for_each_form, labels_as

SETTINGS = LossSettings(eps=0.15, eps_step=0.05, max_iter=3, beta=2.5)
SAMPLES = 24


@pytest.fixture
def batch(digits) -> tuple[np.ndarray, np.ndarray]:
    return digits.x_train[:SAMPLES], digits.y_train[:SAMPLES]


@pytest.fixture
def seen(monkeypatch) -> list[tuple[bool, np.ndarray]]:
    """What the module is run on: whether in training mode, and the inputs."""
    calls: list[tuple[bool, np.ndarray]] = []
    forward = GradientRuleModule.forward

    def watched(self: GradientRuleModule, x: torch.Tensor) -> torch.Tensor:
        calls.append((self.training, x.detach().numpy().copy()))
        return forward(self, x)

    monkeypatch.setattr(GradientRuleModule, "forward", watched)
    return calls


@pytest.fixture
def network(classifier):
    """The classifier, whose batch-norm statistics are put back afterwards."""
    state = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}
    yield classifier
    classifier.model.load_state_dict(state)
    classifier.model.eval()


def losses(classifier, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    classifier.model.eval()
    return classifier.compute_loss(x, y)


@pytest.mark.parametrize("name", DEFENCES)
def test_examples_are_in_the_ball_and_harder(name, network, batch, seen):
    x, y = batch
    np.random.seed(0)
    loss, logits = DEFENCES[name](network, x, y, SETTINGS)
    assert logits.shape == (SAMPLES, 10)
    trained_on = [inputs for training, inputs in seen if training]
    assert len(trained_on) == (2 if name == "trades" else 1)
    examples = trained_on[-1]
    if name == "none":
        np.testing.assert_array_equal(examples, x)
        return
    if name == "trades":
        np.testing.assert_array_equal(trained_on[0], x)
    change = np.abs(examples - x)
    assert change.max() <= SETTINGS.eps + 1e-6
    assert change.max() > 0.9 * SETTINGS.eps
    assert examples.min() >= 0
    assert examples.max() <= 1
    harder = losses(network, examples, y) - losses(network, x, y)
    assert harder.mean() > 0.05
    assert loss.requires_grad
    loss.backward()
    assert all(p.grad is not None for p in network.model.parameters())
    network.model.zero_grad()


@pytest.mark.parametrize("name", ["fgsm", "madry-pgd", "trades", "fbf"])
def test_examples_come_through_the_rule(name, network, batch, monkeypatch):
    asked = []
    gradient = type(network).loss_gradient
    monkeypatch.setattr(
        type(network),
        "loss_gradient",
        lambda self, *a, **k: asked.append(self.gradient_rule) or gradient(self, *a, **k),
    )
    network.gradient_rule = "rga"
    DEFENCES[name](network, *batch, SETTINGS)
    assert len(asked) == (3 if name in ("madry-pgd", "trades") else 1)
    assert {rule.name for rule in asked} == {"rga"}


def test_fgsm_is_one_signed_step(network, batch, seen):
    x, y = batch
    expected = np.clip(x + SETTINGS.eps * np.sign(network.loss_gradient(x, y)), 0, 1)
    seen.clear()
    defences.fgsm(network, x, y, SETTINGS)
    np.testing.assert_allclose(next(inputs for training, inputs in seen if training), expected, atol=1e-6)


def test_fbf_is_a_random_start_and_one_longer_step(network, batch, seen):
    x, y = batch
    np.random.seed(3)
    delta = np.random.uniform(-SETTINGS.eps, SETTINGS.eps, x.shape)
    gradient = network.loss_gradient(np.clip(x + delta, 0, 1).astype(np.float32), y)
    delta = np.clip(delta + 1.25 * SETTINGS.eps * np.sign(gradient), -SETTINGS.eps, SETTINGS.eps)
    seen.clear()
    np.random.seed(3)
    defences.fbf(network, x, y, SETTINGS)
    np.testing.assert_allclose(next(i for training, i in seen if training), np.clip(x + delta, 0, 1), atol=1e-5)


def test_trades_is_cross_entropy_and_divergence(network, batch, seen):
    x, y = batch
    state = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    loss, _ = defences.trades(network, x, y, SETTINGS)
    clean_inputs, examples = (inputs for training, inputs in seen if training)
    network.model.load_state_dict(state)
    with torch.no_grad():
        network.model.train()
        clean = network.model(torch.from_numpy(clean_inputs)).double().numpy()
        attacked = network.model(torch.from_numpy(examples)).double().numpy()

    def probabilities(logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    p, q = probabilities(clean), probabilities(attacked)
    entropy = -np.log(p[np.arange(SAMPLES), y]).mean()
    divergence = (p * (np.log(p) - np.log(q))).sum(1).mean()
    assert loss.item() == pytest.approx(entropy + SETTINGS.beta * divergence, rel=1e-4)
    assert divergence > 0.001


def test_plain_loss_is_cross_entropy(network, batch):
    x, y = batch
    state = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    loss, _ = defences.plain(network, x, y, SETTINGS)
    network.model.load_state_dict(state)
    expected = nn.functional.cross_entropy(network.model.train()(torch.from_numpy(x)), torch.from_numpy(y))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", DEFENCES)
def test_labels_of_every_form_have_the_loss_of_indices(name, network, batch):
    x, y = batch
    random_state, state = np.random.get_state(), {k: v.clone() for k, v in network.model.state_dict().items()}

    def loss(labels: object) -> tuple[float, torch.Tensor]:
        np.random.seed(0)
        network.model.load_state_dict(state)
        value, logits = DEFENCES[name](network, x, labels, SETTINGS)
        return value.item(), logits.detach()

    expected, expected_logits = loss(y)

    @settings(for_each_form, max_examples=12)
    @given(any_form)
    def check(form):
        value, logits = loss(labels_as(form, y, 10))
        assert value == expected
        assert torch.equal(logits, expected_logits)

    check()
    np.random.set_state(random_state)
    with pytest.raises(ValueError, match=r"labels must be classes in 0 to 9 .*, got 0\.5 in y"):
        DEFENCES[name](network, x, y * 0.0 + 0.5, SETTINGS)
    with pytest.raises(ValueError, match="y has 3 labels for 24 samples"):
        DEFENCES[name](network, x, y[:3], SETTINGS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, "eps must be a finite number > 0, got 0"),
        ({"eps": float("nan")}, "eps must be"),
        ({"eps_step": -1.0}, "eps_step must be a finite number > 0, got -1"),
        ({"max_iter": 0}, "max_iter must be a whole number >= 1, got 0"),
        ({"beta": float("inf")}, "beta must be"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        LossSettings(**{"eps": 0.1, "eps_step": 0.05, **options})
