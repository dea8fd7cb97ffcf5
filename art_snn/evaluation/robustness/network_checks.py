"""Checks of the network and its inputs: could any attack on it be judged?"""

from __future__ import annotations

import numpy as np
import torch

from art_snn.classifier.output_checks import tied_largest
from art_snn.evaluation.robustness.flags import Flag, Verdict, flag, not_run
from art_snn.evaluation.robustness.judging import seeded
from art_snn.evaluation.robustness.leading import EVENTS
from art_snn.evaluation.robustness.probe import Probe
from art_snn.evaluation.robustness.threats import Linf
from art_snn.ranges import outside, spread

# Relative change of logits that rounding does not make.
DIFFERENT = 1e-4
_FEW = 0.01
# Images fill a range; one of another unit is 255 times as wide, or as narrow.
UNUSED, FINE = 100, 1000


def check_clean(probe: Probe) -> Flag:
    """Is the network better than guessing?"""
    chance = 1 / probe.classifier.nb_classes
    meaning = "the network does not classify these samples better than guessing: are labels and preprocessing its own?"
    error = 1 - float(probe.survey.correct.mean())
    return flag("clean error", error, 1 - chance - 1e-9, Verdict.INVALID, meaning, f"guessing errs in {1 - chance:.1%}")


def check_samples_count(probe: Probe) -> Flag:
    """Are there enough samples for a number?"""
    half = 0.98 / np.sqrt(len(probe.x))
    return flag(
        "half interval", half, 0.05, None, "so few samples leave the number open by more than five points", "at worst"
    )


def check_clip_values(probe: Probe) -> Flag:
    """Are all inputs inside the clip values?"""
    name, verdict = "inputs outside the clip values", Verdict.INVALID
    meaning = "attacks move these entries, whatever their gradient is: bring the data into the range"
    if probe.classifier.clip_values is None:
        return not_run(name, 0, verdict, meaning, "the classifier has no clip values")
    found = outside(probe.x, *probe.classifier.clip_values, rounding=True)
    return flag(name, 0 if found is None else found.share, 0, verdict, meaning, "" if found is None else str(found))


def check_unused_range(probe: Probe) -> Flag:
    """Do inputs fill the clip values?"""
    name, verdict = "clip values' range, in the inputs'", Verdict.INVALID
    meaning = "attacks leave the range that the data have: are the clip values of another unit, as 0 to 255 is?"
    clip_values, own = probe.classifier.clip_values, spread(probe.x, None)
    why = "the classifier has no clip values" if clip_values is None else "all inputs are the same" if not own else ""
    if why or not np.isfinite(probe.range):
        return not_run(name, UNUSED, verdict, meaning, why or "the clip values have no end")
    return flag(name, probe.range / own, UNUSED, verdict, meaning)


def check_unit(probe: Probe) -> Flag:
    """Is eps of the inputs' unit?"""
    name, verdict = "inputs' range, in eps", Verdict.UPPER_BOUND
    meaning = "eps is next to nothing beside the inputs: is it of another unit? 8/255 of values from 0 to 255 is 8"
    if not isinstance(threat := probe.judge.threat, Linf):
        return not_run(name, FINE, verdict, meaning, EVENTS)
    return flag(name, spread(probe.x, None) / threat.eps, FINE, verdict, meaning)


def check_repeatable(probe: Probe) -> Flag:
    """Are the logits of one batch the same in every call?"""
    name, verdict = "logits that change between calls", Verdict.INVALID
    meaning = "a state is kept from call to call, or noise is drawn that nothing says: success is a matter of luck"
    if probe.judge.random:
        why = "the encoder is random; samples are judged by the majority of many draws"
        return not_run(name, _FEW, verdict, meaning, why)
    x, _ = probe.some(np.ones(len(probe.x), bool))
    first, *others = [probe.judge.predict(x) for _ in range(4)]
    value = max(_differing(first, other) for other in others)
    return flag(name, value, _FEW, verdict, meaning)


