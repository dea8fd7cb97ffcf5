"""Rows: one attack through one rule on one network, as tables, files and figures have it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any, TypeVar

from art_snn.attacks import Attack
from art_snn.errors import ResultsError
from art_snn.evaluation.metrics import Proportion
from art_snn.evaluation.outcomes import Outcome
from art_snn.rules import GradientRule
from art_snn.training.recipe import Recipe

_SHARES = ("clean_accuracy", "attack_success_rate", "robust_accuracy")
_ENDS = ("low", "high", "hits", "n")

_Row = TypeVar("_Row", bound="Row")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one attack through one rule did; shares have 95 % confidence intervals."""

    rule: str  #: Name of the rule; "" where the attack needs no gradient; "worst case" over several.
    rule_title: str  #: What tables call the rule.
    rule_repr: str  #: The rule with its hyperparameters, such as "HART(gamma=0.7)".
    gamma: float | None  #: The rule's gamma; None for rules without one.
    attack: str  #: Name of the attack.
    attack_title: str  #: What tables call the attack.
    attack_repr: str  #: The attack with its settings, such as "FGSM(eps=0.1)".
    eps: float  #: Largest change of an entry (L-infinity), in units of the input.
    eps_step: float | None  #: Change in a step; None for attacks of one step.
    max_iter: int | None  #: Number of steps; None for attacks of one step.
    clean_accuracy: Proportion  #: Accuracy before the attack.
    attack_success_rate: Proportion  #: Share of the correctly classified samples that the attack flips.
    robust_accuracy: Proportion  #: Accuracy after the attack.
    zero_gradients: float | None  #: Share of the clean samples whose gradient is all zero; None without a gradient.
    zero_entries: float | None = None  #: Share of their entries whose gradient is zero; None where unknown.
    seconds: float  #: Time that the attack took.

    def to_json(self) -> dict[str, Any]:
        """Return the row as one level of names, numbers and texts, for JSON and CSV.

        A share has its field's name; with ``_low``, ``_high`` follow its interval, with ``_hits``, ``_n`` its counts.
        """
        record: dict[str, Any] = {}
        for name, value in vars(self).items():
            record[name] = value
            if isinstance(value, Proportion):
                record[name] = value.value if value.total else None
                record |= {f"{name}_{end}": part for end, part in zip(_ENDS, value[1:], strict=True)}
        return record

    @classmethod
    def from_json(cls: type[_Row], record: Mapping[str, Any]) -> _Row:
        """Return the row that `to_json` wrote; raise ResultsError where an entry is missing."""
        try:
            record = {"zero_entries": None, **record}  # which older rows lack
            values = {field.name: record[field.name] for field in fields(cls)}
            for name in _SHARES:
                value = math.nan if values[name] is None else values[name]
                values[name] = Proportion(value, *(record[f"{name}_{end}"] for end in _ENDS))
        except KeyError as missing:
            raise ResultsError(f"a row lacks {missing}: it is of another version; run the command again") from None
        return cls(**values)


def measured(rule: GradientRule | None, attack: Attack, outcome: Outcome) -> dict[str, Any]:
    """Return the fields of `Row` for an outcome; the rule is None for an attack without a gradient."""
    return {
        "rule": "" if rule is None else rule.name,
        "rule_title": "" if rule is None else rule.title,
        "rule_repr": "" if rule is None else repr(rule),
        "gamma": getattr(rule, "gamma", None),
        "attack": attack.name,
        "attack_title": attack.title,
        "attack_repr": repr(attack),
        "eps": attack.eps,
        "eps_step": getattr(attack, "eps_step", None),
        "max_iter": getattr(attack, "steps", None),
        **{name: getattr(outcome, name) for name in (*_SHARES, "zero_gradients", "zero_entries", "seconds")},
    }


@dataclass(frozen=True, kw_only=True)
class Target:
    """What tables and figures say of a trained network; the names are those of `art_snn.training.Recipe`."""

    dataset: str  #: What tables call the data set.
    architecture: str
    architecture_title: str  #: What tables call the architecture.
    width: int | None
    events: bool
    decay: float
    time_steps: int
    reset: str
    defence: str
    seed: int
    epochs: int  #: Epochs that it was trained for.


def described(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of `Target` for what a recipe trains."""
    titles = {"dataset": recipe.title, "architecture_title": recipe.network.title}
    return titles | {field.name: getattr(recipe, field.name) for field in fields(Target) if field.name not in titles}


@dataclass(frozen=True, kw_only=True)
class GridRow(Target, Row):
    """A row of a grid: which networks, which samples, how the rule was tuned."""

    key: str  #: Digest of all that the numbers depend on.
    setting: str  #: "white-box" or "black-box".
    parameter: str  #: Field of the rule that was tuned, such as "gamma"; "" for none.
    gamma_chosen: str  #: How it, or a gamma, was chosen (a value of `Choice`); "" where nothing was.
    gamma_curve: list[list[float]] | None  #: Value, flipped samples and samples, where it was tuned.
    n_tune: int  #: Correctly classified samples that it was tuned on.
    target_sha256: str  #: Digest of the target's weights.
    source_sha256: str  #: Digest of the weights that gradients come from.
    samples_sha256: str  #: Digest of the samples.
    versions: dict[str, str]  #: Versions of the packages that the numbers depend on.


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that the numbers depend on."""
    return {name: version(name) for name in ("art-snn", "adversarial-robustness-toolbox", "torch", "numpy")}
