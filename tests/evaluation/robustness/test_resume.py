"""An evaluation that is stopped goes on where it was, with the same result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from art_snn import PyTorchSNNClassifier, robustness
from art_snn.errors import BusyError, ResultsError
from art_snn.evaluation.robustness import Robustness, SignNoise, Stage
from art_snn.evaluation.robustness import store as stores
from art_snn.evaluation.robustness import survey as surveys
from art_snn.evaluation.robustness.store import PieceStore
from tests.evaluation.robustness.networks import poisson
from tests.evaluation.robustness.walks import Walk, small_budget

FAST = {"queries": 4, "check_samples": 2, "check_steps": 1, "unbounded_steps": 1}


@pytest.fixture(autouse=True)
def small_portions(monkeypatch):
    monkeypatch.setattr(surveys, "BATCHES", 1)


def evaluate(classifier: PyTorchSNNClassifier, digits: Any, **options: Any) -> Robustness:
    options = {"budget": small_budget(**FAST), "eps": 0.1, "batch_size": 6, **options}
    return robustness(classifier, digits.x_test[:14], digits.y_test[:14], **options)


def assert_same(result: Robustness, expected: Robustness) -> None:
    assert result.flags == expected.flags
    names = ("correct", "broken", "stage", "step", "margin", "forwards", "stage_forwards", "x_adv")
    for name in names:
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name), err_msg=name)


class Killed(BaseException):
    """What no code catches."""


def killing(monkeypatch: pytest.MonkeyPatch, writes: int, whole: bool) -> None:
    """Kill the evaluation at a write: before it, or when the file is written."""
    left = [writes]

    def wrapped(write: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any) -> None:
            left[0] -= 1
            if left[0] == 0 and not whole:
                raise Killed
            write(*args)
            if left[0] == 0:
                raise Killed

        return run

    for name in ("write_atomic", "write_text"):
        monkeypatch.setattr(stores, name, wrapped(getattr(stores, name)))


def test_an_evaluation_that_is_killed_anywhere_has_the_same_result(classifier, digits, tmp_path):
    expected = evaluate(classifier, digits)
    kills = 0
    for attempt in range(60):
        with pytest.MonkeyPatch.context() as patch:
            killing(patch, writes=1 + attempt % 3, whole=attempt % 2 == 0)
            try:
                result = evaluate(classifier, digits, folder=tmp_path / "pieces")
                break
            except Killed:
                kills += 1
    assert kills > 10
    assert_same(result, expected)
    assert not [file for file in (tmp_path / "pieces").iterdir() if file.name.endswith(".tmp")]


def test_a_random_network_goes_on_with_the_same_noise(classifier, digits, tmp_path):
    network = poisson(classifier, time_steps=2, eot_samples=2)
    stages = [Stage(name="noise", attack=SignNoise(eps=0.1, steps=2))]
    stages.append(Stage(name="walk", attack=Walk(eps=0.1, steps=2), rule="hart"))
    options = {"budget": small_budget(stages=stages, **FAST), "draws": 3}
    expected = evaluate(network, digits, **options)
    with pytest.MonkeyPatch.context() as patch:
        killing(patch, writes=4, whole=True)
        with pytest.raises(Killed):
            evaluate(network, digits, folder=tmp_path, **options)
    torch.rand(5), np.random.rand(5)
    assert_same(evaluate(network, digits, folder=tmp_path, **options), expected)


def test_generators_are_where_they_were(classifier, digits):
    network = poisson(classifier, time_steps=2, eot_samples=2)
    generator = network.model.network.encoder.generator
    before = generator.get_state(), torch.get_rng_state(), np.random.get_state()[1].copy()
    stages = [Stage(name="walk", attack=Walk(eps=0.1, steps=1), rule="hart")]
    evaluate(network, digits, budget=small_budget(stages=stages, **FAST), draws=2)
    assert torch.equal(generator.get_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    np.testing.assert_array_equal(np.random.get_state()[1], before[2])


def test_what_is_finished_is_not_done_again(classifier, digits, tmp_path, monkeypatch):
    expected = evaluate(classifier, digits, folder=tmp_path)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("it is done again")

    monkeypatch.setattr(surveys, "search", fail)
    assert_same(evaluate(classifier, digits, folder=tmp_path), expected)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == times


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("eps", {"eps": 0.2, "budget": small_budget(0.2, **FAST)}),
        ("budget", {"budget": small_budget(**{**FAST, "queries": 5})}),
        ("batch_size", {"batch_size": 7}),
    ],
)
def test_another_evaluation_is_refused_and_says_what_differs(classifier, digits, tmp_path, what, options):
    evaluate(classifier, digits, folder=tmp_path)
    with pytest.raises(ResultsError, match=rf"with other .*{what} \("):
        evaluate(classifier, digits, folder=tmp_path, **options)


def test_other_weights_inputs_and_labels_are_refused(classifier, digits, tmp_path):
    evaluate(classifier, digits, folder=tmp_path)
    options = {"eps": 0.1, "budget": small_budget(**FAST), "batch_size": 6, "folder": tmp_path}
    x, y = digits.x_test[:14], digits.y_test[:14]
    with pytest.raises(ResultsError, match="other inputs"):
        robustness(classifier, x[::-1], y, **options)
    with pytest.raises(ResultsError, match="other labels"):
        robustness(classifier, x, (y + 1) % 10, **options)
    weight = next(classifier.model.parameters())
    old = weight.detach().clone()
    with torch.no_grad():
        weight.view(-1)[0].add_(1)
    try:
        with pytest.raises(ResultsError, match="other weights"):
            robustness(classifier, x, y, **options)
    finally:
        with torch.no_grad():
            weight.copy_(old)


def test_two_at_a_time_are_refused(tmp_path):
    with (
        PieceStore(tmp_path, {"a": "1"}),
        pytest.raises(BusyError, match="another process works in"),
        PieceStore(tmp_path, {"a": "1"}),
    ):
        pass
    with PieceStore(tmp_path, {"a": "1"}):
        pass


def test_damaged_pieces_are_named(tmp_path):
    with PieceStore(tmp_path, {"a": "1"}) as store:
        store.arrays("piece", lambda: {"x": np.ones(2)})
        store.values("value", lambda: 1)
        for file, read in (("piece.npz", store.arrays), ("value.json", store.values)):
            (tmp_path / file).write_text("{")
            with pytest.raises(ResultsError, match=rf"{file} is damaged .* delete it"):
                read(file.partition(".")[0], dict)
    (tmp_path / "evaluation.json").write_text(json.dumps({"format": 0, "identity": {}}))
    with pytest.raises(ResultsError, match="has format 0"), PieceStore(tmp_path, {"a": "1"}):
        pass
    (tmp_path / "evaluation.json").write_text("[]")
    with pytest.raises(ResultsError, match="is damaged"), PieceStore(tmp_path, {"a": "1"}):
        pass
    with pytest.raises(ResultsError, match="is a file"), PieceStore(tmp_path / "evaluation.json", {}):
        pass
