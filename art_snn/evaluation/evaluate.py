"""Rules times attacks: how robust does one network look through each gradient?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from art_snn.attacks import Attack
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array
from art_snn.evaluation.outcomes import attack_through, check_attacks, check_samples, correct_samples, zero_gradients
from art_snn.evaluation.rows import Row, measured
from art_snn.labels import Labels
from art_snn.rules import GradientRule, get_rule


def evaluate_rules(
    classifier: PyTorchSNNClassifier,
    x: Array,
    y: Labels,
    *,
    rules: Sequence[str | GradientRule],
    attacks: Sequence[Attack],
    batch_size: int = 128,
) -> Iterator[Row]:
    """Attack a classifier through each rule, as `attack_through` does, and yield a row when each attack is over.

    Args:
        classifier: A trained classifier. Neither it nor its rule is changed.
        x: Inputs (N, *input_shape), N >= 1.
        y: Labels, class indices (N,) or rows (N, K), in any form of `art_snn.labels`; the class of a row counts.
        rules: Names of rules, or rules.
        attacks: The attacks, such as ``[FGSM(eps=0.1), PGD(eps=0.1)]``.
        batch_size: Samples to attack at the same time, >= 1.

    Raises:
        TypeError: A rule is no rule, or an attack no `Attack`. Nothing has run then.
        ValueError: There are no samples, or a name or number is out of its range. Nothing has run then.
    """
    inputs, labels = check_samples(classifier, x, y, batch_size)
    check_attacks(attacks)
    chosen = [get_rule(rule) for rule in rules]

    def attacked() -> Iterator[Row]:
        correct = correct_samples(classifier, inputs, labels, batch_size)
        known: dict[str, Any] = {"batch_size": batch_size, "correct": correct}
        for rule in chosen:
            zeros = zero_gradients(classifier, rule, inputs, labels, batch_size=batch_size)
            for attack in attacks:
                outcome = attack_through(classifier, rule, attack, inputs, labels, **known, zero_gradient=zeros)
                yield Row(**measured(rule, attack, outcome))

    return attacked()
