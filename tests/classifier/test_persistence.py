"""Copies and files of the classifier."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from art_snn import HART
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network


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
        with pytest.raises(ValueError, match=f"{name} is not a readable file"):
            classifier.load_state(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        classifier.load_state(tmp_path / "absent.safetensors")
    np.testing.assert_array_equal(classifier.predict(x), before)
