"""One attack through one rule: what happened to each sample."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from art_snn.attacks import Attack
from art_snn.attacks.judging import draws_of
from art_snn.checks import check_count
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array, check_input, to_numpy
from art_snn.errors import ExampleWarning
from art_snn.evaluation.metrics import Proportion, share
from art_snn.labels import Labels, class_indices, to_array
from art_snn.ranges import check_eps, rounding_slack
from art_snn.rules import GradientRule
from art_snn.snn.encoders import takes_frames


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What an attack did to each of N samples; outcomes of several attacks on the same samples can be combined."""

    correct: np.ndarray  #: Whether the class was right before the attack, shape (N,).
    robust: np.ndarray  #: Whether it is right after the attack, shape (N,); see `correct_samples`.
    zero_gradient: np.ndarray | None  #: Whether the gradient at the input is all zero, shape (N,), where it is known.
    zero_entry: np.ndarray | None = None  #: Share of the input's entries without a gradient, shape (N,), if known.
    changed: np.ndarray  #: Whether the attack changed the input at all, shape (N,).
    losses: np.ndarray  #: Cross-entropy after the attack of what `predict` returns, taken for logits, shape (N,).
    seconds: float  #: Time that the attack took.
    wrong_share: np.ndarray | None = None  #: Share of a random network's draws that are wrong, shape (N,), if known.
    x_adv: np.ndarray | None = None  #: What the attack made, shape (N, *S), where it was to be kept.

    @property
    def clean_accuracy(self) -> Proportion:
        """Share of the samples that are classified correctly before the attack."""
        return share(self.correct)

    @property
    def robust_accuracy(self) -> Proportion:
        """Share of the samples that are classified correctly after the attack."""
        return share(self.robust)

    @property
    def attack_success_rate(self) -> Proportion:
        """Share of the correctly classified samples that the attack flips."""
        return share(~self.robust[self.correct])

    @property
    def zero_gradients(self) -> float | None:
        """Share of the samples whose gradient is all zero, in [0, 1]."""
        return None if self.zero_gradient is None else float(self.zero_gradient.mean())

    @property
    def zero_entries(self) -> float | None:
        """Share of all input entries whose gradient is zero, in [0, 1]."""
        return None if self.zero_entry is None else float(self.zero_entry.mean())


def attack_through(
    classifier: PyTorchSNNClassifier,
    rule: str | GradientRule | None,
    attack: Attack,
    x: Array | Sequence[Any],
    y: Labels,
    *,
    target: PyTorchSNNClassifier | None = None,
    correct: np.ndarray | None = None,
    zero_gradient: np.ndarray | None = None,
    zero_entry: np.ndarray | None = None,
    batch_size: int = 128,
    on_gradient: Callable[[int], None] | None = None,
) -> Outcome:
    """Attack a classifier through a rule, and say what happened to each sample.

    Args:
        classifier: Where the gradient comes from. Neither it nor its rule is changed.
        rule: Name of a rule, or a rule; None for the classifier's own.
        attack: The attack.
        x: Inputs (N, *input_shape), N >= 1: an array, a tensor or a list.
        y: Labels, class indices (N,) or rows (N, K), in any form of `art_snn.labels`; the class of a row counts.
        target: The classifier that is attacked, where it is another one (black box).
        correct: `Outcome.correct`, if it is known; computed otherwise.
        zero_gradient: `Outcome.zero_gradient`, if it is known; computed otherwise, where there is a rule.
        zero_entry: `Outcome.zero_entry`, if it is known, of which ``zero_gradient`` follows.
        batch_size: Samples to attack at the same time, >= 1.
        on_gradient: Called after each gradient of the loss with its number of samples, to show progress.

    Raises:
        TypeError: The attack is no `Attack`. Nothing has run then.
        ValueError: There are no samples, or a name or number is out of its range. Nothing has run then.
    """
    check_attacks([attack])
    inputs, labels = check_samples(classifier, x, y, batch_size)
    check_eps(attack.eps, inputs, classifier.clip_values)
    correct = _truths("correct", correct, len(inputs))
    zero_gradient = _truths("zero_gradient", zero_gradient, len(inputs))
    zero_entry = _shares("zero_entry", zero_entry, len(inputs))
    if correct is None:
        correct = correct_samples(classifier if target is None else target, inputs, labels, batch_size)
    if zero_gradient is None and zero_entry is None and rule is not None:
        zero_entry = zero_entries(classifier, rule, inputs, labels, batch_size=batch_size)
    if zero_gradient is None and zero_entry is not None:
        zero_gradient = zero_entry == 1
    known: dict[str, Any] = {"target": target, "correct": correct, "batch_size": batch_size, "on_gradient": on_gradient}
    outcome = run_attack(classifier, rule, attack, inputs, labels, **known)
    return replace(outcome, zero_gradient=zero_gradient, zero_entry=zero_entry)


