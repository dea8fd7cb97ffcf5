"""Stages one after the other, each on the samples that are left; every finished portion is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from art_snn.attacks.events import EventAttack
from art_snn.attacks.found import Found
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.errors import ResultsError
from art_snn.evaluation.robustness.judging import Judge, sample_seeds, seeded
from art_snn.evaluation.robustness.stages import Stage
from art_snn.evaluation.robustness.store import Arrays, PieceStore

# Batches of a portion: a kill loses at most one portion's work, and the last batch of a portion is not full.
BATCHES = 4
# Of many draws of a random encoder, as many have to be wrong before a sample is attacked no more: luck rarely has it.
SURELY = 0.6


@dataclass(eq=False)
class Survey:
    """What the stages did so far to each of N samples."""

    correct: np.ndarray  #: Whether a sample is classified correctly as it is, (N,).
    stage: np.ndarray  #: Number of the stage that broke it, (N,), int64; -1 for none.
    step: np.ndarray  #: First misclassified iterate of that stage, (N,), int64; -1 for none.
    margin: np.ndarray  #: Smallest margin that any stage saw, (N,), float32; NaN before the first stage.
    forwards: np.ndarray  #: What the sample cost until then, (N,), in forward passes of all time-steps.
    #: The adversarial example, or the point of the smallest margin (N, *S), float32; of a random encoder, that with the
    #: most wrong draws.
    x_adv: np.ndarray
    refused: np.ndarray  #: Whether a stage made an example that it may not make, (N,).
    share: np.ndarray  #: Share of a random encoder's draws that ``x_adv`` makes wrong, (N,); 0 where there is one draw.

    @property
    def left(self) -> np.ndarray:
        """Which samples withstand, (N,)."""
        return self.correct & (self.stage < 0)

    def note_late(self, broken: np.ndarray, stage: int) -> None:
        """Let samples that are ``broken`` (N,), though no stage broke them, have the number of what came after all."""
        self.stage[broken & (self.stage < 0)] = stage


def check_stages(stages: Sequence[Stage], judge: Judge, x: np.ndarray) -> None:
    """Raise TypeError unless all attacks have a ``search`` that fits, UnsupportedInputError unless inputs fit them."""
    for stage in stages:
        made = _attack(stage, judge)
        if not hasattr(made, "search"):
            raise TypeError(f"{stage.attack!r} has no search, and keeps no iterates; take one that has, as SA-PGD")
        if stage.warm and "start" not in signature(made.search).parameters:
            raise TypeError(f"{stage.attack!r} cannot start at a point; leave warm False in stage {stage.name!r}")
        if isinstance(made, EventAttack):
            made.check_frames(x)


def begin(judge: Judge, x: np.ndarray, y: np.ndarray, store: PieceStore) -> Survey:
    """Return a survey of samples that nothing has attacked yet."""

    def clean() -> Arrays:
        with seeded(judge.classifier, "clean"):
            return {"correct": judge.right(x, y)}

    count, correct = len(x), store.arrays("clean", clean)["correct"]
    nobody, unseen = np.full(count, -1), np.full(count, np.nan, np.float32)
    forwards = np.full(count, float(judge.draws))
    return Survey(correct, nobody, nobody.copy(), unseen, forwards, x.copy(), np.zeros(count, bool), np.zeros(count))


def run_stage(
    number: int,
    stage: Stage,
    survey: Survey,
    judge: Judge,
    x: np.ndarray,
    y: np.ndarray,
    store: PieceStore,
    progress: Callable[[int], Any] | None = None,
) -> None:
    """Attack the samples that are left, and write into the survey what happened."""
    for part, rows in enumerate(portions(np.flatnonzero(survey.left), judge.batch_size * BATCHES)):

        def attack(part: int = part, rows: np.ndarray = rows) -> Arrays:
            start = survey.x_adv[rows] if stage.warm else None
            with seeded(judge.classifier, "stage", number, part):
                found = search(stage, judge, x[rows], y[rows], start=start, progress=progress)
                allowed = judge.allows(x[rows], found.x_adv)
                share = _share(judge, found, allowed, y[rows])
                broken = share >= SURELY if judge.random else share > 1 / 2
            step = np.where(broken & (found.step < 0), stage.steps or 0, found.step)  # what the attack was not sure of
            found = found._replace(broken=broken, step=step)
            return {"rows": rows, "refused": ~allowed, "share": share, **found._asdict()}

        key = f"stage-{number:02d}-{part:04d}"
        piece = store.arrays(key, attack)
        if not np.array_equal(piece["rows"], rows):
            raise ResultsError(f"{key} is of other samples; delete the folder's pieces, and they are made again")
        survey.refused[rows] |= piece["refused"]
        found = Found(*(piece[name] for name in Found._fields))
        _note(survey, rows, number, found, piece["refused"], piece["share"] if judge.random else np.zeros(len(rows)))


def _share(judge: Judge, found: Found, allowed: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which share of the draws of what was found is wrong (N,); 0 where it is not allowed, or no number.

    Where nothing is random, what the attack says was not broken is not looked at.
    """
    rows = np.flatnonzero(allowed & (judge.random | found.broken))
    share = np.zeros(len(y))
    share[rows] = np.nan_to_num(judge.of_many().wrong_share(found.x_adv[rows], y[rows]))
    return share


def search(
    stage: Stage,
    judge: Judge,
    x: np.ndarray,
    y: np.ndarray,
    *,
    start: np.ndarray | None = None,
    progress: Callable[[int], Any] | None = None,
) -> Found:
    """Return what a stage's attack finds; each sample's noise follows from the sample alone."""
    begin_at = {} if start is None else {"start": start}
    found: Found = _attack(stage, judge).search(x, y, **begin_at, seeds=sample_seeds(x, y), progress=progress)
    return found


def _attack(stage: Stage, judge: Judge) -> Any:
    return stage.attack.make(source(stage, judge), batch_size=judge.batch_size)


def source(stage: Stage, judge: Judge) -> PyTorchSNNClassifier:
    """Return what a stage takes its gradients from: a view of the classifier with the stage's rule."""
    if stage.rule is None:
        return judge.averaged()
    return judge.classifier.with_rule(stage.rule, warn=False)


def portions(rows: np.ndarray, size: int) -> Sequence[np.ndarray]:
    """Return rows in parts of ``size``, the last one shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _note(survey: Survey, rows: np.ndarray, number: int, found: Found, refused: np.ndarray, share: np.ndarray) -> None:
    survey.forwards[rows] += found.forwards
    broken = rows[found.broken]
    survey.stage[broken], survey.step[broken] = number, found.step[found.broken]
    nearer = ~(found.margin >= survey.margin[rows])  # NaN: nothing was seen before
    more, same = share > survey.share[rows], share == survey.share[rows]
    nearer = ~refused & (found.broken | more | (same & nearer))
    survey.share[rows] = np.maximum(survey.share[rows], share)
    survey.margin[rows] = np.fmin(survey.margin[rows], np.where(refused, np.nan, found.margin))
    survey.x_adv[rows[nearer]] = found.x_adv[nearer]
