"""Expectation over transformation: gradients of a random encoding, averaged."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescent
from torch import nn

from art_snn import GradientRuleModule, PoissonEncoder, PyTorchSNNClassifier, RandomnessWarning
from tests.classifier.classifiers import Y
from tests.conftest import make_network

K = 5


def noisy_classifier(kind: str = "poisson", **options: object) -> tuple[PyTorchSNNClassifier, np.ndarray]:
    network, x = make_network(kind)
    shape = tuple(x.shape[1:])
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), shape, 5, device_type="cpu", **options), x.numpy()


def generator(classifier: PyTorchSNNClassifier) -> torch.Generator:
    return classifier.model.network.encoder.generator


@pytest.mark.parametrize("rule", ["hart", "stbp", "cba"])
def test_loss_gradient_is_the_mean_of_the_gradients_of_successive_encodings(rule):
    one, x = noisy_classifier(gradient_rule=rule)
    many, _ = noisy_classifier(gradient_rule=rule, eot_samples=K)
    singles = np.stack([one.loss_gradient(x, Y) for _ in range(K)]).astype(np.float64)
    assert np.abs(singles.std(0)).max() > 0
    np.testing.assert_allclose(many.loss_gradient(x, Y), singles.mean(0), rtol=1e-4, atol=1e-7)
    assert torch.equal(generator(one).get_state(), generator(many).get_state())


def test_class_gradient_and_graph_are_those_of_the_mean_logits():
    one, x = noisy_classifier()
    many, _ = noisy_classifier(eot_samples=K)
    singles = np.stack([one.class_gradient(x) for _ in range(K)]).astype(np.float64)
    np.testing.assert_allclose(many.class_gradient(x), singles.mean(0), rtol=1e-4, atol=1e-6)
    one, _ = noisy_classifier()
    many, _ = noisy_classifier(eot_samples=K)
    leaf = torch.from_numpy(x).requires_grad_()
    expected = torch.stack([one.model(leaf) for _ in range(K)]).mean(0)
    found = many.model(leaf)
    assert torch.equal(found, expected)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    grads = [torch.autograd.grad((weight * logits).sum(), leaf)[0] for logits in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("tensor", [False, True])
def test_compute_loss_is_the_mean_loss(tensor):
    one, x = noisy_classifier()
    many, _ = noisy_classifier(eot_samples=K)
    inputs = torch.from_numpy(x).requires_grad_() if tensor else x
    labels = torch.from_numpy(Y) if tensor else Y
    singles = np.stack([one.compute_loss(x, Y) for _ in range(K)])
    found = many.compute_loss(inputs, labels)
    if tensor:
        (grad,) = torch.autograd.grad(found.mean(), inputs)
        assert grad.abs().max() > 0
        found = found.detach().numpy()
    np.testing.assert_allclose(found, singles.mean(0), rtol=1e-5, atol=1e-6)


def test_layers_are_averaged_with_their_graph():
    one, x = noisy_classifier()
    many, _ = noisy_classifier(eot_samples=K)
    layer = one.layer_names[3]
    leaf = torch.from_numpy(x).requires_grad_()
    singles = torch.stack([one.get_activations(leaf, layer, framework=True) for _ in range(K)]).mean(0)
    found = many.get_activations(leaf, layer, framework=True)
    torch.testing.assert_close(found, singles)
    grads = [torch.autograd.grad(output.square().sum(), leaf)[0] for output in (found, singles)]
    torch.testing.assert_close(*grads)
    assert grads[0].abs().max() > 0


def test_averaging_takes_noise_off_the_gradient():
    def spread(samples: int) -> float:
        classifier, x = noisy_classifier(eot_samples=samples)
        return float(np.stack([classifier.loss_gradient(x, Y) for _ in range(30)]).std(0).mean())

    # 16 independent samples have a standard error of a quarter.
    assert spread(16) == pytest.approx(spread(1) / 4, rel=0.25)


def test_predictions_are_single_runs():
    one, x = noisy_classifier()
    many, _ = noisy_classifier(eot_samples=K)
    np.testing.assert_array_equal(one.predict(x), many.predict(x))


def test_common_random_numbers_make_runs_alike():
    classifier, x = noisy_classifier(eot_samples=3)
    before = generator(classifier).get_state()
    with classifier.common_random_numbers():
        first = classifier.predict(x), classifier.loss_gradient(x, Y), classifier.compute_loss(x, Y)
        again = classifier.predict(x), classifier.loss_gradient(x, Y), classifier.compute_loss(x, Y)
        moved = classifier.compute_loss(x * 0.9, Y)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(moved, first[2])
    assert torch.equal(generator(classifier).get_state(), before)
    assert not np.array_equal(classifier.predict(x), classifier.predict(x))


def test_common_random_numbers_end_with_an_exception_and_nest():
    classifier, x = noisy_classifier()
    with pytest.raises(ValueError, match="x has shape"), classifier.common_random_numbers():
        classifier.predict(x[:, :1])
    assert not np.array_equal(classifier.predict(x), classifier.predict(x))
    with classifier.common_random_numbers():
        outer = classifier.predict(x)
        with classifier.common_random_numbers():
            np.testing.assert_array_equal(classifier.predict(x), outer)
        np.testing.assert_array_equal(classifier.predict(x), outer)


@pytest.mark.parametrize("tensor", [False, True])
def test_common_random_numbers_are_for_layers_too(tensor):
    classifier, x = noisy_classifier()

    def layer(name: int) -> np.ndarray:
        if tensor:
            return classifier.get_activations(torch.from_numpy(x), name, framework=True).detach().numpy()
        return classifier.get_activations(x, name)

    before = generator(classifier).get_state()
    with classifier.common_random_numbers():
        first, logits = layer(3), classifier.predict(x)
        np.testing.assert_array_equal(layer(3), first)
        np.testing.assert_allclose(layer(-1), logits, rtol=1e-5, atol=1e-6)
        leaf = torch.from_numpy(x).requires_grad_()
        graph = classifier.get_activations(leaf, 3, framework=True).detach().numpy()
        np.testing.assert_allclose(graph, first, rtol=1e-5, atol=1e-6)
        moved = classifier.custom_loss_gradient(torch.norm, x, x * 0.9, classifier.layer_names[-1])
        again = classifier.custom_loss_gradient(torch.norm, x, x * 0.9, classifier.layer_names[-1])
        np.testing.assert_array_equal(moved, again)
    assert torch.equal(generator(classifier).get_state(), before)
    assert not np.array_equal(layer(3), layer(3))


class GlobalNoise(nn.Module):
    """A random encoder without a generator of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.rand(5, *x.shape) < x).to(x.dtype)


