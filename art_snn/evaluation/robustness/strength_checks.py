"""Checks of what was left: would another attack have broken it?"""

from __future__ import annotations

import warnings

import numpy as np
from art.attacks.evasion import SquareAttack

from art_snn.attacks.walks import ball
from art_snn.errors import GradientWarning
from art_snn.evaluation.robustness.flags import Flag, Verdict, flag, not_run
from art_snn.evaluation.robustness.leading import EVENTS, NOTHING_LEFT, left_by_leading, why_not
from art_snn.evaluation.robustness.noise import margins
from art_snn.evaluation.robustness.probe import Probe, at_least
from art_snn.evaluation.robustness.random_search import RandomSearch, SignSearch
from art_snn.evaluation.robustness.result import last_doubling
from art_snn.evaluation.robustness.threats import Linf
from art_snn.rules import GradientRule

# A second seed of one attack moves the number by as much.
CONVERGED = 0.02
OTHER_SEED = 1000  # far from those of the stages


def check_rule(probe: Probe) -> Flag:
    """Did any attack follow a gradient?"""
    meaning = "no stage has a rule: nothing was done that a stronger attack would not do better"
    return flag("only attacks without gradients", float(not probe.rules), 0, Verdict.UPPER_BOUND, meaning)


def check_direction(probe: Probe) -> Flag:
    """Does a step up the gradient do more harm than one down?"""
    name, least, verdict = "gradients that point nowhere", 0.3, Verdict.UPPER_BOUND
    meaning = (
        "a step of eps / 2 up the gradient does no more harm than one down, through any rule: gradients do not point "
        "where the loss rises, and what they leave says little"
    )
    threat, (x, y) = probe.judge.threat, probe.some(probe.survey.correct)
    if not isinstance(threat, Linf):
        return not_run(name, least, verdict, meaning, EVENTS)
    if not len(x) or not probe.rules:
        return not_run(name, least, verdict, meaning, why_not(probe))
    shares = {}
    for rule in probe.rules:
        signs = np.sign(_gradient(probe, rule, x, y))
        up, down = (_margins_after(probe, x, y, each, threat.eps / 2) for each in (signs, -signs))
        shares[rule] = float((up > down).mean() + (up == down).mean() / 2)
    detail = ", ".join(f"{rule!r} {share:.1%}" for rule, share in shares.items())
    return flag(name, min(shares.values()), at_least(least, 2.5, len(x)), verdict, meaning, detail)


def check_longer(probe: Probe) -> Flag:
    """Does another seed with more steps break more?"""
    name, verdict = "gain of more steps", Verdict.UPPER_BOUND
    meaning = "the leading attack with another seed and more steps breaks samples that all stages left"
    least, steps = at_least(CONVERGED, 1.5, len(probe.x)), probe.budget.longer_steps
    x, y = probe.some(probe.survey.left)
    left = left_by_leading(probe, x, y, probe.judge.threat, steps, later_seed=OTHER_SEED)
    if left is None:
        return not_run(name, least, verdict, meaning, why_not(probe, NOTHING_LEFT))
    gain = float((~left).mean() * probe.survey.left.mean())
    return flag(name, gain, least, verdict, meaning, f"{(~left).sum()} of {len(x)} survivors in {steps} steps")


def check_converged(probe: Probe) -> Flag:
    """Has the number settled?"""
    survey = probe.survey
    value = last_doubling(survey.forwards, survey.stage >= 0)
    meaning = "the second half of the budget still broke more samples than another seed would: more steps break more"
    name, threshold = "fall in the last doubling", at_least(CONVERGED, 1.5, len(probe.x))
    if not survey.left.any():
        return not_run(name, threshold, Verdict.UPPER_BOUND, meaning, f"{NOTHING_LEFT}, and fewer cannot be")
    return flag(name, value, threshold, Verdict.UPPER_BOUND, meaning)


def check_queries(probe: Probe) -> Flag:
    """Does an attack without gradients break what gradients left?"""
    name, least, verdict = "gain without gradients", 0.002, Verdict.UPPER_BOUND
    meaning = "queries without a gradient break samples that no gradient broke: gradients are masked, or lead nowhere"
    if probe.judge.threat.of_events:
        stages = [i for i, stage in enumerate(probe.budget.stages) if isinstance(stage.attack, RandomSearch)]
        if not stages:
            return not_run(name, least, verdict, meaning, "no stage is a random search")
        broken = np.isin(probe.survey.stage, stages)
        said = f"random search broke {broken.sum()}; they count as broken"
        return flag(name, float(broken.mean()), least, verdict, meaning, said)
    x, y = probe.some(probe.survey.left)
    reason = "the budget has no queries" if not probe.budget.queries else NOTHING_LEFT if not len(x) else ""
    if reason:
        return not_run(name, least, verdict, meaning, reason)
    attack, made = _by_queries(probe, x, y)
    broken = probe.judge.breaks(x, made, y)
    gain = float(broken.mean() * probe.survey.left.mean())
    detail = f"{broken.sum()} of {len(x)} survivors in {probe.budget.queries} queries of {attack}"
    return flag(name, gain, least, verdict, meaning, detail)


def _by_queries(probe: Probe, x: np.ndarray, y: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the name of an attack without gradients, and its examples: Square on images, else random search."""
    eps, queries = probe.judge.threat.size, probe.budget.queries
    if x.ndim != 4 or min(x.shape[2:]) < 2 or probe.classifier.clip_values is None:
        search = SignSearch(eps=eps, steps=queries).make(probe.classifier, batch_size=probe.judge.batch_size)
        return "random search", search.generate(x, y)
    height, width = x.shape[2:]
    fits = min(height, width) - 1  # ART's attack fails where a square is as large as the image
    square = SquareAttack(
        probe.judge.averaged(),
        eps=eps,
        max_iter=queries,
        p_init=min(0.8, fits**2 / (height * width)),
        batch_size=len(x),  # ART predicts three times a query
        verbose=False,
    )
    return "Square", square.generate(x, y)


def _margins_after(probe: Probe, x: np.ndarray, y: np.ndarray, direction: np.ndarray, size: float) -> np.ndarray:
    """Return the margins (N,) after a step (N, *S) of a size."""
    low, high = ball(x, size, probe.classifier.clip_values)
    moved = np.clip((x + size * direction).astype(np.float32), low, high)
    logits = np.mean([probe.judge.predict(moved) for _ in range(probe.judge.draws)], axis=0)
    return margins(logits, y)


def _gradient(probe: Probe, rule: GradientRule, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    view, size = probe.classifier.with_rule(rule, warn=False), probe.judge.batch_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GradientWarning)
        parts = [view.loss_gradient(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    return np.concatenate(parts)
