"""Stages of an evaluation, and the budgets that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from art_snn.attacks import Attack
from art_snn.attacks.search import SearchSpec
from art_snn.checks import check_count
from art_snn.evaluation.robustness.threats import Linf, Threat
from art_snn.rules import GradientRule, get_rule
from art_snn.rules.assg import Adaptive


@dataclass(frozen=True, kw_only=True)
class Stage:
    """An attack through a rule, on the samples that all stages before it left.

    The attack says its loss, steps and seed. What it makes of a classifier has a method ``search``, as `SAPGD` and
    `APGD` have it.
    """

    name: str  #: What tables call the stage.
    attack: Attack
    rule: GradientRule | str | None = None  #: A rule or its name; None for an attack without gradients.
    warm: bool = False  #: Start at the best point that the stages before found, not at the input.

    def __post_init__(self) -> None:
        if not isinstance(self.attack, Attack):
            raise TypeError(f"attack must be an Attack such as SAPGD's, got {self.attack!r}")
        if self.rule is not None:
            object.__setattr__(self, "rule", get_rule(self.rule))
        elif isinstance(self.attack, SearchSpec):
            raise ValueError(f"{self.attack!r} follows a gradient; give the stage a rule, such as rule=ASSG()")

    @property
    def steps(self) -> int | None:
        """Steps of the attack, where it has some."""
        return getattr(self.attack, "steps", None)

    @property
    def rule_title(self) -> str:
        """What tables call the rule; "" where there is none."""
        return "" if self.rule is None else get_rule(self.rule).title


def titled(rule: GradientRule) -> str:
    """Return what the names of stages call a rule: ``ASSG a=3.07``, ``STBP``, ``PDSG``."""
    if not isinstance(rule, Adaptive):
        return rule.title
    return f"{rule.title} a={rule.sharpness:g}" + ("" if rule.remembers else " without memory")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Stages from cheap to expensive, and how much the checks may do."""

    name: str  #: What results call the budget.
    stages: Sequence[Stage]  #: At least one.
    check_samples: int = 100  #: Samples that the checks look at, >= 1.
    check_steps: int = 20  #: Steps of the attacks that checks run, >= 1.
    unbounded_steps: int = 50  #: Steps of the attack that may change everything, >= 1.
    longer_steps: int = 300  #: Steps of the attack that looks whether more steps break more, >= 1.
    queries: int = 300  #: Queries of the attack without gradients, >= 0; 0 leaves it out.
    threat: Threat | None = None  #: What may be changed; None for entries, by the eps of the stages.

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("stages is empty: there is nothing to run")
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise TypeError(f"stages must hold Stage(...), got {stage!r}")
        for name in ("check_samples", "check_steps", "unbounded_steps", "longer_steps"):
            check_count(name, getattr(self, name))
        check_count("queries", self.queries, least=0)
        object.__setattr__(self, "stages", tuple(self.stages))
        if self.threat is None:
            eps = self.stages[0].attack.eps
            if eps == 0:
                raise ValueError(f"{self.stages[0].attack!r} changes events; give threat=Flips(...) or Shifts(...)")
            object.__setattr__(self, "threat", Linf(eps))
        for stage in self.stages:
            for name, allowed in self.allowed.settings.items():
                has = getattr(stage.attack, name, None)
                if has != allowed:
                    raise ValueError(f"all stages must have one {name}, got {allowed} and {has} of {stage.attack!r}")

    @property
    def allowed(self) -> Threat:
        """What may be changed."""
        assert self.threat is not None  # noqa: S101  (set above)
        return self.threat

    @property
    def leading(self) -> Stage | None:
        """The first stage with a rule, whose attack the checks take."""
        return next((stage for stage in self.stages if stage.rule is not None), None)