def run_attack(
    classifier: PyTorchSNNClassifier,
    rule: str | GradientRule | None,
    attack: Attack,
    x: np.ndarray,
    y: Labels,
    *,
    target: PyTorchSNNClassifier | None,
    correct: np.ndarray,
    batch_size: int,
    on_gradient: Callable[[int], None] | None = None,
    keep: bool = False,
) -> Outcome:
    """Attack as `attack_through` does, without checks, and without looking for zero gradients.

    With ``keep``, the outcome has the examples.
    """
    # They are counted by zero_gradients, not warned of.
    source = classifier.with_rule(classifier.gradient_rule if rule is None else rule, warn=False)
    source._on_gradient = on_gradient
    victim = classifier if target is None else target
    labels = class_indices(y, len(x), victim.nb_classes)
    start = time.perf_counter()
    made = np.asarray(attack.make(source, batch_size=batch_size).generate(x, labels))
    allowed = allowed_examples(x, made, attack.eps, victim.clip_values)
    if not allowed.all():
        warnings.warn(
            f"{(~allowed).sum()} of {len(x)} examples of {attack!r} are not finite, or go beyond its eps or the clip "
            "values; they count as no success, and the inputs stay in their place",
            ExampleWarning,
            stacklevel=3,
        )
    examples = np.where(allowed.reshape(-1, *[1] * (x.ndim - 1)), made, x)
    wrong_share, losses = _judged(victim, examples, labels, batch_size)
    seconds = time.perf_counter() - start
    return Outcome(
        correct=correct,
        robust=wrong_share <= 1 / 2,
        zero_gradient=None,
        changed=(examples != x.astype(np.float32, copy=False)).reshape(len(x), -1).any(1),
        losses=losses,
        seconds=seconds,
        wrong_share=wrong_share,
        x_adv=examples if keep else None,
    )


