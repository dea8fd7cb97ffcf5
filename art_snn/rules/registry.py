"""Gradient rules by name, and the place to register another.

A rule registers itself, where it is defined. A new one is one file, and one line in `art_snn.rules` that imports it.
"""

from __future__ import annotations

import difflib
from typing import TypeVar

from art_snn.checks import check_entry
from art_snn.rules.base import ConversionRule, GradientRule, RateRule, TemporalRule

_RULES: dict[str, type[GradientRule]] = {}
_FAMILIES = (RateRule, TemporalRule, ConversionRule)
_Rule = TypeVar("_Rule", bound=type[GradientRule])


def register_rule(rule: _Rule) -> _Rule:
    """Make a class of rules available by its ``name``; usable as a decorator.

    Raises:
        TypeError: The class is no frozen dataclass derived from `RateRule`, `TemporalRule` or `ConversionRule`.
        ValueError: The name is missing, not in lower case, or another rule's.
    """
    check_entry("a rule", rule, _FAMILIES, _RULES)
    _RULES[rule.name] = rule
    return rule


def rule_names() -> tuple[str, ...]:
    """Return the names of all registered rules, in the order of registration."""
    return tuple(_RULES)


def get_rule(rule: str | GradientRule) -> GradientRule:
    """Return a rule by its name, in upper or lower case, with default hyperparameters, or the rule itself.

    Raises:
        TypeError: ``rule`` is neither a name nor a rule (a rule's class, say).
        ValueError: No rule has this name.

    Example:
        >>> from art_snn.rules import HART
        >>> get_rule("hart"), get_rule(HART(gamma=0.7))
        (HART(gamma=1.0), HART(gamma=0.7))
    """
    if isinstance(rule, _FAMILIES):
        return rule
    if not isinstance(rule, str):
        raise TypeError(f"gradient_rule must be a name or a rule such as HART(gamma=0.7), got {rule!r}")
    known = _RULES.get(rule.lower())
    if known is None:
        near = difflib.get_close_matches(rule.lower(), _RULES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"unknown gradient rule {rule!r}{hint} Known rules: {', '.join(_RULES)}")
    return known()
