"""An evaluation that is stopped goes on where it was, with the same result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import Tensor, nn

from art_snn import LIF, DirectEncoder, PoissonEncoder, PyTorchSNNClassifier, SpikingNetwork, adapt, robustness
from art_snn.errors import BusyError, ResultsError
from art_snn.evaluation.robustness import Linf, Robustness, SignNoise, Stage
from art_snn.evaluation.robustness import store as stores
from art_snn.evaluation.robustness import survey as surveys
from art_snn.evaluation.robustness.identity import identity
from art_snn.evaluation.robustness.judging import Judge
from art_snn.evaluation.robustness.store import PIECES, PieceStore
from tests.evaluation.robustness.networks import like, poisson
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
    for place in ("evaluation.json", "evaluation.json/below"):
        with pytest.raises(ResultsError, match=r"evaluation.json is a file; name"), PieceStore(tmp_path / place, {}):
            pass


class Scale(nn.Module):
    """Multiply by a number that no state_dict and no repr shows."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Shift(nn.Module):
    """Add a buffer that no state_dict holds."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.register_buffer("by", torch.tensor(by), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


class Remembering(nn.Module):
    """Keep what it saw last in a buffer, as neurons keep their potentials, and never read it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x.detach()
        return x


class Jittery(nn.Module):
    """Add noise that nothing seeds, once it has a source."""

    source: np.random.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.source is None else x + float(self.source.normal())


def large(loss: nn.Module | None = None, **options: Any) -> PyTorchSNNClassifier:
    """Return a classifier of 1024 entries."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(1024, 8), LIF(decay=0.9), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=2), body)
    options = {"clip_values": (0, 1), "device_type": "cpu", **options}
    return PyTorchSNNClassifier(network, loss or nn.CrossEntropyLoss(), (1, 32, 32), 3, **options)


def adapted(time_steps: int) -> PyTorchSNNClassifier:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(2), nn.Linear(1024, 8), LIF(decay=0.9), nn.Linear(8, 3))
    network = adapt(body, lambda model, x: model(x.expand(time_steps, *x.shape)).mean(0), time_steps=1)
    return PyTorchSNNClassifier(network, nn.CrossEntropyLoss(), (1, 32, 32), 3, clip_values=(0, 1), device_type="cpu")


def grey(last: float) -> np.ndarray:
    """Return 1024 entries, of which the middle one, which NumPy's texts leave out, is another."""
    image = np.zeros((1, 32, 32), np.float32)
    image[0, 16, 16] = last
    return image


def known_of(classifier: PyTorchSNNClassifier, count: int = 20) -> dict[str, Any]:
    x = np.random.default_rng(0).random((count, *classifier.input_shape), dtype=np.float32)
    judge = Judge(classifier, Linf(0.1), 6, 3)
    return identity(judge, small_budget(**FAST), x, np.arange(count) % classifier.nb_classes)


