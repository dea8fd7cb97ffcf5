"""What holds for every rule on every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from art_snn import GradientRuleModule, PoissonEncoder, PyTorchSNNClassifier, rule_names
from art_snn.snn.readers import spiking_layers
from tests.conftest import make_network

KINDS = ("plain", "residual", "event-frame", "poisson")
RULE_NAMES = rule_names()


def snapshot(module: nn.Module) -> dict[str, object]:
    """All that a gradient must leave alone."""
    return {
        "training": [m.training for m in module.modules()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "grad": [p.grad for p in module.parameters()],
        "attributes": [sorted(m.__dict__) for m in module.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in module.modules()],
        "state": [t.clone() for t in module.state_dict().values()],
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    state_before, state_after = before.pop("state"), after.pop("state")
    assert before == after
    assert all(torch.equal(a, b) for a, b in zip(state_before, state_after, strict=True))


def reseed(network: nn.Module, seed: int = 3) -> None:
    if isinstance(network.encoder, PoissonEncoder):
        network.encoder.generator.manual_seed(seed)


def gradient(module: GradientRuleModule, x: Tensor, weights: Tensor) -> Tensor:
    """Gradient of a weighted sum of each sample's logits; samples do not mix."""
    reseed(module.network)
    x = x.clone().requires_grad_()
    return torch.autograd.grad((module(x) * weights).sum(), x)[0]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=RULE_NAMES)
def module(request: pytest.FixtureRequest, kind: str) -> tuple[GradientRuleModule, Tensor]:
    network, x = make_network(kind, dtype=torch.float64)
    return GradientRuleModule(network, request.param).eval(), x


WEIGHTS = torch.linspace(-1, 1, 20, dtype=torch.float64).view(4, 5)


def test_logits_are_the_networks(module):
    module, x = module
    reseed(module.network)
    expected = module.network(x)
    reseed(module.network)
    with_grad = module(x.clone().requires_grad_())
    reseed(module.network)
    with torch.no_grad():
        without_grad = module(x)
    torch.testing.assert_close(with_grad, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(without_grad, expected, rtol=1e-12, atol=1e-12)


def test_gradient_is_finite_alive_and_repeatable(module):
    module, x = module
    first, second = gradient(module, x, WEIGHTS), gradient(module, x, WEIGHTS)
    assert torch.isfinite(first).all()
    assert (first.flatten(1).abs().amax(1) > 0).all()
    assert torch.equal(first, second)


def test_second_backward_is_equal(module):
    module, x = module
    x = x.clone().requires_grad_()
    target = (module(x) * WEIGHTS).sum()
    first = torch.autograd.grad(target, x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(target, x)[0])


@pytest.mark.filterwarnings("ignore::art_snn.errors.InputRangeWarning")
def test_sample_does_not_depend_on_its_batch(module):
    module, x = module
    reference = gradient(module, x, WEIGHTS)
    others = x.clone()
    others[1:] = 3 * x[1:].flip(-1) + 0.7
    torch.testing.assert_close(gradient(module, others, WEIGHTS)[0], reference[0], rtol=1e-9, atol=1e-12)
    if not isinstance(module.network.encoder, PoissonEncoder):  # which draws other noise for another batch
        alone = gradient(module, x[2:3], WEIGHTS[2:3])
        torch.testing.assert_close(alone[0], reference[2], rtol=1e-9, atol=1e-12)


def test_nothing_is_touched(module):
    module, x = module
    before = snapshot(module)
    rng = torch.get_rng_state()
    gradient(module, x, WEIGHTS)
    assert_same(before, snapshot(module))
    assert torch.equal(rng, torch.get_rng_state())


def test_mixed_training_flags_are_kept(module):
    module, x = module
    batch_norm = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    batch_norm.training = True  # of no effect on a convolution
    before = snapshot(module)
    gradient(module, x, WEIGHTS)
    assert_same(before, snapshot(module))


def test_nothing_is_left_after_an_exception(module):
    module, x = module
    expected = gradient(module, x, WEIGHTS)
    last = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    before = snapshot(module)

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle of a forward pass")

    handle = last.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        gradient(module, x, WEIGHTS)
    with torch.no_grad(), pytest.raises(RuntimeError, match="in the middle"):
        module(x)
    handle.remove()
    assert_same(before, snapshot(module))
    assert all("forward" not in layer.__dict__ for _, layer, _ in spiking_layers(module))
    assert torch.equal(gradient(module, x, WEIGHTS), expected)


def test_parameters_stay_in_the_graph(module):
    module, x = module
    reseed(module.network)
    logits = module(x.clone().requires_grad_())
    grads = torch.autograd.grad((logits * WEIGHTS).sum(), list(module.parameters()), create_graph=True)
    assert all(torch.isfinite(g).all() for g in grads)
    size = sum(g.square().sum() for g in grads)
    second = torch.autograd.grad(size, list(module.parameters()), allow_unused=True)
    assert any(g is not None and g.abs().max() > 0 for g in second)


def test_classifier_gives_the_modules_gradient(kind, request):
    network, x = make_network(kind)
    for rule in RULE_NAMES:
        classifier = PyTorchSNNClassifier(
            network, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 5, device_type="cpu", gradient_rule=rule
        )
        y = np.array([0, 1, 2, 3])
        before = snapshot(classifier.model)
        reseed(network)
        found = classifier.loss_gradient(x.numpy(), y)
        assert_same(before, snapshot(classifier.model))
        reseed(network)
        leaf = x.clone().requires_grad_()
        loss = nn.functional.cross_entropy(next(classifier.model.attack_samples(leaf)), torch.from_numpy(y))
        expected = torch.autograd.grad(loss, leaf)[0].numpy()
        assert found.shape == x.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
        reseed(network)
        as_tensor = classifier.loss_gradient(x, torch.from_numpy(y))
        assert isinstance(as_tensor, Tensor)
        np.testing.assert_allclose(as_tensor.numpy(), expected, rtol=1e-5, atol=1e-8)
