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

_ENDS = ("low", "high", "hits", "n")

_Row = TypeVar("_Row", bound="Row")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The shares of one attack through one rule.

    Attributes:
        rule: Name of the rule; "" where the attack needs no gradient.
        rule_title: What tables call the rule.
        rule_repr: The rule with its hyperparameters, such as "HART(gamma=0.7)".
        gamma: The rule's gamma; None for rules without one.
        attack: Name of the attack.
        attack_title: What tables call the attack.
        eps: Largest change of an entry (L-infinity), in units of the input.
        eps_step: Change in a step; None for attacks of one step.
        max_iter: Number of steps; None for attacks of one step.
        clean_accuracy: Accuracy before the attack, with its 95 % confidence interval, as all shares.
        attack_success_rate: Share of the correctly classified samples that the attack flips.
        robust_accuracy: Accuracy after the attack.
        zero_gradients: Share of the clean samples whose gradient is all zero, in [0, 1]; None without a gradient.
        seconds: Time that the attack took.
    """

    rule: str
    rule_title: str
    rule_repr: str
    gamma: float | None
    attack: str
    attack_title: str
    eps: float
    eps_step: float | None
    max_iter: int | None
    clean_accuracy: Proportion
    attack_success_rate: Proportion
    robust_accuracy: Proportion
    zero_gradients: float | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the row as one level of names, numbers and texts, for JSON and CSV.

        The value of a share has its name; ``_low`` and ``_high`` are the ends of its interval, ``_hits`` and ``_n``
        what was counted.
        """
        record: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Proportion):
                record[field.name] = value.value if value.total else None
                record |= {
                    f"{field.name}_{end}": part
                    for end, part in zip(_ENDS, (value.low, value.high, value.hits, value.total), strict=True)
                }
            else:
                record[field.name] = value
        return record

    @classmethod
    def from_json(cls: type[_Row], record: Mapping[str, Any]) -> _Row:
        """Return the row that `to_json` wrote.

        Raises:
            ResultsError: An entry is missing: the record is of another version.
        """
        try:
            return cls(**{field.name: _read(record, field.name, str(field.type)) for field in fields(cls)})
        except KeyError as missing:
            raise ResultsError(f"a row lacks {missing}: it is of another version; run the command again") from None


def _read(record: Mapping[str, Any], name: str, kind: str) -> Any:
    value = record[name]
    if kind != "Proportion":
        return value
    low, high, hits, total = (record[f"{name}_{end}"] for end in _ENDS)
    return Proportion(math.nan if value is None else value, low, high, hits, total)


def measured(rule: GradientRule | None, attack: Attack, outcome: Outcome) -> dict[str, Any]:
    """Return the fields of `Row` for an outcome.

    Args:
        rule: The rule; None for an attack without a gradient.
        attack: The attack.
        outcome: What it did.
    """
    return {
        "rule": "" if rule is None else rule.name,
        "rule_title": "" if rule is None else rule.title,
        "rule_repr": "" if rule is None else repr(rule),
        "gamma": getattr(rule, "gamma", None),
        "attack": attack.name,
        "attack_title": attack.title,
        "eps": attack.eps,
        "eps_step": getattr(attack, "eps_step", None),
        "max_iter": getattr(attack, "steps", None),
        "clean_accuracy": outcome.clean_accuracy,
        "attack_success_rate": outcome.attack_success_rate,
        "robust_accuracy": outcome.robust_accuracy,
        "zero_gradients": outcome.zero_gradients,
        "seconds": outcome.seconds,
    }


@dataclass(frozen=True, kw_only=True)
class Target:
    """What tables and figures say of a trained network.

    Attributes:
        dataset: Name of the data set.
        architecture: Name of the architecture (`art_snn.snn.models.table`).
        architecture_title: What tables call it.
        width: Channels of its first layer; None for its own.
        events: Whether the data are event frames.
        decay: Membrane retention lambda.
        time_steps: T.
        reset: "hard" or "soft".
        defence: What the target was trained with; "none" for nothing.
        seed: Seed of the target's training.
        epochs: Epochs that the target was trained for.
    """

    dataset: str
    architecture: str
    architecture_title: str
    width: int | None
    events: bool
    decay: float
    time_steps: int
    reset: str
    defence: str
    seed: int
    epochs: int


def described(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of `Target` for what a recipe trains."""
    names = [field.name for field in fields(Target) if field.name not in ("dataset", "architecture_title")]
    titles = {"dataset": recipe.title, "architecture_title": recipe.network.title}
    return titles | {name: getattr(recipe, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class GridRow(Target, Row):
    """A row of a grid: which networks, which samples, how the rule was tuned.

    Attributes:
        key: Digest of all that the numbers depend on.
        setting: "white-box" or "black-box".
        parameter: Field of the rule that was tuned, such as "gamma"; "" for none.
        gamma_chosen: How it, or a gamma, was chosen (`art_snn.evaluation.cells.Choice`); "" where nothing was.
        gamma_curve: Value, flipped samples and samples, where it was measured; None where nothing was tuned.
        n_tune: Correctly classified samples that it was tuned on.
        target_sha256: Digest of the target's weights.
        source_sha256: Digest of the weights that gradients come from.
        samples_sha256: Digest of the samples.
        versions: Versions of the packages that the numbers depend on.
    """

    key: str
    setting: str
    parameter: str
    gamma_chosen: str
    gamma_curve: list[list[float]] | None
    n_tune: int
    target_sha256: str
    source_sha256: str
    samples_sha256: str
    versions: dict[str, str]


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that the numbers depend on."""
    return {name: version(name) for name in ("art-snn", "adversarial-robustness-toolbox", "torch", "numpy")}