def goes_on(folder: Path, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Begin an evaluation, and go on with it as the second one."""
    with PieceStore(folder, first):
        pass
    with PieceStore(folder, second):
        pass


LOGITS = "logits of the network"
SHARPER = torch.tensor([1.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("make", "one", "other", "what"),
    [
        pytest.param(lambda value: adapted(value), 4, 2, LOGITS, id="forward"),
        pytest.param(lambda value: large(clip_values=(grey(value), 1 + grey(0))), -0.5, -0.3, "clip_values", id="clip"),
        pytest.param(
            lambda value: large(preprocessing=(grey(value), 1 + grey(0))), 0.1, 0.2, "preprocessing", id="mean"
        ),
        pytest.param(lambda value: large(nn.CrossEntropyLoss(weight=value)), None, SHARPER, "loss", id="no weight"),
        pytest.param(lambda value: large(nn.CrossEntropyLoss(weight=value)), SHARPER, SHARPER**2, "loss", id="weight"),
        pytest.param(lambda value: large(nn.CrossEntropyLoss(label_smoothing=value)), 0.1, 0.2, "loss", id="setting"),
    ],
)
def test_what_no_text_shows_is_seen(tmp_path, make, one, other, what):
    goes_on(tmp_path / "same", known_of(make(one)), known_of(make(one)))
    with pytest.raises(ResultsError, match=rf"with other .*{what} \("):
        goes_on(tmp_path / "other", known_of(make(one)), known_of(make(other)))


@pytest.mark.parametrize(("kind", "one", "other", "what"), [(Scale, 1, 0.6, LOGITS), (Shift, 0.0, 1e-7, "weights")])
def test_what_no_state_dict_holds_is_seen(classifier, tmp_path, kind, one, other, what):
    goes_on(tmp_path / "same", known_of(like(classifier, kind(one))), known_of(like(classifier, kind(one))))
    with pytest.raises(ResultsError, match=rf"with other .*{what} \("):
        goes_on(tmp_path / "other", known_of(like(classifier, kind(one))), known_of(like(classifier, kind(other))))


def test_another_attribute_of_a_layer_ends_a_resume(classifier, digits, tmp_path):
    scale = Scale(1.0)
    network = like(classifier, scale)
    expected = evaluate(network, digits, folder=tmp_path)
    assert_same(evaluate(network, digits, folder=tmp_path), expected)
    scale.factor = 0.6
    with pytest.raises(ResultsError, match=rf"with other {LOGITS} \("):
        evaluate(network, digits, folder=tmp_path)


def test_states_of_neurons_and_noise_are_no_other_network(classifier, tmp_path):
    jitter = Jittery()
    remembering, jittery = like(classifier, Remembering()), like(classifier, jitter)
    jitter.source = np.random.default_rng()
    unseeded = like(classifier, encoder=PoissonEncoder(time_steps=2))
    for number, network in enumerate((remembering, jittery, unseeded, poisson(classifier))):
        first = known_of(network)
        network.predict(np.ones((3, 1, 8, 8), np.float32))
        goes_on(tmp_path / str(number), first, known_of(network))
    assert known_of(jittery)[LOGITS] == "change from call to call"


@pytest.mark.parametrize("count", [1, 5, 16, 40])
def test_logits_of_few_samples_are_kept(classifier, count):
    logits = known_of(classifier, count)[LOGITS]
    assert np.shape(logits) == (min(count, 16), 10)
    x = np.random.default_rng(0).random((count, 1, 8, 8), dtype=np.float32)
    np.testing.assert_allclose(np.array(logits)[[0, -1]], classifier.predict(x)[[0, -1]], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda z: z * (1 + 5e-5), True),
        (lambda z: z * (1 + 5e-4), False),
        (lambda z: np.where(np.arange(16)[:, None] < 2, z + 1, z), True),  # two spikes by rounding
        (lambda z: np.where(np.arange(16)[:, None] < 3, z + 1, z), False),
        (lambda z: np.where(np.arange(16)[:, None] < 3, np.nan, z), False),
        (lambda z: z[:8], False),
        (lambda z: z[:, :2], False),
    ],
)
def test_logits_may_differ_by_rounding(tmp_path, change, same):
    logits = np.random.default_rng(0).normal(size=(16, 4)) * 10
    first, second = ({LOGITS: np.where(np.isnan(z), None, z).tolist()} for z in (logits, change(logits)))
    if same:
        goes_on(tmp_path, first, second)
        return
    with pytest.raises(ResultsError, match=f"with other {LOGITS}"):
        goes_on(tmp_path, first, second)


def test_logits_that_are_no_numbers_are_the_same_again(classifier, tmp_path):
    network = like(classifier, Scale(float("nan")))
    last = network.model.network.body[-1]
    network.model.network.body[-1] = nn.Sequential(last, Scale(float("nan")))
    assert known_of(network)[LOGITS][0] == [None] * 10
    goes_on(tmp_path, known_of(network), known_of(network))


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Check that a block leaves a folder as it was, or no folder where there was none."""
    before = {file: file.read_bytes() for file in folder.iterdir()} if folder.is_dir() else None
    yield
    after = {file: file.read_bytes() for file in folder.iterdir()} if folder.is_dir() else None
    assert after == before


def test_pieces_without_their_evaluation_are_refused(classifier, digits, tmp_path):
    evaluate(classifier, digits, folder=tmp_path, eps=0.2, budget=small_budget(0.2, **FAST))
    (tmp_path / "evaluation.json").unlink()
    for lock in (True, False):
        (tmp_path / ".lock").unlink(missing_ok=lock)
        message = r"holds pieces of an evaluation \(check-.*no evaluation.json .* another folder, or delete the pieces"
        with unchanged(tmp_path), pytest.raises(ResultsError, match=message):
            evaluate(classifier, digits, folder=tmp_path)
        (tmp_path / ".lock").touch()


def test_every_piece_is_known_as_one(classifier, digits, tmp_path):
    evaluate(classifier, digits, folder=tmp_path)
    files = {file.name for file in tmp_path.iterdir()}
    assert {name for name in files if not PIECES.fullmatch(name)} == {"evaluation.json", ".lock"}


def test_files_that_are_no_pieces_do_not_matter(tmp_path):
    for name in (".lock", "report.html", "robustness.json", "examples.npz", "notes.txt"):
        (tmp_path / name).write_text("x")
    with PieceStore(tmp_path, {"a": "1"}) as store:
        assert store.values("check-it", lambda: 3) == 3


def test_a_folder_is_looked_at_with_its_lock(tmp_path, monkeypatch):
    with PieceStore(tmp_path, {"a": "1"}), pytest.raises(BusyError), PieceStore(tmp_path, {"a": "2"}):
        pass  # whose evaluation it is does not matter while another works in it
    held = []
    check = PieceStore._check

    def looked(store: PieceStore, file: Path) -> None:
        lock = FileLock(file.parent / ".lock", thread_local=False, is_singleton=False)
        with pytest.raises(TimeoutError):
            lock.acquire(blocking=False)
        held.append(True)
        check(store, file)

    monkeypatch.setattr(PieceStore, "_check", looked)
    with PieceStore(tmp_path, {"a": "1"}):
        pass
    assert held == [True]


@pytest.mark.parametrize("lock", [True, False])
def test_a_refused_call_leaves_the_folder_as_it_was(tmp_path, lock):
    with PieceStore(tmp_path, {"a": "1"}):
        pass
    if not lock:
        (tmp_path / ".lock").unlink()
    with unchanged(tmp_path), pytest.raises(ResultsError, match="other a"), PieceStore(tmp_path, {"a": "2"}):
        pass
    with PieceStore(tmp_path, {"a": "1"}):  # the lock was given up
        pass


def test_a_call_that_fails_at_once_leaves_no_folder(tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(stores, "write_text", full)
    with pytest.raises(OSError, match="full"), PieceStore(tmp_path / "new" / "pieces", {"a": "1"}):
        pass
    assert not list(tmp_path.iterdir())
