"""Budgets for event frames: attacks that flip or move events, through several rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from art_snn.attacks import Attack, RetimingSpec, SDASpec
from art_snn.evaluation.robustness.noise import RandomFlips, RandomShifts
from art_snn.evaluation.robustness.random_search import FlipSearch, RandomSearch, ShiftSearch
from art_snn.evaluation.robustness.stages import Budget, Stage, titled
from art_snn.evaluation.robustness.threats import Flips, Shifts, Threat
from art_snn.rules import ASSG, PDSG, STBP
from art_snn.rules.base import TemporalRule

# All tell frames apart. The events that a gradient finds differ from rule to rule.
RULES: list[TemporalRule] = [ASSG(), STBP(gamma=0.5, detach_reset=True), PDSG(), ASSG(momentum=None)]
CHECKS: dict[str, dict[str, Any]] = {
    "quick": {"check_samples": 16, "check_steps": 10, "unbounded_steps": 100},
    "standard": {"check_samples": 50, "check_steps": 20, "unbounded_steps": 200},
    "plus": {"check_samples": 100, "check_steps": 40, "unbounded_steps": 500},
}
QUERIES = {"quick": 100, "standard": 300, "plus": 1000}  # of random search
ITERATIONS = {"quick": 60, "standard": 200, "plus": 500}  # of SDA
STEPS = {"quick": 20, "standard": 50, "plus": 100}  # of spike retiming


def event_budget(name: str, threat: Threat) -> Budget:
    """Return the budget "quick", "standard" or "plus" for flips or moves of events."""
    if isinstance(threat, Flips):
        stages, longer = _flipping(name, threat), 2 * ITERATIONS[name]
    elif isinstance(threat, Shifts):
        stages, longer = _moving(name, threat), 4 * STEPS[name]
    else:
        raise TypeError(f"threat must be Flips(...) or Shifts(...), got {threat!r}")
    return Budget(name=name, stages=stages, threat=threat, longer_steps=longer, queries=0, **CHECKS[name])


def _flipping(name: str, threat: Flips) -> list[Stage]:
    noise = RandomFlips(max_flips=threat.count)
    attack = SDASpec(max_iter=ITERATIONS[name], max_flips=threat.count)
    queries = FlipSearch(steps=QUERIES[name], max_flips=threat.count)
    return [Stage(name=noise.title, attack=noise), *_through("SDA", attack, name), _without_gradients(queries)]


def _moving(name: str, threat: Shifts) -> list[Stage]:
    noise = RandomShifts(max_shift=threat.frames, max_moved=threat.moved)
    attack = RetimingSpec(max_shift=threat.frames, max_moved=threat.moved, steps=STEPS[name])
    stages = [Stage(name=noise.title, attack=noise), *_through("retiming", attack, name)]
    if name == "plus":
        stages += _through("retiming", replace(attack, loss="margin"), name, ", margin")
    queries = ShiftSearch(steps=QUERIES[name], max_shift=threat.frames, max_moved=threat.moved)
    return [*stages, _without_gradients(queries)]


def _through(title: str, attack: Attack, name: str, more: str = "") -> list[Stage]:
    rules = RULES[:1] if name == "quick" else RULES[:3] if name == "standard" else RULES
    return [Stage(name=f"{title}, {titled(rule)}{more}", attack=attack, rule=rule) for rule in rules]


def _without_gradients(attack: RandomSearch) -> Stage:
    return Stage(name=f"{attack.title} {attack.steps}", attack=attack)
