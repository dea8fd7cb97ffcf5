"""The three budgets: what each runs, from cheap to expensive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from art_snn.attacks import APGDSpec, SAPGDSpec
from art_snn.evaluation.robustness.event_budgets import event_budget
from art_snn.evaluation.robustness.noise import SignNoise
from art_snn.evaluation.robustness.stages import Budget, Stage, titled
from art_snn.evaluation.robustness.threats import Linf, Threat
from art_snn.rules import ASSG, HARTASSG
from art_snn.rules.base import GradientRule

# Slopes that sharpen in the course of an attack and never are 0 lead it further than those of a fixed width.
PAPER, SHARP, BY_RATE = ASSG(), ASSG(sharpness=6.0), HARTASSG(sharpness=5.0)
FORGETFUL = ASSG(momentum=None)


def quick(eps: float) -> Budget:
    """Return the budget for a first look: one run of 50 steps, and small checks."""
    checks: dict[str, Any] = {"check_samples": 32, "check_steps": 10, "unbounded_steps": 30, "longer_steps": 200}
    return Budget(name="quick", stages=[_noise(eps), _steady(SHARP, eps=eps, steps=50)], queries=100, **checks)


def standard(eps: float) -> Budget:
    """Return the budget to report: two runs of 100 steps, one from their best points, and one of another optimiser."""
    stages = [
        _noise(eps),
        _steady(PAPER, eps=eps, steps=100),
        _steady(SHARP, eps=eps, steps=100, seed=1),
        _warm(SHARP, eps=eps),
        _auto(BY_RATE, eps=eps, steps=50),
    ]
    return Budget(name="standard", stages=stages)


def plus(eps: float) -> Budget:
    """Return the budget for a claim: long runs with both losses, each followed by one from the best points."""
    stages = [_noise(eps), _steady(PAPER, eps=eps, steps=200), _warm(SHARP, eps=eps)]
    runs = [(SHARP, "cross-entropy"), (PAPER, "cross-entropy"), (SHARP, "margin"), (PAPER, "margin")]
    for seed, (rule, loss) in enumerate(runs, start=1):
        stages += [_steady(rule, eps=eps, steps=100, loss=loss, seed=seed), _warm(SHARP, eps=eps)]
    stages += [_auto(BY_RATE, eps=eps, steps=100), _steady(FORGETFUL, eps=eps, steps=100, seed=5)]
    return Budget(name="plus", stages=stages, check_samples=200, longer_steps=500, queries=1000)


BUDGETS: dict[str, Callable[[float], Budget]] = {"quick": quick, "standard": standard, "plus": plus}


def budget_of(name: str, threat: Threat) -> Budget:
    """Return the budget of a name for a threat."""
    return BUDGETS[name](threat.eps) if isinstance(threat, Linf) else event_budget(name, threat)


def _noise(eps: float) -> Stage:
    return Stage(name="sign noise", attack=SignNoise(eps=eps))


def _steady(rule: GradientRule, **settings: Any) -> Stage:
    attack = SAPGDSpec(**settings)
    name = f"SA-PGD {attack.steps}, {titled(rule)}{_beside(attack.loss)}"
    return Stage(name=name, attack=attack, rule=rule)


def _warm(rule: GradientRule, *, eps: float) -> Stage:
    """Return a run from the best points, with half the step and the other loss."""
    attack = SAPGDSpec(eps=eps, steps=50, loss="margin", first_step=eps / 2)
    return Stage(name=f"SA-PGD 50 from the best point, {titled(rule)}, margin", attack=attack, rule=rule, warm=True)


def _auto(rule: GradientRule, **settings: Any) -> Stage:
    attack = APGDSpec(**settings)
    return Stage(name=f"APGD {attack.steps}, {titled(rule)}", attack=attack, rule=rule)


def _beside(loss: str) -> str:
    return "" if loss == "cross-entropy" else f", {loss}"
