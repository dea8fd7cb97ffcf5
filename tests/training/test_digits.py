"""The network for digits, and its cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_snn.evaluation.metrics import accuracy
from art_snn.training.digits import DigitsRecipe, trained_digits_classifier


def test_cache_is_used_told_apart_and_healed(digits, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path))
    rng = torch.get_rng_state()
    recipe = DigitsRecipe(time_steps=1, epochs=1)
    first, cached = trained_digits_classifier(recipe, digits, device_type="cpu")
    assert not cached
    assert torch.equal(torch.get_rng_state(), rng)
    second, cached = trained_digits_classifier(recipe, digits, device_type="cpu")
    assert cached
    np.testing.assert_array_equal(first.predict(digits.x_test), second.predict(digits.x_test))
    names = {
        DigitsRecipe(**{"time_steps": 1, "epochs": 1, **change}).file_name
        for change in ({}, {"decay": 1.0}, {"seed": 1}, {"reset": "soft"}, {"time_steps": 2})
    }
    assert len(names) == 5
    file = tmp_path / recipe.file_name
    file.write_bytes(file.read_bytes()[:100])
    third, cached = trained_digits_classifier(recipe, digits, device_type="cpu")
    assert not cached
    assert "training anew" in caplog.text
    np.testing.assert_array_equal(first.predict(digits.x_test), third.predict(digits.x_test))
    assert trained_digits_classifier(recipe, digits, device_type="cpu")[1]


def test_network_that_cannot_be_kept_is_used_all_the_same(digits, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "file"))
    classifier, cached = trained_digits_classifier(DigitsRecipe(time_steps=1, epochs=1), digits, device_type="cpu")
    assert not cached
    assert "is not kept" in caplog.text
    assert classifier.predict(digits.x_test[:2]).shape == (2, 10)


@pytest.mark.slow
def test_default_network_reaches_its_accuracy(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path))
    classifier, _ = trained_digits_classifier(DigitsRecipe(), digits, device_type="cpu")
    assert accuracy(classifier.predict(digits.x_test), digits.y_test).value >= 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"seed": -1}, "seed must be"),
        ({"decay": 0.0}, "decay"),
        ({"reset": "no"}, "reset"),
    ],
)
def test_bad_recipes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DigitsRecipe(**options)