def check_batch(probe: Probe) -> Flag:
    """Are a sample's logits the same in another batch, and alone?"""
    name, verdict = "logits that depend on the batch", Verdict.INVALID
    meaning = "a sample's class depends on what it is evaluated with, as with batch norm in training mode"
    if probe.judge.random:
        return not_run(name, _FEW, verdict, meaning, "the encoder is random")
    x, _ = probe.some(np.ones(len(probe.x), bool))
    together = probe.judge.predict(x)
    mixed = probe.classifier.predict(x[::-1].copy(), batch_size=probe.judge.batch_size // 2 + 1)[::-1]
    alone = np.concatenate([probe.classifier.predict(sample[None]) for sample in x[:8]])
    value = max(_differing(together, mixed), _differing(together[:8], alone))
    return flag(name, value, _FEW, verdict, meaning)


def check_encodings(probe: Probe) -> Flag:
    """Are gradients of a random encoder averaged over enough draws?"""
    name, meaning = "share of the gradient's noise", "so few draws of a random encoder leave gradients mostly noise"
    if not probe.judge.random:
        return not_run(name, 0.1, Verdict.UPPER_BOUND, meaning, "the encoder is not random")
    count = probe.classifier.eot_samples
    detail = f"eot_samples={count}; the classifier averages a gradient over as many draws"
    return flag(name, 1 / count, 0.1, Verdict.UPPER_BOUND, meaning, detail)


def check_ties(probe: Probe) -> Flag:
    """Do two classes share the largest logit?"""
    logits = probe.judge.predict(np.concatenate([part[0] for part in _inputs(probe)]))
    meaning = "two classes share the largest logit: the smaller index wins, and success depends on the order of classes"
    return flag("tied largest logits", float(tied_largest(logits).mean()), _FEW, Verdict.UPPER_BOUND, meaning)


def check_probabilities(probe: Probe) -> Flag:
    """Are the outputs logits, not probabilities?"""
    outputs = probe.judge.predict(probe.some(np.ones(len(probe.x), bool))[0])
    sums = np.abs(outputs.sum(1) - 1) < 1e-5
    share = float((sums & (outputs >= 0).all(1)).mean())
    meaning = "the outputs are probabilities: the cross-entropy of a softmax on top of them saturates; give logits"
    return flag("outputs that sum to 1", share, 0.5, Verdict.UPPER_BOUND, meaning)


def check_replay(probe: Probe) -> Flag:
    """Has the graph of each rule the logits of the network?"""
    name, verdict, least = "loss of the graph against the network's", Verdict.INVALID, DIFFERENT
    meaning = "a rule differentiates other logits than the network gives: its gradients belong to another function"
    x, y = probe.some(np.ones(len(probe.x), bool))
    x, y = x[: probe.judge.batch_size], y[: probe.judge.batch_size]
    worst, which = 0.0, ""
    for rule in probe.rules or [probe.classifier.gradient_rule]:
        view = probe.classifier.with_rule(rule, warn=False)
        if not hasattr(view._loss, "reduction"):
            return not_run(name, least, verdict, meaning, f"the loss {view._loss!r} has no reduction")
        with seeded(view, "replay"):
            plain = view.compute_loss(x, y)
        with seeded(view, "replay"), torch.enable_grad():
            leaf = torch.tensor(x, device=view.device, requires_grad=True)
            graph = torch.as_tensor(view.compute_loss(leaf, y)).detach().cpu().numpy()
        change = float(np.max(np.abs(graph - plain) / np.maximum(1, np.abs(plain))))
        if not change <= worst:
            worst, which = change, repr(rule)
    return flag(name, worst, least, verdict, meaning, which)


def _inputs(probe: Probe) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return some inputs with their classes, and what was made of others."""
    rows = np.flatnonzero(probe.survey.stage >= 0)[: probe.budget.check_samples]
    return [probe.some(np.ones(len(probe.x), bool)), (probe.survey.x_adv[rows], probe.y[rows])]


def _differing(logits: np.ndarray, others: np.ndarray) -> float:
    """Return the share of samples of which a logit changes by more than rounding."""
    size = np.maximum(1, np.abs(logits).max(1))
    return float((~(np.abs(logits - others).max(1) <= DIFFERENT * size)).mean())