class OwnNoise(GlobalNoise):
    """The same with a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.rand(5, *x.shape, generator=self.generator) < x).to(x.dtype)


def test_noise_that_cannot_be_common_is_warned_of():
    network, x = make_network("poisson")
    network.encoder = GlobalNoise()
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu")
    with (
        pytest.warns(RandomnessWarning, match=r"GlobalNoise holds no generator.*attribute generator") as caught,
        classifier.common_random_numbers(),
    ):
        assert not np.array_equal(classifier.predict(x.numpy()), classifier.predict(x.numpy()))
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.raises(RandomnessWarning), classifier.common_random_numbers():
        pass
    network.encoder = OwnNoise()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with classifier.common_random_numbers():
            np.testing.assert_array_equal(classifier.predict(x.numpy()), classifier.predict(x.numpy()))
        for kind in ("plain", "event-frame", "poisson"):
            with GradientRuleModule(make_network(kind)[0]).common_random_numbers():
                pass


def test_samples_are_a_parameter_of_the_estimator():
    network, x = make_network("poisson")
    optimizer = torch.optim.Adam(network.parameters())
    classifier = PyTorchSNNClassifier(
        network, nn.CrossEntropyLoss(), (2, 8, 8), 5, optimizer=optimizer, device_type="cpu", eot_samples=3
    )
    x = x.numpy()
    assert classifier.get_params()["eot_samples"] == 3
    assert classifier.clone_for_refitting().eot_samples == 3
    for other in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        assert other.eot_samples == 3
        np.testing.assert_array_equal(other.loss_gradient(x, Y), copy.deepcopy(classifier).loss_gradient(x, Y))
    classifier.set_params(eot_samples=2)
    assert classifier.model.eot_samples == 2
    assert "eot_samples=2" in repr(classifier.model)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3"])
def test_bad_numbers_of_samples(value):
    with pytest.raises(ValueError, match="eot_samples must be a whole number >= 1, got"):
        noisy_classifier(eot_samples=value)
    classifier, x = noisy_classifier()
    with pytest.raises(ValueError, match="eot_samples"):
        classifier.eot_samples = value
    assert classifier.eot_samples == 1
    classifier.predict(x)


def test_averaging_a_network_without_noise_is_warned_of():
    network, _ = make_network("plain")
    with pytest.warns(RandomnessWarning, match="eot_samples=4 takes 4 times as long for the same gradient"):
        GradientRuleModule(network, eot_samples=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GradientRuleModule(network, eot_samples=1)


def test_attack_through_averaged_gradients_is_repeatable_from_a_seed():
    results = []
    for _ in range(2):
        network, x = make_network("poisson")
        network.encoder = PoissonEncoder(time_steps=5, generator=torch.Generator().manual_seed(11))
        classifier = PyTorchSNNClassifier(
            network, nn.CrossEntropyLoss(), (2, 8, 8), 5, clip_values=(0, 1), device_type="cpu", eot_samples=4
        )
        attack = ProjectedGradientDescent(classifier, eps=0.2, eps_step=0.05, max_iter=3, verbose=False)
        results.append(attack.generate(x.numpy(), Y))
    np.testing.assert_array_equal(*results)


def test_views_share_common_noise_and_leave_none_behind():
    classifier, x = noisy_classifier()
    older = classifier.with_rule("stbp")
    with classifier.common_random_numbers():
        inside = classifier.with_rule("cba")
        expected = classifier.predict(x)
        for view in (older, inside):
            np.testing.assert_array_equal(view.predict(x), expected)
    for view in (older, inside):
        assert np.abs(view.predict(x) - view.predict(x)).max() > 0
        assert np.abs(view.predict(x) - classifier.predict(x)).max() > 0


def test_views_keep_hooks_and_kinds_of_the_module():
    class Own(GradientRuleModule):
        pass

    network, x = make_network("poisson")
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 5, device_type="cpu")
    module = Own(network, "hart").eval()
    seen = []
    module.register_forward_hook(lambda *_: seen.append(1))
    classifier.model = module
    view = classifier.with_rule("stbp")
    view.predict(x.numpy())
    assert type(view.model) is Own
    assert seen == [1]
    assert (view.gradient_rule.name, classifier.gradient_rule.name) == ("stbp", "hart")
