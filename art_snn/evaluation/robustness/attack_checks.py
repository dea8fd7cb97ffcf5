"""Checks of the attacks: have they failed where they could not fail?"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from torch import nn

from art_snn.attacks import FGSM, PGD, Attack
from art_snn.errors import GradientWarning
from art_snn.evaluation.outcomes import attack_through
from art_snn.evaluation.robustness.flags import Flag, Verdict, flag, not_run
from art_snn.evaluation.robustness.judging import seeded
from art_snn.evaluation.robustness.leading import EVENTS, left_by_leading, why_not
from art_snn.evaluation.robustness.noise import Noise, SignNoise, margins
from art_snn.evaluation.robustness.probe import Probe, at_least
from art_snn.evaluation.robustness.threats import Linf
from art_snn.rules import GradientRule

# By so much the label's logit leads where float32 has no probability of the others; and where it has enough of them.
SATURATED, MODERATE = 87, 10


def check_gradients(probe: Probe) -> Flag:
    """Have inputs a gradient, by rule?"""
    name, least, verdict = "inputs without a gradient", 0.05, Verdict.INVALID
    meaning = "no rule finds a gradient at more inputs than this: attacks stand still, which is no robustness"
    x, y = probe.some(probe.survey.correct)
    if not len(x) or not probe.rules:
        return not_run(name, least, verdict, meaning, why_not(probe))
    points = [x]
    if isinstance(threat := probe.judge.threat, Linf):
        noise = SignNoise(eps=threat.eps / 2, steps=1).make(probe.classifier, batch_size=probe.judge.batch_size)
        points.append(noise.search(x, y).x_adv)
    shares = {rule: max(_without(probe, rule, inputs, y) for inputs in points) for rule in probe.rules}
    detail = ", ".join(f"{rule!r} {share:.1%}" for rule, share in shares.items())
    if min(shares.values()):
        detail += _saturation(probe, x, y)
    return flag(name, min(shares.values()), at_least(least, 1.5, len(x)), verdict, meaning, detail)


def check_unbounded(probe: Probe) -> Flag:
    """Does the attack reach everything, once it may change everything?"""
    name, least, verdict = "robust accuracy at an eps of the whole range", 0.01, Verdict.INVALID
    meaning = "an attack that may make any input of any other fails: it fails for reasons of its own"
    threat = probe.judge.threat
    if not (threat.of_events or 0 < probe.range < np.inf):
        return not_run(name, least, verdict, meaning, "neither the clip values nor the inputs have a range with ends")
    everything = threat.sized(np.inf if threat.of_events else probe.range)
    if everything is None:
        return not_run(name, least, verdict, meaning, "events that only move cannot make every input of every other")
    left = left_by_leading(probe, *probe.some(probe.survey.correct), everything, probe.budget.unbounded_steps)
    if left is None:
        return not_run(name, least, verdict, meaning, why_not(probe))
    said = "any number of flips" if threat.of_events else str(everything)
    return flag(name, float(left.mean()), at_least(least, 1.5, len(left)), verdict, meaning, said)


def check_monotone(probe: Probe) -> Flag:
    """Does a larger eps leave no more samples?"""
    name, least, verdict = "rise of robust accuracy with eps", 0.05, Verdict.INVALID
    meaning = "a larger eps leaves more samples: the attack loses its way"
    threat, steps = probe.judge.threat, probe.budget.check_steps
    most = max(threat.size, probe.most)
    factors = (1 / 4, 1 / 2, 1, 2, 4)
    sizes = [each for factor in factors if (each := threat.sized(factor * threat.size)) and each.size <= most]
    threats = list(dict.fromkeys(sizes))  # rounded ones may be the same
    samples = probe.some(probe.survey.correct)
    found = [left_by_leading(probe, *samples, each, steps) for each in threats]
    shares = [float(left.mean()) for left in found if left is not None]
    if not shares:
        return not_run(name, least, verdict, meaning, why_not(probe))
    rise = max(0.0, *np.diff([1.0, *shares]))
    detail = ", ".join(f"{each.size:.3g}: {share:.1%}" for each, share in zip(threats, shares, strict=True))
    count = min(probe.budget.check_samples, int(probe.survey.correct.sum()))
    return flag(name, rise, at_least(least, 2.5, count), verdict, meaning, detail)


def check_steps(probe: Probe) -> Flag:
    """Do several steps leave no more samples than one, by rule?"""
    name, least, verdict = "one step against several", 0.02, Verdict.UPPER_BOUND
    meaning = "FGSM breaks more than PGD through the same rule: the gradient does not point where the loss rises"
    x, y = probe.some(probe.survey.correct)
    if not len(x) or not probe.rules:
        return not_run(name, least, verdict, meaning, why_not(probe))
    if not isinstance(threat := probe.judge.threat, Linf):
        return not_run(name, least, verdict, meaning, EVENTS)
    attacks = FGSM(eps=threat.eps), PGD(eps=threat.eps, steps=probe.budget.check_steps)
    gains = {}
    for rule in probe.rules:
        one, several = (_robust(probe, rule, attack, x, y) for attack in attacks)
        gains[rule] = float(several.mean() - one.mean())
    worst = max(gains, key=lambda rule: gains[rule])
    return flag(name, gains[worst], at_least(least, 2.5, len(x)), verdict, meaning, repr(worst))


def check_noise(probe: Probe) -> Flag:
    """Does noise alone break samples?"""
    name, least = "samples that noise breaks", 0.05
    meaning = "noise inside the budget breaks samples: the network is unstable, or the budget too large to say more"
    stages = [i for i, stage in enumerate(probe.budget.stages) if isinstance(stage.attack, Noise)]
    if not stages:
        return not_run(name, least, None, meaning, "no stage is noise")
    return flag(name, float(np.isin(probe.survey.stage, stages).mean()), least, None, meaning)


def check_refused(probe: Probe) -> Flag:
    """Did stages make what they may not make?"""
    meaning = "a stage made examples that are not finite, or beyond the budget or the clip values; they do not count"
    share = float(probe.survey.refused.mean())
    return flag("examples that are not allowed", share, 0, Verdict.UPPER_BOUND, meaning)


def check_confirmed(probe: Probe, confirmed: np.ndarray) -> Flag:
    """Are the examples that are returned misclassified in another batch, too?"""
    name, meaning = "examples that do not stand", "examples of the stages are classified correctly when judged again"
    verdict, least = (Verdict.UPPER_BOUND, 0.05) if probe.judge.random else (Verdict.INVALID, 0.01)
    broken = probe.survey.stage >= 0
    if not broken.any():
        return not_run(name, least, verdict, meaning, "no sample is broken")
    share = float((~confirmed[broken]).mean())
    detail = f"{(~confirmed[broken]).sum()} of {broken.sum()}; they count as robust"
    return flag(name, share, at_least(least, 1.5, int(broken.sum())), verdict, meaning, detail)


def confirm(probe: Probe) -> np.ndarray:
    """Judge all examples again, in batches of another size and order; return which samples are broken (N,).

    Where the encoder is random, the nearest points of samples that are left are judged, too: stages ask for more than
    half of the draws, so that luck breaks nobody.
    """
    judge = probe.judge.of_many(probe.judge.batch_size // 2 + 1)
    rows = np.flatnonzero(probe.survey.correct & (judge.random | (probe.survey.stage >= 0)))[::-1]
    found = np.zeros(len(probe.x), bool)
    with seeded(probe.classifier, "confirm"):
        found[rows] = judge.breaks(probe.x[rows], probe.survey.x_adv[rows], probe.y[rows])
    return found


def _saturation(probe: Probe, x: np.ndarray, y: np.ndarray) -> str:
    """Say at how many inputs the cross-entropy has no gradient in float32, and what to do; "" where at none."""
    leads = margins(probe.judge.predict(x), y)
    leads = leads[np.isfinite(leads)]
    if not (leads > SATURATED).any() or not isinstance(probe.classifier._loss, nn.CrossEntropyLoss):
        return ""
    share, most = (leads > SATURATED).mean(), leads.max()
    return (
        f"; the cross-entropy saturates at {share:.1%}, where the label's logit leads by more than {SATURATED}, up to "
        f"{most:.0f}: divide the logits by {np.ceil(most / MODERATE):.0f}"
    )


def _without(probe: Probe, rule: GradientRule, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of inputs whose gradient is all zero or not finite."""
    view, size = probe.classifier.with_rule(rule, warn=False), probe.judge.batch_size
    bad = [_bad(view, x[start : start + size], y[start : start + size]) for start in range(0, len(x), size)]
    return float(np.concatenate(bad).mean())


def _bad(view: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", GradientWarning)
        gradient = view.loss_gradient(x, y)
    if any(issubclass(warning.category, GradientWarning) for warning in said):  # of samples that are not finite
        if len(x) == 1:
            return np.ones(1, bool)
        return np.concatenate([_bad(view, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    return ~gradient.reshape(len(x), -1).any(1)


def _robust(probe: Probe, rule: GradientRule, attack: Attack, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    view = probe.classifier.with_rule(rule, warn=False)
    known: dict[str, Any] = {"correct": np.ones(len(x), bool), "zero_entry": np.zeros(len(x))}
    return attack_through(view, rule, attack, x, y, **known, batch_size=probe.judge.batch_size).robust