def _judged(
    classifier: PyTorchSNNClassifier, x: np.ndarray, labels: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which share of a classifier's draws is wrong (N,), and the mean of their cross-entropies (N,)."""
    wrong, losses = np.zeros(len(x)), np.zeros(len(x))
    draws = draws_of(classifier)
    for _ in range(draws):
        logits = classifier.predict(x, batch_size=batch_size)
        wrong += logits.argmax(1) != labels
        losses += logsumexp(logits, axis=1) - logits[np.arange(len(x)), labels]
    return wrong / draws, losses / draws


def allowed_examples(x: np.ndarray, examples: np.ndarray, eps: float, clip_values: Any) -> np.ndarray:
    """Return whether each example (N,) is finite, within eps of its input, and changed nowhere out of clip_values.

    An eps of 0 allows any change, as the control that only clips makes it.
    """
    change = np.abs(examples - x)
    good = np.isfinite(examples)
    if eps:
        good &= change <= eps * (1 + 1e-4) + 1e-6
    if clip_values is not None:
        low, high = clip_values
        slack = rounding_slack(low, high)
        good &= (change == 0) | ((examples >= low - slack) & (examples <= high + slack))
    return good.all(axis=tuple(range(1, x.ndim)))


def worst_case(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what attacks on the same samples did together: a sample is robust if it withstood all.

    Of a random network that counts the luck of each attack; see `strongest`.
    """
    known = [outcome.zero_gradient for outcome in outcomes if outcome.zero_gradient is not None]
    return Outcome(
        correct=outcomes[0].correct,
        robust=np.logical_and.reduce([outcome.robust for outcome in outcomes]),
        zero_gradient=np.logical_and.reduce(known) if known else None,
        changed=np.logical_or.reduce([outcome.changed for outcome in outcomes]),
        losses=np.maximum.reduce([outcome.losses for outcome in outcomes]),
        seconds=sum(outcome.seconds for outcome in outcomes),
    )


def strongest(outcomes: Sequence[Outcome]) -> np.ndarray:
    """Return of attacks on the same samples, whose examples were kept, each sample's with the most wrong draws."""
    shares = np.stack([outcome.wrong_share for outcome in outcomes])  # type: ignore[misc]
    examples = np.stack([outcome.x_adv for outcome in outcomes])  # type: ignore[misc]
    chosen: np.ndarray = examples[shares.argmax(0), np.arange(shares.shape[1])]
    return chosen


def check_attacks(attacks: Iterable[object]) -> None:
    """Raise TypeError unless all are attacks."""
    for attack in attacks:
        if not isinstance(attack, Attack):
            raise TypeError(f"an attack must be an Attack such as FGSM(eps=0.1), got {attack!r}")


def check_samples(
    classifier: PyTorchSNNClassifier, x: Array | Sequence[Any], y: Labels, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs in float32 and class indices; raise unless there are some, as many, and a batch size >= 1."""
    if not isinstance(classifier, PyTorchSNNClassifier):
        raise TypeError(
            f"classifier must be a PyTorchSNNClassifier around the network, got {type(classifier).__name__}"
        )
    given: Any = to_array("x", x) if isinstance(x, (list, tuple)) else x
    shape = None if classifier.preprocessing_defences else classifier.input_shape
    inputs = to_numpy(check_input(given, shape, frames=takes_frames(classifier.model.network)))
    if len(inputs) == 0:
        raise ValueError("x is empty: there is nothing to attack")
    check_count("batch_size", batch_size)
    return inputs, class_indices(y, len(inputs), classifier.nb_classes)


def _truths(name: str, values: Any, nb_samples: int) -> np.ndarray | None:
    if values is None:
        return None
    truths = to_array(name, values)
    if truths.shape != (nb_samples,) or truths.dtype != bool:
        raise ValueError(
            f"{name} must be {nb_samples} truth values, as `Outcome.{name}` is, got {truths.dtype} {truths.shape}"
        )
    return truths


def _shares(name: str, values: Any, nb_samples: int) -> np.ndarray | None:
    if values is None:
        return None
    shares = to_array(name, values)
    if shares.shape != (nb_samples,) or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"{name} must be {nb_samples} shares in [0, 1], as `Outcome.{name}` is, got {shares!r}")
    return shares


def correct_samples(classifier: PyTorchSNNClassifier, x: np.ndarray, y: Labels, batch_size: int) -> np.ndarray:
    """Return whether a classifier gives each sample its label (N,): a random one in at least half of 20 draws."""
    share: np.ndarray = _judged(classifier, x, class_indices(y, len(x), classifier.nb_classes), batch_size)[0]
    return share <= 1 / 2


def zero_gradients(
    classifier: PyTorchSNNClassifier, rule: str | GradientRule, x: Array, y: Labels, *, batch_size: int = 128
) -> np.ndarray:
    """Return whether the loss gradient under a rule is all zero, for each sample (N,); see `attack_through`."""
    return zero_entries(classifier, rule, x, y, batch_size=batch_size) == 1


def zero_entries(
    classifier: PyTorchSNNClassifier, rule: str | GradientRule, x: Array, y: Labels, *, batch_size: int = 128
) -> np.ndarray:
    """Return the share, in [0, 1], of each sample's entries (N,) at which the loss gradient under a rule is zero.

    No attack along the gradient moves these entries. See `attack_through` for the arguments.
    """
    source = classifier.with_rule(rule, warn=False)
    inputs, labels = check_samples(classifier, x, y, batch_size)
    parts = [slice(start, start + batch_size) for start in range(0, len(inputs), batch_size)]
    grads = [source.loss_gradient(inputs[part], labels[part]) for part in parts]
    return np.concatenate([(grad == 0).reshape(len(grad), -1).mean(1) for grad in grads])
