"""Trained networks in the cache folder."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from art_snn.evaluation.metrics import accuracy
from art_snn.training import DIGITS_RECIPE, checkpoints, train_cached

QUICK = replace(DIGITS_RECIPE, time_steps=1, epochs=1)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path))
    return tmp_path


def test_cache_is_used_told_apart_and_healed(digits, cache, caplog):
    rng = torch.get_rng_state()
    first, cached = train_cached(QUICK, digits, device_type="cpu")
    assert not cached
    assert torch.equal(torch.get_rng_state(), rng)
    second, cached = train_cached(QUICK, digits, device_type="cpu")
    assert cached
    np.testing.assert_array_equal(first.predict(digits.x_test), second.predict(digits.x_test))
    for classifier in (first, second):
        assert not classifier.model.training
        assert all(p.is_contiguous() for p in classifier.model.parameters())
    changes = ({}, {"decay": 1.0}, {"seed": 1}, {"reset": "soft"}, {"time_steps": 2}, {"schedule": "cosine"})
    assert len({replace(QUICK, **change).digest for change in changes}) == len(changes)
    file = cache / f"digits-{QUICK.digest}" / "epoch-0001.pt"
    file.write_bytes(file.read_bytes()[:100])
    third, cached = train_cached(QUICK, digits, device_type="cpu")
    assert not cached
    assert "training anew" in caplog.text
    np.testing.assert_array_equal(first.predict(digits.x_test), third.predict(digits.x_test))
    assert train_cached(QUICK, digits, device_type="cpu")[1]


def test_network_that_cannot_be_kept_is_used_all_the_same(digits, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "file"))
    classifier, cached = train_cached(QUICK, digits, device_type="cpu")
    assert not cached
    assert "is not kept" in caplog.text
    assert classifier.predict(digits.x_test[:2]).shape == (2, 10)


def test_process_waits_for_another_that_trains_the_same_entry(digits, cache):
    run = cache / f"digits-{QUICK.digest}"
    run.mkdir()
    with ThreadPoolExecutor() as threads:
        with checkpoints.locked(run):
            waiting = threads.submit(train_cached, QUICK, digits, device_type="cpu")
            time.sleep(0.5)
            assert not waiting.done()
            assert checkpoints.newest(run) is None
        waiting.result(timeout=60)
    assert train_cached(QUICK, digits, device_type="cpu")[1]


def test_networks_of_an_older_version_are_mentioned(digits, cache, caplog):
    (cache / "digits-0123456789abcdef.safetensors").touch()
    train_cached(QUICK, digits, device_type="cpu")
    assert "networks of art_snn 0.1.0" in caplog.text
    assert "delete digits-0123456789abcdef.safetensors" in caplog.text


@pytest.mark.slow
def test_default_network_reaches_its_accuracy(digits, cache):
    classifier, _ = train_cached(DIGITS_RECIPE, digits, device_type="cpu")
    assert accuracy(classifier.predict(digits.x_test), digits.y_test).value >= 0.95


def test_what_another_process_repaired_in_the_meantime_is_kept(digits, cache, monkeypatch):
    train_cached(QUICK, digits, device_type="cpu")
    file = cache / f"digits-{QUICK.digest}" / "epoch-0001.pt"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    locked = checkpoints.locked

    def repaired(run: Path, *, wait: bool = False) -> object:
        file.write_bytes(whole)
        return locked(run, wait=wait)

    monkeypatch.setattr(checkpoints, "locked", repaired)
    train_cached(QUICK, digits, device_type="cpu")
    assert file.read_bytes() == whole
