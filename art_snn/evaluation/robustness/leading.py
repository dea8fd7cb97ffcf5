"""The leading attack of an evaluation, of another size or length."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from art_snn.evaluation.robustness.judging import Judge
from art_snn.evaluation.robustness.probe import Probe
from art_snn.evaluation.robustness.survey import search
from art_snn.evaluation.robustness.threats import Threat

# Why a check has not run.
NOBODY, NOTHING_LEFT = "no sample is classified correctly", "no sample is left"
NO_RULE, EVENTS = "no stage has a rule", "events change, not entries by eps"


def left_by_leading(
    probe: Probe, x: np.ndarray, y: np.ndarray, threat: Threat, steps: int, *, later_seed: int = 0
) -> np.ndarray | None:
    """Return which samples (N,) withstand the leading attack of another size; None where there is nothing to do.

    ``later_seed`` is added to the attack's seed, if it has one.
    """
    stage = probe.budget.leading
    if stage is None or not len(x):
        return None
    known = {field.name for field in fields(stage.attack)}  # type: ignore[arg-type]
    seed = getattr(stage.attack, "seed", 0) + later_seed
    wanted = {**threat.settings, "steps": steps, "max_iter": steps, "seed": seed}
    settings = {name: value for name, value in wanted.items() if name in known}
    judge = Judge(probe.classifier, threat, probe.judge.batch_size, probe.judge.draws)
    found = search(replace(stage, attack=replace(stage.attack, **settings)), judge, x, y)  # type: ignore[type-var]
    broken = found.broken.copy()
    broken[broken] = judge.breaks(x[broken], found.x_adv[broken], y[broken])
    return ~broken


def why_not(probe: Probe, nobody: str = NOBODY) -> str:
    """Return why no attack through a rule ran: there is no rule, or ``nobody`` to attack."""
    return nobody if probe.rules else NO_RULE
