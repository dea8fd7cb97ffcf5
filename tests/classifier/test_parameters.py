"""The rule and ART's other parameters: set, cloned, refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn

from art_snn import HART, RGA, STBP, GradientRuleModule, PyTorchSNNClassifier, UnsupportedModelError
from tests.classifier.classifiers import Y, small_classifier, snn
from tests.conftest import make_network


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
    with pytest.raises(ValueError, match="nb_classes=7, but the model has 5; give another model"):
        classifier.set_params(nb_classes=7)
    assert classifier.nb_classes == 5
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
    assert small_classifier(module).model.network is network
    assert small_classifier(module).gradient_rule == STBP()
    assert small_classifier(module, gradient_rule="rga").gradient_rule == RGA()
    assert module.rule == STBP()


def test_a_wrapped_module_attacks_with_its_rule(x):
    network, _ = make_network("plain")
    found = small_classifier(GradientRuleModule(network, "stbp")).loss_gradient(x, Y)
    expected = small_classifier(network, gradient_rule="stbp").loss_gradient(x, Y)
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - small_classifier(network).loss_gradient(x, Y)).max() > 0
    clone = small_classifier(GradientRuleModule(network, "stbp")).clone_for_refitting()
    assert clone.gradient_rule == STBP()


def test_views_are_set_apart_from_their_classifier(x):
    classifier = small_classifier(preprocessing_defences=[], clip_values=(0, 2))
    before = classifier.predict(x), classifier.loss_gradient(x, Y)
    view = classifier.with_rule("stbp")
    assert (view.gradient_rule, classifier.gradient_rule) == (STBP(), HART())
    np.testing.assert_array_equal(
        view.loss_gradient(x, Y), small_classifier(classifier.model.network, gradient_rule="stbp").loss_gradient(x, Y)
    )
    view.set_params(preprocessing=(0.5, 2.0), eot_samples=1, gradient_rule="rga")
    assert np.abs(view.predict(x) - before[0]).max() > 0
    np.testing.assert_array_equal(classifier.predict(x), before[0])
    np.testing.assert_array_equal(classifier.loss_gradient(x, Y), before[1])
    with torch.no_grad():
        classifier.model.network.body[-1].bias.add_(1.0)
    assert np.abs(classifier.predict(x) - before[0]).min() > 0.5
    assert view.model.network is classifier.model.network


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


LOSSES = {
    "class": (
        nn.CrossEntropyLoss,
        r"loss is the class CrossEntropyLoss; give an instance, such as CrossEntropyLoss\(\)",
    ),
    "text": ("ce", r"got 'ce'; give nn.CrossEntropyLoss\(\)"),
    "none": (None, r"got None; give nn.CrossEntropyLoss\(\)"),
}


@pytest.mark.parametrize(("loss", "message"), LOSSES.values(), ids=LOSSES)
def test_what_is_no_loss_is_refused_before_anything_is_built(loss, message):
    with pytest.raises(TypeError, match=message):
        PyTorchSNNClassifier(nn.Linear(4, 3), loss, (1, 2, 2), 3, device_type="cpu")
    classifier = small_classifier()
    kept = classifier.loss
    with pytest.raises(TypeError, match=message):
        classifier.set_params(loss=loss, clip_values=(0, 9))
    assert classifier.loss is kept
    assert classifier.clip_values is None


def test_a_function_is_a_loss(x):
    def loss(logits, labels):
        return nn.functional.cross_entropy(logits, labels)

    network, _ = make_network("plain")
    classifier = PyTorchSNNClassifier(network, loss, (2, 8, 8), 5, device_type="cpu")
    np.testing.assert_allclose(classifier.loss_gradient(x, Y), small_classifier(network).loss_gradient(x, Y))


def test_missing_gpu_is_logged(caplog):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with caplog.at_level(logging.WARNING):
        assert small_classifier(device_type="gpu").device == torch.device("cpu")
    assert "torch finds no GPU" in caplog.text


def test_a_new_classifier_is_in_evaluation_mode():
    network, _ = make_network("plain")
    assert not small_classifier(network.train()).model.training
