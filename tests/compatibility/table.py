"""What one row of the table of ART's classes says, and what a row may use."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

# Where an attack can take its gradient from.
LOSS = "loss_gradient"
CLASS = "class_gradient"
CUSTOM = "custom_loss_gradient"
LAYER = "get_activations"
FRAMEWORK = "_predict_framework"
MODEL = "model"
PATHS = (LOSS, CLASS, CUSTOM, LAYER, FRAMEWORK, MODEL)

SOURCE = "https://github.com/Trusted-AI/adversarial-robustness-toolbox/blob/1.20.1/art"

QUIET: dict[str, Any] = {"verbose": False}

WORKS = "works"
REFUSED = "refused"
ART_REFUSES = "ART refuses"
MISREADS = "misreads"


# What rows say that assert no effect.
SHAPES = "only the shape and kind of its answers are asserted"


@dataclass(frozen=True, kw_only=True)
class Item:
    """A row: one class of ART, or a few of its options, on a classifier.

    Attributes:
        name: What is tried.
        family: Heading that the row stands under.
        run: Does it on a case, and asserts its effect.
        covers: ART's classes that the row tries.
        gradient: Paths by which it gets gradients, of `PATHS`; empty for what needs none.
        images: Whether it is made for images at all.
        events: On event frames: WORKS, REFUSED (our error), ART_REFUSES (ART says so by itself), MISREADS (ART runs) or
            "no" (not tried).
        art_fails: Part of the error with which ART itself fails, on any classifier.
        link: ART's source of its failure, or an issue about it.
        events_fail: The same on event frames; with ART_REFUSES, what ART says.
        misreads: Where ART runs on event frames, taking their axes for others: asserts so.
        second_order: Whether its gradients of inputs are second derivatives, through those of parameters.
        no_effect: Why examples may be what the inputs were, or what is asserted instead; empty where an effect is.
        needs: Packages beyond art_snn's own.
        note: What a user should know.
        slow: Left out of the default test run.
    """

    name: str
    family: str
    run: Callable[[Case], object]
    covers: tuple[str, ...]
    gradient: frozenset[str] = frozenset()
    images: bool = True
    events: str = WORKS
    art_fails: str | None = None
    link: str | None = None
    events_fail: str | None = None
    misreads: Callable[[Case], None] | None = None
    second_order: bool = False
    no_effect: str = ""
    needs: tuple[str, ...] = ()
    note: str = ""
    slow: bool = False

    def missing(self) -> str | None:
        """Return the first package that is absent, or None."""
        return next((package for package in self.needs if not _importable(package)), None)

    def __str__(self) -> str:
        return re.sub(r"\W+", "-", self.name).strip("-")


def status(item: Item, inputs: str) -> str:
    """Return what a row says of a kind of inputs: WORKS, REFUSED, ART_REFUSES, MISREADS, "fails" or "no"."""
    if inputs == "images":
        return "no" if not item.images else "fails" if item.art_fails else WORKS
    return "fails" if item.events == WORKS and item.events_fail else item.events


def _importable(package: str) -> bool:
    if find_spec(package) is None:
        return False
    try:
        __import__(package)
    except (ImportError, RuntimeError):  # a torchvision of another build than torch
        return False
    return True


class Table(list[Item]):
    """Rows, in the order of their definition."""

    def row(self, name: str, family: str, *covers: str, gradient: Sequence[str] = (), **options: Any) -> Callable:
        """Make a row of the function below."""

        def add(run: Callable[[Case], object]) -> Callable[[Case], object]:
            covered = covers or (name,)
            self.append(
                Item(name=name, family=family, run=run, covers=covered, gradient=frozenset(gradient), **options)
            )
            return run

        return add


@dataclass
class Case:
    """A classifier with data for it.

    Attributes:
        classifier: The classifier; a row may do with it what it likes.
        x: A few inputs that it classifies correctly.
        y: Their labels, one-hot.
        x_train: Inputs to train with.
        y_train: Their labels, one-hot.
        x_test: More inputs.
        y_test: Their labels, one-hot.
        events: Whether inputs are event frames.
    """

    classifier: PyTorchClassifier
    x: np.ndarray
    y: np.ndarray
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    events: bool
    scratch: Any = field(default=None)

    @property
    def labels(self) -> np.ndarray:
        return self.y.argmax(1)

    @property
    def targets(self) -> np.ndarray:
        """Another class for each input, one-hot."""
        return np.roll(self.y, 1, axis=1)

    def unsure(self) -> Case:
        """Return the case with the inputs nearest to another class first, for attacks that take many queries."""
        logits = np.sort(self.classifier.predict(self.x), axis=1)
        order = np.argsort(logits[:, -1] - logits[:, -2])
        return replace(self, x=self.x[order], y=self.y[order])

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        return float((self.classifier.predict(x).argmax(1) == y.argmax(1)).mean())

    def margin(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return by how much the right logit exceeds the largest other one, on average."""
        logits = self.classifier.predict(x)
        right = y.argmax(1)[:, None]
        others = logits.copy()
        np.put_along_axis(others, right, -np.inf, axis=1)
        return float((np.take_along_axis(logits, right, axis=1)[:, 0] - others.max(1)).mean())

    def attacked(
        self,
        examples: np.ndarray,
        *,
        eps: float | None = None,
        norm: float = np.inf,
        robust: float | None = None,
        n: int | None = None,
    ) -> None:
        """Assert what holds for adversarial examples of the first ``n`` inputs.

        Args:
            examples: What an attack returned.
            eps: Radius of the ball that they must stay in; None for attacks without one.
            norm: Norm of the ball.
            robust: Largest accuracy that may be left; None to ask for none.
            n: Number of inputs; all by default.
        """
        x, y = self.x[:n], self.y[:n]
        assert isinstance(examples, np.ndarray)
        assert examples.shape == x.shape
        assert np.isfinite(examples).all()
        assert examples.min() >= -1e-6
        assert examples.max() <= 1 + 1e-6
        change = np.linalg.norm((examples - x).reshape(len(x), -1), ord=norm, axis=1)
        if eps is not None:
            assert change.max() <= eps * (1 + 1e-4) + 1e-5
        assert change.max() > 0
        if robust is not None:
            left = self.accuracy(examples, y)
            assert left <= robust, f"{left:.3f} of the answers are left, more than {robust:g}"


def moved(case: Case, work: Any) -> None:
    """Assert that ``work`` changes the weights, and leaves them finite."""
    before = [parameter.detach().clone() for parameter in case.classifier.model.parameters()]
    work()
    after = list(case.classifier.model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in after)
    case.classifier.model.eval()
