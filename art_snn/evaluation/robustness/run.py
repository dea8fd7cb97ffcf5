"""How robust is this network? Stages on survivors, checks, and one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm.auto import tqdm

from art_snn.attacks import ClipOnly
from art_snn.checks import check_choice, check_count
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.classifier.inputs import Array
from art_snn.errors import UnsupportedInputError
from art_snn.evaluation.metrics import Proportion, share
from art_snn.evaluation.outcomes import check_samples
from art_snn.evaluation.robustness import attack_checks, network_checks, strength_checks
from art_snn.evaluation.robustness.budgets import BUDGETS, budget_of
from art_snn.evaluation.robustness.card import model_card
from art_snn.evaluation.robustness.flags import Flag
from art_snn.evaluation.robustness.identity import identity
from art_snn.evaluation.robustness.judging import Judge, seeded
from art_snn.evaluation.robustness.probe import Probe
from art_snn.evaluation.robustness.result import Robustness
from art_snn.evaluation.robustness.stages import Budget
from art_snn.evaluation.robustness.store import PieceStore
from art_snn.evaluation.robustness.survey import begin, check_stages, run_stage
from art_snn.evaluation.robustness.threats import Flips, Linf, Shifts, Threat
from art_snn.labels import Labels
from art_snn.ranges import check_eps
from art_snn.snn.encoders import takes_frames

# Names to checks, in the order of reports. Each is a piece of work that is kept.
CHECKS: dict[str, Callable[[Probe], Flag]] = {
    "clean": network_checks.check_clean,
    "samples": network_checks.check_samples_count,
    "clip-values": network_checks.check_clip_values,
    "unused-range": network_checks.check_unused_range,
    "unit": network_checks.check_unit,
    "repeatable": network_checks.check_repeatable,
    "batch": network_checks.check_batch,
    "replay": network_checks.check_replay,
    "encodings": network_checks.check_encodings,
    "ties": network_checks.check_ties,
    "probabilities": network_checks.check_probabilities,
    "gradients": attack_checks.check_gradients,
    "noise": attack_checks.check_noise,
    "refused": attack_checks.check_refused,
    "unbounded": attack_checks.check_unbounded,
    "monotone": attack_checks.check_monotone,
    "steps": attack_checks.check_steps,
    "rule": strength_checks.check_rule,
    "direction": strength_checks.check_direction,
    "queries": strength_checks.check_queries,
    "longer": strength_checks.check_longer,
}


def robustness(
    classifier: PyTorchSNNClassifier,
    x: Array | Sequence[Any],
    y: Labels,
    *,
    eps: float | None = None,
    flips: int | None = None,
    shift: int | None = None,
    moved: int | None = None,
    budget: str | Budget = "standard",
    batch_size: int = 64,
    draws: int = 20,
    linf_on_counts: bool = False,
    folder: str | Path | None = None,
    card: Mapping[str, Any] | None = None,
    verbose: bool = False,
) -> Robustness:
    """Find out how many samples withstand every change that a threat allows, and how far that may be trusted.

    The threat is one of three: ``eps``, a change of each entry (L-infinity); on event frames ``flips``, a number of
    entries of binary frames (L0), or ``shift``, events that move by some frames, at most ``moved`` of them.

    Stages of attacks run one after the other, each on the samples that are left; then checks look for signs that the
    attacks, and not the network, are what failed. A sample's result does not depend on the other samples, unless the
    encoder is random.

    Args:
        classifier: A trained classifier. Neither it nor its rule is changed.
        x: Inputs (N, *input_shape), N >= 1: an array, a tensor or a list.
        y: Labels, class indices (N,) or rows (N, K), in any form of `art_snn.labels`; the class of a row counts.
        eps: Largest change of an entry, > 0, in units of the input.
        flips: Most entries of binary event frames that may flip, >= 1.
        shift: Most frames that an event may move, >= 1; events are neither lost nor made.
        moved: Most events that may move, >= 1, beside ``shift``; None for any number.
        budget: "quick", "standard", "plus", or a `Budget` with stages of your own.
        batch_size: Samples to attack at the same time, >= 1. With a multiple of 16, a sample's result is the same to
            the last bit in any order of samples; in other batches rounding depends on the row.
        draws: Where the encoder is random, the number of fresh draws, >= 1, by whose majority an input is judged;
            examples by five times as many. Gradients are averaged over the classifier's ``eot_samples``.
        linf_on_counts: Attack event frames with an ``eps`` all the same. Changes of eps in counts are no changes that a
            camera makes.
        folder: Where finished work is kept, so that the same call goes on after it was stopped; None for nowhere.
        card: What to say of the network beside what is read from it, such as its training.
        verbose: Show progress.

    Raises:
        UnsupportedInputError: The network takes event frames, there is an ``eps`` and ``linf_on_counts`` is False; or
            events are to change, and it takes none, or frames of a kind that has no flips or moves. Nothing has run
            then.
        ValueError: There are no samples, a name or number is out of its range, or eps is more than that of the clip
            values, or of inputs without. Nothing has run then.
        TypeError: The classifier, the budget or the card is none. Nothing has run then.
        ResultsError: The folder holds another evaluation. Nothing has run then.
        BusyError: Another process works in the folder.
    """
    threat = _threat(eps, flips, shift, moved)
    chosen = _budget(budget, threat)
    check_count("draws", draws)
    if card is not None and not isinstance(card, Mapping):
        raise TypeError(f'card must map names to texts, such as {{"training": "PGD"}}, got {card!r}')
    inputs, labels = check_samples(classifier, x, y, batch_size)
    frames = takes_frames(classifier.model.network)
    if frames and not (threat.of_events or linf_on_counts):
        raise UnsupportedInputError(
            "the network takes event frames, whose counts no camera changes by eps: give flips=N, for events that are "
            "added or dropped, or shift=D, for events that move in time; or linf_on_counts=True"
        )
    if isinstance(threat, Linf):
        check_eps(threat.eps, inputs, classifier.clip_values)
    judge = Judge(classifier, threat, batch_size, draws)
    check_stages(chosen.stages, judge, inputs)
    known = {} if folder is None else identity(judge, chosen, inputs, labels)
    with PieceStore(None if folder is None else Path(folder), known) as store:
        survey = begin(judge, inputs, labels, store)
        costs = np.full((len(chosen.stages), len(inputs)), np.nan)
        for number, stage in enumerate(chosen.stages):
            before, attacked = survey.forwards.copy(), survey.left
            bar = tqdm(desc=stage.name, total=int(attacked.sum()), unit="sample", disable=not verbose, leave=False)
            with bar:
                run_stage(number, stage, survey, judge, inputs, labels, store, bar.update)
            costs[number, attacked] = (survey.forwards - before)[attacked]
        probe = Probe(judge, chosen, survey, inputs, labels)
        confirmed = store.arrays("confirmed", lambda: {"confirmed": attack_checks.confirm(probe)})["confirmed"]
        flags = [
            *_checked(probe, store, verbose),
            attack_checks.check_confirmed(probe, confirmed),
            strength_checks.check_converged(probe),
        ]
        survey.note_late(confirmed, len(chosen.stages))
        control = _clip_only(judge, inputs, labels) if frames else None
    return Robustness(
        budget=chosen,
        correct=survey.correct,
        broken=confirmed,
        stage=survey.stage,
        step=survey.step,
        margin=survey.margin,
        forwards=survey.forwards,
        stage_forwards=costs,
        x_adv=survey.x_adv,
        flags=tuple(flags),
        draws=judge.draws,
        clip_only=control,
        card=model_card(classifier) | dict(card or {}),
    )


def _threat(eps: float | None, flips: int | None, shift: int | None, moved: int | None) -> Threat:
    given = {name: value for name, value in (("eps", eps), ("flips", flips), ("shift", shift)) if value is not None}
    if len(given) != 1:
        raise ValueError(f"give one of eps, flips and shift, got {', '.join(given) or 'none of them'}")
    if moved is not None and shift is None:
        raise ValueError(f"moved={moved} bounds the events that move; give shift, too")
    if eps is not None:
        return Linf(eps)
    return Flips(flips) if flips is not None else Shifts(cast("int", shift), moved)


def _budget(budget: str | Budget, threat: Threat) -> Budget:
    if isinstance(budget, Budget):
        if budget.allowed != threat:
            raise ValueError(f"{threat} is asked for, but the stages of the budget have {budget.allowed}")
        return budget
    if not isinstance(budget, str):
        raise TypeError(f"budget must be a name or a Budget(...), got {budget!r}")
    check_choice("budget", budget, BUDGETS)
    return budget_of(budget, threat)


def _checked(probe: Probe, store: PieceStore, verbose: bool) -> list[Flag]:
    """Return what the checks find; each is worked out once."""
    flags = []
    with tqdm(desc="Checks", total=len(CHECKS), unit="check", disable=not verbose, leave=False) as bar:
        for name, check in CHECKS.items():

            def work(check: Callable[[Probe], Flag] = check, name: str = name) -> dict[str, Any]:
                with seeded(probe.classifier, "check", name):
                    return check(probe).to_json()

            bar.set_description(f"Check: {name}")
            flags.append(Flag.from_json(store.values(f"check-{name}", work)))
            bar.update()
    return flags


def _clip_only(judge: Judge, x: np.ndarray, y: np.ndarray) -> Proportion:
    clipped = ClipOnly().make(judge.classifier).generate(x)
    with seeded(judge.classifier, "clip only"):
        return share(judge.right(clipped, y))
