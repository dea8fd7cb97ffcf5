"""The estimator: ART's contract, input checks, copies and files."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

import numpy as np
import pytest
import torch
from art.attacks.evasion import FeatureAdversariesPyTorch, ProjectedGradientDescent, SquareAttack
from art.defences.postprocessor import Rounded
from art.defences.preprocessor import FeatureSqueezing, GaussianAugmentation, SpatialSmoothing
from art.estimators.certification.randomized_smoothing import NumpyRandomizedSmoothing
from art.estimators.classification import (
    EnsembleClassifier,
    PyTorchClassifier,
    QueryEfficientGradientEstimationClassifier,
)
from art.exceptions import EstimatorError
from torch import nn

from art_snn import (
    HART,
    LIF,
    STBP,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    GradientWarning,
    PyTorchSNNClassifier,
    SpikingNetwork,
    UnsupportedInputError,
    UnsupportedModelError,
)
from art_snn.classifier import guard
from art_snn.errors import TrainingError
from tests.conftest import make_network


def small_classifier(network: nn.Module | None = None, **options: object) -> PyTorchSNNClassifier:
    if network is None:
        network, _ = make_network("plain")
    options = {"input_shape": (2, 8, 8), "nb_classes": 5, "device_type": "cpu", **options}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), optimizer=optimizer, **options)


@pytest.fixture
def x() -> np.ndarray:
    return make_network("plain")[1].numpy()


Y = np.array([0, 1, 2, 4])


def body(*last: nn.Module, hidden: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 16), LIF(decay=0.9) if hidden is None else hidden, *last)


# --- predictions -----------------------------------------------------------------------------------------------------


def test_predict_does_not_depend_on_the_batch_size(x):
    classifier = small_classifier()
    whole = classifier.predict(x)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(classifier.predict(x, batch_size=1), whole, rtol=1e-5, atol=1e-6)
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


# --- gradients -------------------------------------------------------------------------------------------------------


def rule_gradient(
    classifier: PyTorchSNNClassifier, x: np.ndarray, loss: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    leaf = torch.from_numpy(x).clone().requires_grad_()
    return torch.autograd.grad(loss(classifier.model(leaf)), leaf)[0].numpy()


def test_class_gradient_of_all_one_and_several_classes(x):
    classifier = small_classifier()
    every = classifier.class_gradient(x)
    assert every.shape == (4, 5, 2, 8, 8)
    for k in range(5):
        np.testing.assert_allclose(
            every[:, k], rule_gradient(classifier, x, lambda z, k=k: z[:, k].sum()), rtol=1e-5, atol=1e-8
        )
    np.testing.assert_allclose(classifier.class_gradient(x, label=3)[:, 0], every[:, 3], rtol=1e-5, atol=1e-8)
    for label in (np.array([4, 0, 0, 2]), [4, 0, 0, 2]):
        one_each = classifier.class_gradient(x, label=label)
        assert one_each.shape == (4, 1, 2, 8, 8)
        np.testing.assert_allclose(one_each[:, 0], every[np.arange(4), [4, 0, 0, 2]], rtol=1e-5, atol=1e-8)


def test_labels_as_indices_one_hot_and_probabilities(x):
    classifier = small_classifier()
    rows = np.eye(5, dtype=np.float32)[Y]
    np.testing.assert_array_equal(classifier.loss_gradient(x, Y), classifier.loss_gradient(x, rows))
    soft = 0.9 * rows + 0.02
    expected = rule_gradient(classifier, x, lambda z: nn.functional.cross_entropy(z, torch.from_numpy(soft)))
    np.testing.assert_allclose(classifier.loss_gradient(x, soft), expected, rtol=1e-5, atol=1e-8)


def test_training_mode_gradient_is_the_networks_own(x):
    classifier = small_classifier()
    for module in classifier.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0
    found = classifier.loss_gradient(x, Y, training_mode=True)
    leaf = torch.from_numpy(x).requires_grad_()
    network = classifier.model.network.train()
    expected = torch.autograd.grad(nn.functional.cross_entropy(network(leaf), torch.from_numpy(Y)), leaf)[0]
    network.eval()
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-8)
    assert np.abs(found - classifier.loss_gradient(x, Y)).max() > 1e-4


def test_defences_are_in_the_gradient(x):
    shifted = small_classifier(preprocessing=(0.25, 2.0))
    plain = small_classifier(shifted.model.network)
    inner = (x - 0.25) / 2
    np.testing.assert_allclose(shifted.predict(x), plain.predict(inner), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shifted.loss_gradient(x, Y), plain.loss_gradient(inner, Y) / 2, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(shifted.class_gradient(x), plain.class_gradient(inner) / 2, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    "defence",
    [
        FeatureSqueezing(clip_values=(0, 1), bit_depth=3),
        SpatialSmoothing(window_size=3),
        GaussianAugmentation(sigma=0.1),
    ],
    ids=["squeezing", "smoothing", "gaussian"],
)
def test_numpy_defences_work(x, defence):
    classifier = small_classifier(preprocessing_defences=defence, clip_values=(0, 1))
    assert classifier.predict(x).shape == (4, 5)
    grad = classifier.loss_gradient(x, Y)
    assert grad.shape == x.shape
    assert np.abs(grad).max() > 0
    as_tensor = classifier.loss_gradient(torch.from_numpy(x), torch.from_numpy(Y))
    np.testing.assert_allclose(as_tensor.numpy(), grad, rtol=1e-5, atol=1e-8)
    assert classifier.class_gradient(x, label=1).shape == (4, 1, 2, 8, 8)
    classifier.fit(x, Y, nb_epochs=1)


def squeezed(kind: str = "plain", **options: object) -> tuple[PyTorchSNNClassifier, torch.Tensor]:
    """A classifier behind a defence on arrays and a standardisation, and inputs for it."""
    network, inputs = make_network(kind)
    shape = tuple(inputs.shape[1:])
    defence = FeatureSqueezing(clip_values=(0, 1), bit_depth=3)
    options = {"clip_values": (0, 1), "preprocessing": (0.25, 2.0), **options}
    return small_classifier(network, input_shape=shape, preprocessing_defences=defence, **options), inputs.clamp(0, 1)


@pytest.mark.parametrize("kind", ["plain", "event-frame"])
def test_tensors_behind_array_defences_have_the_defences_estimate(kind):
    classifier, leaf = squeezed(kind)
    leaf.requires_grad_()
    rows = torch.eye(5)[Y]
    array = leaf.detach().numpy()
    expected = classifier.loss_gradient(array, Y)
    assert np.abs(expected).max() > 0

    losses = classifier.compute_loss(leaf, torch.from_numpy(Y))
    np.testing.assert_allclose(losses.detach().numpy(), classifier.compute_loss(array, Y), rtol=1e-5, atol=1e-6)
    for _ in range(2):
        (grad,) = torch.autograd.grad(losses.mean(), leaf, retain_graph=True)
        np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-8)

    logits, labels = classifier._predict_framework(leaf, rows)
    assert isinstance(labels, torch.Tensor)
    assert torch.equal(labels, rows)
    np.testing.assert_allclose(logits.detach().numpy(), classifier.predict(array), rtol=1e-5, atol=1e-6)
    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), leaf)
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-8)
    assert classifier._predict_framework(leaf)[1] is None

    name = classifier.layer_names[-1]
    output = classifier.get_activations(leaf, name, framework=True)
    np.testing.assert_allclose(output.detach().numpy(), classifier.get_activations(array, name), rtol=1e-4, atol=1e-5)
    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(output, labels), leaf)
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-8)

    for inputs in (leaf.detach(), leaf.detach().double()):
        found = classifier.get_activations(inputs, name, framework=True).detach()
        torch.testing.assert_close(found, output.detach(), rtol=1e-5, atol=1e-6)
        found = classifier.compute_loss(inputs, rows).detach()
        torch.testing.assert_close(found, losses.detach(), rtol=1e-5, atol=1e-6)


def test_the_estimate_is_the_one_that_the_defence_gives(x):
    class Doubling(FeatureSqueezing):
        def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
            return 2.0 * x.astype(np.float64) * grad

    plain = small_classifier(preprocessing_defences=FeatureSqueezing((0, 1), bit_depth=3))
    classifier = small_classifier(plain.model.network, preprocessing_defences=Doubling((0, 1), bit_depth=3))
    leaf = torch.from_numpy(x).requires_grad_()
    (grad,) = torch.autograd.grad(classifier.compute_loss(leaf, Y, reduction="mean"), leaf, create_graph=True)
    assert grad.dtype == torch.float32
    np.testing.assert_allclose(grad.detach().numpy(), 2 * x * plain.loss_gradient(x, Y), rtol=1e-4, atol=1e-8)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_attacks_through_autograd_work_behind_array_defences(x):
    classifier, _ = squeezed()
    target = np.ascontiguousarray(x[::-1])
    attack = FeatureAdversariesPyTorch(
        classifier, delta=0.2, layer=classifier.layer_names[-1], max_iter=5, step_size=0.05, verbose=False
    )
    before, after = (classifier.get_activations(v, -1) for v in (x, attack.generate(x, target)))
    wanted = classifier.get_activations(target, -1)
    assert np.abs(after - wanted).mean() < np.abs(before - wanted).mean()

    pytest.importorskip("torchvision")
    from art.attacks.evasion import AdversarialPatchPyTorch, GRAPHITEWhiteboxPyTorch

    options = {"rotation_max": 0.0, "scale_min": 0.9, "scale_max": 1.0, "batch_size": 4, "verbose": False}
    patches = AdversarialPatchPyTorch(
        classifier, patch_shape=(2, 8, 8), max_iter=10, learning_rate=0.2, targeted=False, optimizer="pgd", **options
    )
    patches.generate(x, Y)
    loss = classifier.compute_loss(patches.apply_patch(x, scale=1.0), Y).mean()
    assert loss > classifier.compute_loss(x, Y).mean()
    # GRAPHITE lays its noise over RGB or grey images.
    grey = SpikingNetwork(
        DirectEncoder(time_steps=4), nn.Sequential(nn.Flatten(), nn.Linear(64, 16), LIF(decay=0.9), nn.Linear(16, 5))
    )
    defence = FeatureSqueezing(clip_values=(0, 1), bit_depth=5)
    classifier = small_classifier(grey, input_shape=(1, 8, 8), clip_values=(0, 1), preprocessing_defences=defence)
    graphite = GRAPHITEWhiteboxPyTorch(
        classifier, net_size=(8, 8), min_tr=1.0, num_xforms=2, step_size=0.05, steps=2, first_steps=3, blur_kernels=[0]
    )
    assert graphite.generate(x[:1, :1], np.eye(5, dtype=np.float32)[[3]]).shape == (1, 1, 8, 8)


def test_loss_is_computed_without_and_with_a_graph(x):
    classifier = small_classifier()
    loss = classifier.loss
    z = torch.from_numpy(classifier.predict(x))
    expected = nn.functional.cross_entropy(z, torch.from_numpy(Y), reduction="none").numpy()
    np.testing.assert_allclose(classifier.compute_loss(x, Y), expected, rtol=1e-5)
    np.testing.assert_allclose(classifier.compute_loss(x, Y, reduction="sum"), expected.sum(), rtol=1e-5)
    leaf = torch.from_numpy(x).requires_grad_()
    value = classifier.compute_loss(leaf, torch.from_numpy(Y), reduction="mean")
    found = torch.autograd.grad(value, leaf)[0].numpy()
    np.testing.assert_allclose(found, classifier.loss_gradient(x, Y), rtol=1e-5, atol=1e-8)
    assert loss.reduction == "mean"
    with pytest.raises(ValueError, match="'average'"):
        classifier.compute_loss(x, Y, reduction="average")


def test_all_zero_gradients_are_reported(x):
    classifier = small_classifier(SpikingNetwork(DirectEncoder(time_steps=4), body(nn.Linear(16, 5))))
    classifier.gradient_rule = "bptr"
    with torch.no_grad():
        classifier.model.network.body[1].bias.fill_(-100.0)
    with pytest.warns(GradientWarning, match="all zero"):
        grad = classifier.loss_gradient(x, Y)
    assert not grad.any()
    with pytest.warns(GradientWarning, match="all zero"):
        classifier.class_gradient(x, label=2)


def test_gradients_that_are_not_finite_are_not_passed_on(x):
    class Log(nn.CrossEntropyLoss):
        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return (logits[:, 0] - logits[:, 0].detach()).sqrt().sum()

    network, _ = make_network("plain")
    classifier = PyTorchSNNClassifier(network, Log(), (2, 8, 8), 5, device_type="cpu")
    with pytest.warns(GradientWarning, match="NaN or inf"):
        grad = classifier.loss_gradient(x, Y)
    assert np.isfinite(grad).all()


# --- activations -----------------------------------------------------------------------------------------------------


def test_activations_are_batch_first_means_over_time(x):
    classifier = small_classifier()
    names = classifier.layer_names
    assert names[0] == "network.body.0"
    assert len(names) == 12
    for name in names:
        layer = classifier.model.get_submodule(name)
        seen = []
        handle = layer.register_forward_hook(lambda *call, seen=seen: seen.append(call[2]))
        with torch.no_grad():
            classifier.model.network(torch.from_numpy(x))
        handle.remove()
        out = (
            seen[0]
            if len(seen[0]) == 4
            else seen[0].reshape(5, 4, *seen[0].shape[1 if len(seen[0]) == 20 else 2 :]).mean(0)
        )
        found = classifier.get_activations(x, name, batch_size=3)
        np.testing.assert_allclose(found, out.numpy(), rtol=1e-4, atol=1e-5)
        framework = classifier.get_activations(torch.from_numpy(x).requires_grad_(), name, framework=True)
        np.testing.assert_allclose(framework.detach().numpy(), found, rtol=1e-4, atol=1e-5)
        assert framework.requires_grad
        assert not layer._forward_hooks
    np.testing.assert_array_equal(classifier.get_activations(x, -1), classifier.get_activations(x, names[-1]))
    np.testing.assert_allclose(classifier.get_activations(x, -1), classifier.predict(x), rtol=1e-5, atol=1e-6)


def test_custom_loss_gradient_takes_arrays_and_tensors(x):
    classifier = small_classifier()
    name = classifier.layer_names[-1]
    leaf = torch.from_numpy(x).requires_grad_()
    target = torch.from_numpy(classifier.predict(x[::-1].copy()))
    expected = torch.autograd.grad(torch.norm(classifier.model(leaf) - target, p=2), leaf)[0].numpy()
    np.testing.assert_allclose(
        classifier.custom_loss_gradient(torch.norm, x, x[::-1].copy(), name), expected, rtol=1e-4, atol=1e-8
    )
    found = classifier.custom_loss_gradient(torch.norm, torch.from_numpy(x), torch.from_numpy(x[::-1].copy()), name)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-8)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_fit_learns_and_ends_in_evaluation_mode(x, capfd):
    classifier = small_classifier()
    inputs, labels = np.tile(x, (8, 1, 1, 1)), np.tile(Y, 8)
    before = classifier.compute_loss(x, Y, reduction="mean")
    classifier.fit(inputs, labels, batch_size=10, nb_epochs=5, verbose=True)
    assert not any(module.training for module in classifier.model.modules())
    assert classifier.compute_loss(x, Y, reduction="mean") < 0.5 * before
    assert "Training: 100%" in capfd.readouterr().err


def test_fit_takes_a_scheduler_and_drop_last(x):
    classifier = small_classifier()
    scheduler = torch.optim.lr_scheduler.StepLR(classifier.optimizer, step_size=1, gamma=0.1)
    classifier.fit(x, Y, batch_size=3, nb_epochs=2, drop_last=True, scheduler=scheduler)
    assert classifier.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_fit_without_optimizer_or_with_a_diverging_loss(x):
    network, _ = make_network("plain")
    classifier = PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu")
    with pytest.raises(ValueError, match="needs an optimizer"):
        classifier.fit(x, Y)
    broken = small_classifier()
    with torch.no_grad():
        broken.model.network.body[-1].bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or inf; lower the learning rate"):
        broken.fit(x, Y)
    assert not broken.model.training


def test_fit_generator_ends_in_evaluation_mode(x):
    from art.data_generators import PyTorchDataGenerator

    rows = torch.eye(5)[Y]
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), rows)
    generator = PyTorchDataGenerator(torch.utils.data.DataLoader(data, batch_size=2), size=4, batch_size=2)
    classifier = small_classifier()
    classifier.fit_generator(generator, nb_epochs=1)
    assert not classifier.model.training
    classifier.optimizer.param_groups[0]["lr"] = 1e36
    with pytest.raises(TrainingError, match="NaN or inf; lower the learning rate, lr=1e"):
        classifier.fit_generator(generator, nb_epochs=3)
    assert not classifier.model.training


# --- the rule as a parameter -----------------------------------------------------------------------------------------


def test_rule_is_the_last_keyword_and_a_parameter(x):
    import inspect

    assert list(inspect.signature(PyTorchSNNClassifier.__init__).parameters)[-1] == "gradient_rule"
    classifier = small_classifier(gradient_rule=HART(gamma=0.7))
    assert classifier.get_params()["gradient_rule"] == HART(gamma=0.7)
    hart = classifier.loss_gradient(x, Y)
    classifier.set_params(gradient_rule="stbp")
    assert classifier.gradient_rule == STBP()
    assert np.abs(classifier.loss_gradient(x, Y) - hart).max() > 0
    with pytest.raises(ValueError, match="unknown gradient rule 'nope'"):
        classifier.set_params(gradient_rule="nope")
    assert classifier.gradient_rule == STBP()


def test_all_parameters_may_be_set_to_themselves(x):
    classifier = small_classifier(gradient_rule=HART(gamma=0.7))
    before = classifier.predict(x)
    classifier.set_params(**classifier.get_params())
    np.testing.assert_array_equal(classifier.predict(x), before)
    assert classifier.gradient_rule == HART(gamma=0.7)
    other = small_classifier(make_network("plain", seed=5)[0])
    classifier.set_params(model=other.model)
    np.testing.assert_array_equal(classifier.predict(x), other.predict(x))
    assert not classifier.model.training
    with pytest.raises(TypeError, match="must be a GradientRuleModule, got Linear"):
        classifier.set_params(model=nn.Linear(2, 2))
    with pytest.raises(UnsupportedModelError, match=r"shape \(2, 7\)"):
        classifier.set_params(model=GradientRuleModule(snn(nn.Linear(16, 7))))
    np.testing.assert_array_equal(classifier.predict(x), other.predict(x))
    classifier.set_params(model=GradientRuleModule(make_network("plain", seed=6)[0]))
    before = classifier.predict(x)
    classifier.fit(x, Y, nb_epochs=1)
    assert not np.array_equal(classifier.predict(x), before)


def test_clone_for_refitting_keeps_the_rule_and_not_the_weights(x):
    classifier = small_classifier(gradient_rule=HART(gamma=0.7), clip_values=(0, 2))
    clone = classifier.clone_for_refitting()
    assert type(clone) is PyTorchSNNClassifier
    assert clone.gradient_rule == HART(gamma=0.7)
    assert tuple(clone.clip_values) == (0, 2)
    assert not np.array_equal(clone.predict(x), classifier.predict(x))
    clone.fit(x, Y, nb_epochs=1)


def test_a_wrapped_module_is_taken_apart():
    network, _ = make_network("plain")
    module = GradientRuleModule(network, "stbp")
    classifier = small_classifier(module)
    assert classifier.model.network is network
    assert module.rule == STBP()


# --- copies and files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("kind", ["plain", "poisson"])
def test_copies_are_whole_and_apart(copier, kind, tmp_path, monkeypatch):
    monkeypatch.setattr("art.config.ART_DATA_PATH", str(tmp_path))
    network, x = make_network(kind)
    x = x.numpy()
    classifier = small_classifier(network, gradient_rule=HART(gamma=0.7))
    classifier.fit(x, Y, nb_epochs=1)
    classifier.loss_gradient(x, Y)
    classifier.get_activations(x, 0)
    twin = copier(classifier)
    assert twin.gradient_rule == HART(gamma=0.7)
    np.testing.assert_array_equal(twin.predict(x), classifier.predict(x))
    np.testing.assert_array_equal(twin.loss_gradient(x, Y), classifier.loss_gradient(x, Y))
    before = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}
    twin.fit(x, Y, nb_epochs=1)
    assert all(torch.equal(t, before[name]) for name, t in classifier.model.state_dict().items())
    assert any(not torch.equal(t, before[name]) for name, t in twin.model.state_dict().items())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["snn.safetensors", "snn"])
def test_saved_weights_come_back(x, tmp_path, name):
    classifier = small_classifier()
    classifier.save(name, path=str(tmp_path))
    file = tmp_path / (name if name.endswith("safetensors") else "snn.model")
    names = {p.name for p in tmp_path.iterdir()}
    assert names == ({"snn.safetensors"} if name.endswith("safetensors") else {"snn.model", "snn.optimizer"})
    other = small_classifier(make_network("plain", seed=5)[0])
    assert not np.array_equal(other.predict(x), classifier.predict(x))
    other.load_state(file)
    np.testing.assert_array_equal(other.predict(x), classifier.predict(x))


def test_wrong_files_change_nothing(x, tmp_path):
    classifier = small_classifier()
    before = classifier.predict(x)
    small_classifier(make_network("residual")[0]).save("other.safetensors", path=str(tmp_path))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes()[:200])
    (tmp_path / "text.model").write_text("no weights")
    with pytest.raises(ValueError, match="weights of another network"):
        classifier.load_state(tmp_path / "other.safetensors")
    for name in ("cut.safetensors", "text.model"):
        with pytest.raises(ValueError, match=f"{name} is no readable file"):
            classifier.load_state(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        classifier.load_state(tmp_path / "absent.safetensors")
    np.testing.assert_array_equal(classifier.predict(x), before)


# --- bad input -------------------------------------------------------------------------------------------------------

BAD_INPUT = {
    "rank": (lambda x: x[0], ValueError, r"x has shape \(2, 8, 8\), expected \(N, 2, 8, 8\)"),
    "channels": (lambda x: x[:, :1], ValueError, r"x has shape \(4, 1, 8, 8\), expected \(N, 2, 8, 8\)"),
    "size": (lambda x: x[..., :7], ValueError, r"x has shape \(4, 2, 8, 7\)"),
    "nan": (
        lambda x: np.where(x == x[2, 1, 3, 3], np.nan, x),
        ValueError,
        r"NaN or inf in 1 of 4 samples, .* sample 2",
    ),
    "inf": (
        lambda x: np.where(x == x[3, 1, 3, 3], np.inf, x),
        ValueError,
        r"NaN or inf in 1 of 4 samples, .* sample 3",
    ),
    "strings": (lambda x: x.astype(str), TypeError, "x must hold numbers"),
}


@pytest.mark.parametrize(("spoil", "error", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_inputs_are_refused_and_the_classifier_goes_on(x, spoil, error, message):
    classifier = small_classifier()
    before = classifier.predict(x)
    bad = spoil(x)
    for call in (
        classifier.predict,
        lambda v: classifier.loss_gradient(v, Y),
        classifier.class_gradient,
        lambda v: classifier.compute_loss(v, Y),
        lambda v: classifier.fit(v, Y),
        lambda v: classifier.get_activations(v, 0),
    ):
        with pytest.raises(error, match=message):
            call(bad)
    np.testing.assert_array_equal(classifier.predict(x), before)


BAD_LABELS = {
    "too large": (np.array([0, 1, 2, 5]), ValueError, r"labels must be classes in 0 to 4 \(nb_classes=5\), got 5"),
    "negative": (np.array([0, -1, 2, 4]), ValueError, "got -1"),
    "too few": (np.array([0, 1]), ValueError, "2 labels for 4 samples"),
    "columns": (np.eye(6)[:4], ValueError, r"y has shape \(4, 6\)"),
}


@pytest.mark.parametrize(("y", "error", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused(x, y, error, message):
    classifier = small_classifier()
    for call in (classifier.loss_gradient, classifier.compute_loss, classifier.fit):
        with pytest.raises(error, match=message):
            call(x, y)
    for label in (5, -1, np.array([0, 1, 2, 9])):
        with pytest.raises(ValueError, match="labels must be classes in 0 to 4"):
            classifier.class_gradient(x, label=label)
    assert np.abs(classifier.loss_gradient(x, Y)).max() > 0


def test_layers_inside_sequence_modules_are_batch_first():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.neuron = nn.Linear(128, 16), LIF(decay=0.9, surrogate=nn.Sigmoid())

        def forward(self, x_seq: torch.Tensor) -> torch.Tensor:
            return self.neuron(self.fc(x_seq))

    torch.manual_seed(0)
    network = SpikingNetwork(DirectEncoder(time_steps=6), nn.Sequential(nn.Flatten(), Block(), nn.Linear(16, 5)))
    classifier = small_classifier(network)
    x = np.random.default_rng(0).random((4, 2, 8, 8), dtype=np.float32)
    names = [name.removeprefix("network.body.") for name in classifier.layer_names]
    assert names == ["0", "1.fc", "1.neuron", "2"]
    x = np.concatenate([x, x, x])[:9]
    for n in (1, 4, 6, 9):  # 6 samples are as many as time-steps
        expected = network.body[1].fc(torch.from_numpy(x[:n]).flatten(1)).detach().numpy()
        found = classifier.get_activations(x[:n], "network.body.1.fc", batch_size=4)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert classifier.get_activations(x[:n], "network.body.1.neuron").shape == (n, 16)


def test_what_else_is_refused_or_works(x):
    classifier = small_classifier()
    with pytest.raises(ValueError, match="needs labels y"):
        classifier.loss_gradient(x, None)
    with pytest.raises(ValueError, match="make no batch of 10"):
        classifier.fit(x, Y, batch_size=10, drop_last=True)
    with pytest.raises(ValueError, match="0 samples make no batch"):
        classifier.fit(x[:0], Y[:0])
    with pytest.raises(ValueError, match=r"labels must be classes .* got 0.5"):
        classifier.loss_gradient(x, Y * 0.5 + 0.5)
    with pytest.raises(ValueError, match="y holds NaN"):
        classifier.loss_gradient(x, np.full((4, 5), np.nan, dtype=np.float32))
    assert classifier.loss_gradient(x[:0], Y[:0]).shape == (0, 2, 8, 8)
    assert classifier.class_gradient(x[:0]).shape == (0, 5, 2, 8, 8)
    expected = classifier.loss_gradient(x, Y)
    with torch.no_grad():
        np.testing.assert_array_equal(classifier.loss_gradient(x, Y), expected)
    with pytest.raises(ValueError, match="needs a loss with a reduction"):
        PyTorchSNNClassifier(
            make_network("plain")[0], nn.functional.cross_entropy, (2, 8, 8), 5, device_type="cpu"
        ).compute_loss(x, Y)
    assert not hasattr(nn.functional.cross_entropy, "reduction")


def test_layers_that_work_in_place_leave_the_users_array_alone(x):
    network = SpikingNetwork(
        EventFrameEncoder(), nn.Sequential(nn.Hardtanh(0, 0.5, inplace=True), body(nn.Linear(16, 5)))
    )
    classifier = small_classifier(network, input_shape=(1, 2, 8, 8), preprocessing=None)
    frames = x[:, None].copy()
    first = classifier.predict(frames)
    np.testing.assert_array_equal(frames, x[:, None])
    np.testing.assert_array_equal(classifier.predict(frames), first)


def test_bad_counts_and_layers_are_refused(x):
    classifier = small_classifier()
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1, got 0"):
        classifier.predict(x, batch_size=0)
    with pytest.raises(ValueError, match="nb_epochs must be a whole number >= 1, got 0"):
        classifier.fit(x, Y, nb_epochs=0)
    for layer in (99, "nope", None, -13):
        with pytest.raises(ValueError, match="layer must be an index below 12"):
            classifier.get_activations(x, layer)


def test_event_frames_of_any_length_but_zero():
    network, x = make_network("event-frame")
    classifier = small_classifier(network, input_shape=(5, 2, 8, 8))
    x = x.numpy()
    assert classifier.predict(x[:, :3]).shape == (4, 5)
    with pytest.raises(ValueError, match="time axis of x has length 0"):
        classifier.predict(x[:, :0])
    with pytest.raises(ValueError, match=r"expected \(N, T, 2, 8, 8\)"):
        classifier.predict(x[:, :, :1])
    with pytest.raises(ValueError, match="length 0"):
        EventFrameEncoder()(torch.zeros(2, 0, 3))


# --- event frames and what of ART cannot take them -------------------------------------------------------------------


def test_the_refused_classes_are_arts():
    for module, name in guard.REFUSED:
        assert isinstance(getattr(import_module(module), name, None), type), f"{module}.{name}"


def test_classes_that_art_lacks_are_passed_over(monkeypatch):
    missing = {
        ("art.attacks.evasion", "GoneAttack"): guard._always("it is gone"),
        ("art.attacks.moved", "SquareAttack"): guard._always("it has moved"),
    }
    monkeypatch.setattr(guard, "REFUSED", {**missing, **guard.REFUSED})
    classifier = small_classifier(make_network("event-frame")[0], input_shape=(5, 2, 8, 8))
    classifier = pickle.loads(pickle.dumps(classifier))
    with pytest.raises(UnsupportedInputError, match="SquareAttack cannot take event frames"):
        SquareAttack(classifier)


def test_modules_that_are_there_and_fail_are_not_passed_over(monkeypatch, tmp_path):
    (tmp_path / "needs_what_is_absent.py").write_text("import absent_package_of_theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(guard, "REFUSED", {("needs_what_is_absent", "Attack"): guard._always("")})
    with pytest.raises(ModuleNotFoundError, match="absent_package_of_theirs"):
        guard.install()


WRAPPERS = {
    "ensemble": lambda c: EnsembleClassifier([c, c], channels_first=True, clip_values=(0.0, 2.0)),
    "query-efficient": lambda c: QueryEfficientGradientEstimationClassifier(c, num_basis=2, sigma=0.1),
    "nested": lambda c: NumpyRandomizedSmoothing(WRAPPERS["ensemble"](c), sample_size=2, scale=0.1),
    "smoothed": lambda c: NumpyRandomizedSmoothing(c, sample_size=2, scale=0.1),
    "plain": lambda c: PyTorchClassifier(
        c.model, nn.CrossEntropyLoss(), c.input_shape, 5, clip_values=(0.0, 2.0), device_type="cpu"
    ),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_event_frames_are_seen_through_arts_wrappers(wrap):
    events = small_classifier(make_network("event-frame")[0], input_shape=(5, 2, 8, 8), clip_values=(0.0, 2.0))
    images = small_classifier(clip_values=(0.0, 2.0))
    for classifier, expected in ((events, True), (images, False)):
        wrapped = wrap(classifier)
        assert guard.takes_event_frames(wrapped) is expected
        if expected:
            with pytest.raises(UnsupportedInputError, match="SquareAttack cannot take event frames"):
                SquareAttack(wrapped)
        else:
            with suppress(EstimatorError):  # ART's own refusal, of wrappers that are no neural network
                SquareAttack(wrapped)
    ProjectedGradientDescent(events, verbose=False)


class Wrapped(SpikingNetwork):
    """Gives probabilities."""

    def readout(self, out_seq: torch.Tensor) -> torch.Tensor:
        return out_seq.mean(0).softmax(1)


def snn(*last: nn.Module, cls: type[SpikingNetwork] = SpikingNetwork, hidden: nn.Module | None = None) -> nn.Module:
    return cls(DirectEncoder(time_steps=4), body(*last, hidden=hidden))


BAD_MODELS = {
    "no neurons": (lambda: snn(nn.Linear(16, 5), hidden=nn.ReLU()), UnsupportedModelError, "no spiking layer"),
    "double": (
        lambda: snn(nn.Linear(16, 5)).double(),
        UnsupportedModelError,
        r"body\.1\.weight is float64.*model\.float\(\)",
    ),
    "half": (lambda: snn(nn.Linear(16, 5)).half(), UnsupportedModelError, "float16"),
    "softmax": (lambda: snn(nn.Linear(16, 5), nn.Softmax(1)), UnsupportedModelError, "returns probabilities"),
    "softmax readout": (lambda: snn(nn.Linear(16, 5), cls=Wrapped), UnsupportedModelError, "returns probabilities"),
    "rates": (lambda: snn(nn.Linear(16, 5), LIF()), UnsupportedModelError, "returns firing rates"),
    "votes": (
        lambda: snn(nn.Linear(16, 20), LIF(), nn.Unflatten(1, (1, 20)), nn.AvgPool1d(4), nn.Flatten()),
        UnsupportedModelError,
        "returns firing rates",
    ),
    "classes": (
        lambda: snn(nn.Linear(16, 7)),
        UnsupportedModelError,
        r"shape \(2, 7\), expected \(N, nb_classes\) = \(N, 5\)",
    ),
    "input": (
        lambda: SpikingNetwork(
            DirectEncoder(time_steps=4), nn.Sequential(nn.Conv2d(3, 4, 3), LIF(), nn.Flatten(), nn.Linear(144, 5))
        ),
        UnsupportedModelError,
        r"fails on inputs of shape \(2, 2, 8, 8\)",
    ),
    "plain": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 5)), TypeError, "SpikingNetwork"),
    "function": (lambda: lambda x: x, TypeError, "SpikingNetwork"),
}


@pytest.mark.parametrize(("build", "error", "message"), BAD_MODELS.values(), ids=BAD_MODELS)
def test_models_that_cannot_be_attacked_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        PyTorchSNNClassifier(build(), nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu")


def test_all_reasons_come_at_once():
    with pytest.raises(UnsupportedModelError) as caught:
        PyTorchSNNClassifier(
            snn(nn.Linear(16, 5), hidden=nn.ReLU()).double(), nn.CrossEntropyLoss(), (2, 8, 8), 5, device_type="cpu"
        )
    assert len(caught.value.reasons) == 2
    assert pickle.loads(pickle.dumps(caught.value)).reasons == caught.value.reasons


def test_a_model_left_in_double_later_is_refused_and_usable_again(x):
    classifier = small_classifier()
    before = classifier.predict(x)
    classifier.model.double()
    for call in (classifier.predict, lambda v: classifier.loss_gradient(v, Y)):
        with pytest.raises(UnsupportedModelError, match="float64"):
            call(x)
    classifier.model.float()
    np.testing.assert_array_equal(classifier.predict(x), before)


BAD_OPTIONS = {
    "device": ({"device_type": "tpu"}, "device_type must be 'gpu' or 'cpu', got 'tpu'"),
    "classes": ({"nb_classes": 0}, "nb_classes must be a whole number >= 1, got 0"),
    "amp": ({"use_amp": True}, "apex"),
    "channels": ({"channels_first": False}, "transpose inputs"),
    "rule": ({"gradient_rule": "hrat"}, "unknown gradient rule 'hrat'"),
    "clip": ({"clip_values": (1, 0)}, "min >= max"),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small_classifier(**options)


def test_missing_gpu_is_logged(caplog):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with caplog.at_level(logging.WARNING):
        assert small_classifier(device_type="gpu").device == torch.device("cpu")
    assert "torch finds no GPU" in caplog.text


def test_construction_leaves_flags_generators_and_hooks_alone():
    network, _ = make_network("poisson")
    state = network.encoder.generator.get_state()
    rng = torch.get_rng_state()
    small_classifier(network)
    assert torch.equal(network.encoder.generator.get_state(), state)
    assert torch.equal(torch.get_rng_state(), rng)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_new_classifier_is_in_evaluation_mode():
    network, _ = make_network("plain")
    assert not small_classifier(network.train()).model.training


def test_import_needs_no_torchvision():
    code = "import sys, art_snn; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
