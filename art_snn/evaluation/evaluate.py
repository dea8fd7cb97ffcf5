"""Rules times attacks: how robust does one network look through each gradient?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from art_snn.attacks import Attack
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array
from art_snn.evaluation.outcomes import (
    Outcome,
    check_attacks,
    check_samples,
    correct_samples,
    run_attack,
    strongest,
    worst_case,
    zero_entries,
)
from art_snn.evaluation.rows import Row, measured
from art_snn.labels import Labels
from art_snn.ranges import check_eps
from art_snn.rules import GradientRule, get_rule
from art_snn.snn.encoders import is_random

WORST = "worst case"


def evaluate_rules(
    classifier: PyTorchSNNClassifier,
    x: Array | Sequence[Any],
    y: Labels,
    *,
    rules: Sequence[str | GradientRule],
    attacks: Sequence[Attack],
    worst: bool = False,
    batch_size: int = 128,
    on_gradient: Callable[[int], None] | None = None,
) -> Iterator[Row]:
    """Attack a classifier through each rule, as `attack_through` does, and yield a row when each attack is over.

    A network with a random encoder is judged by 20 draws, of which most have to be wrong.

    Args:
        classifier: A trained classifier. Neither it nor its rule is changed.
        x: Inputs (N, *input_shape), N >= 1.
        y: Labels, class indices (N,) or rows (N, K), in any form of `art_snn.labels`; the class of a row counts.
        rules: Names of rules, or rules.
        attacks: The attacks, such as ``[FGSM(eps=0.1), PGD(eps=0.1)]``.
        worst: Yield, in the end, a row more for each attack: the worst case over the rules, where a sample counts as
            robust if it withstands the attack through every rule. Of a random network, the example with the most wrong
            draws over the rules is judged again by fresh ones: with several rules, luck would break it sooner or later.
            The row may then be a few samples above another one, which has the luck of its own draws.
        batch_size: Samples to attack at the same time, >= 1.
        on_gradient: Called after each gradient of the loss with its number of samples, to show progress.

    Raises:
        TypeError: A rule is no rule, or an attack no `Attack`. Nothing has run then.
        ValueError: There are no samples, a name or number is out of its range, or an attack takes no such rule
            (`UnsupportedRuleError`) or network. Nothing has run then.
    """
    inputs, labels = check_samples(classifier, x, y, batch_size)
    check_attacks(attacks)
    chosen = [get_rule(rule) for rule in rules]
    for attack in attacks:
        check_eps(attack.eps, inputs, classifier.clip_values)
        for rule in chosen:
            attack.make(classifier.with_rule(rule, warn=False), batch_size=batch_size)  # which may refuse it

    def attacked() -> Iterator[Row]:
        correct = correct_samples(classifier, inputs, labels, batch_size)
        again = worst and is_random(classifier.model.network)
        known: dict[str, Any] = {"batch_size": batch_size, "correct": correct, "on_gradient": on_gradient}
        known |= {"target": None, "keep": again}
        outcomes: list[list[Outcome]] = [[] for _ in attacks]
        for rule in chosen:
            zeros = zero_entries(classifier, rule, inputs, labels, batch_size=batch_size)
            for attack, done in zip(attacks, outcomes, strict=True):
                outcome = run_attack(classifier, rule, attack, inputs, labels, **known)
                done.append(replace(outcome, zero_gradient=zeros == 1, zero_entry=zeros))
                yield Row(**measured(rule, attack, done[-1]))
        if worst and chosen:
            name = {"rule": WORST, "rule_title": WORST, "rule_repr": f"{WORST} of {', '.join(map(repr, chosen))}"}
            for attack, done in zip(attacks, outcomes, strict=True):
                together = worst_case(done)
                if again:
                    robust = correct_samples(classifier, strongest(done), labels, batch_size)
                    together = replace(together, robust=robust)
                yield Row(**{**measured(None, attack, together), **name})

    return attacked()
