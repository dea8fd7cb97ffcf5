"""What an evaluation found: one number, how far it may be trusted, and what happened to each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from art_snn.evaluation.metrics import Proportion, share
from art_snn.evaluation.robustness.flags import Flag, Verdict, verdict_of
from art_snn.evaluation.robustness.plain import plain
from art_snn.evaluation.robustness.stages import Budget
from art_snn.evaluation.robustness.threats import Linf, Threat
from art_snn.evaluation.rows import package_versions

FORMAT = 2
LATE = "nearest points judged again"


class StageRow(NamedTuple):
    """What one stage did.

    Attributes:
        name: What the stage is called.
        attack: The attack with its settings.
        rule: The rule with its settings; "" for none.
        attacked: Samples that were left when it began.
        broken: Samples that it broke.
        robust_accuracy: Share of all samples that are left after it.
        forwards: Mean cost of an attacked sample, in forward passes of all time-steps; NaN if there was none.
    """

    name: str
    attack: str
    rule: str
    attacked: int
    broken: int
    robust_accuracy: Proportion
    forwards: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Robustness:
    """The robustness of a classifier against the changes that a threat allows, as `art_snn.robustness` finds it.

    ``robust_accuracy`` is an upper bound of the share of samples that no such change breaks; ``verdict`` says how far
    it may be trusted, ``flags`` why.
    """

    budget: Budget  #: The stages, and what the checks could do.
    correct: np.ndarray  #: Whether a sample is classified correctly as it is, (N,).
    broken: np.ndarray  #: Whether ``x_adv`` is misclassified though the sample was not, (N,).
    #: Number of the stage that broke it, (N,), int64; -1 for none, and the number of stages where no stage was sure,
    #: and most of the draws that judge a random encoder's samples in the end are wrong.
    stage: np.ndarray
    step: np.ndarray  #: First misclassified iterate of that stage, (N,), int64; -1 for none; 0 is the start.
    #: Smallest ``z_y - max_{k != y} z_k`` that a stage saw, (N,); NaN for samples never attacked. At least 0 for
    #: a sample that counts as robust, whatever a stage saw at a point that does not count.
    margin: np.ndarray
    forwards: np.ndarray  #: What the stages cost, (N,), in forward passes of all time-steps.
    stage_forwards: np.ndarray  #: The same by stage, (stages, N); NaN where a stage did not attack the sample.
    x_adv: np.ndarray  #: Adversarial examples; else the point of the smallest margin, or the input (N, *S), float32.
    flags: tuple[Flag, ...]  #: What the checks found.
    draws: int = 1  #: Draws of a random encoder by whose majority inputs were judged; examples by five times as many.
    clip_only: Proportion | None = None  #: Accuracy of event frames that are only clipped to [0, 1]: the control.
    card: Mapping[str, Any] = field(default_factory=dict)  #: What was evaluated, in names and texts.

    def __post_init__(self) -> None:
        object.__setattr__(self, "margin", np.where(self.robust & (self.margin < 0), 0, self.margin))

    @property
    def threat(self) -> Threat:
        """What was allowed."""
        return self.budget.allowed

    @property
    def robust(self) -> np.ndarray:
        """Which samples withstood everything, (N,)."""
        return self.correct & ~self.broken

    @property
    def clean(self) -> Proportion:
        """Share of the samples that are classified correctly as they are."""
        return share(self.correct)

    @property
    def robust_accuracy(self) -> Proportion:
        """Share of the samples that withstood everything."""
        return share(self.robust)

    @property
    def verdict(self) -> Verdict:
        """How far the number may be trusted."""
        return verdict_of(self.flags)

    @property
    def stages(self) -> list[StageRow]:
        """What each stage did: the curve over stages. With a random encoder the last row is of what came after all."""
        rows = []
        for number, stage in enumerate(self.budget.stages):
            attacked = ~np.isnan(self.stage_forwards[number])
            here = self.broken & (self.stage == number)
            left = self.correct & ~(self.broken & (self.stage <= number))
            cost = float(self.stage_forwards[number][attacked].mean()) if attacked.any() else float("nan")
            rule = "" if stage.rule is None else repr(stage.rule)
            counts = int(attacked.sum()), int(here.sum())
            rows.append(StageRow(stage.name, repr(stage.attack), rule, *counts, share(left), cost))
        late = self.broken & ~self._by_stages
        if self.draws > 1 or late.any():
            counts = int((self.robust | late).sum()), int(late.sum())
            rows.append(StageRow(LATE, "", "", *counts, self.robust_accuracy, float("nan")))
        return rows

    @property
    def _by_stages(self) -> np.ndarray:
        return self.broken & (self.stage < len(self.budget.stages))

    def after_steps(self, number: int) -> np.ndarray:
        """Return the robust accuracy after 0, 1, ... steps of a stage, up to the last that broke a sample."""
        here = self.broken & (self.stage == number)
        before = self.correct & ~(self.broken & (self.stage < number))
        counts = np.bincount(self.step[here], minlength=1)
        return (before.sum() - np.cumsum(counts)) / len(self.correct)

    def after_forwards(self) -> tuple[np.ndarray, np.ndarray]:
        """Return costs of a sample, in forward passes, and the robust accuracy where no sample may cost more."""
        costs = np.concatenate([[0.0], np.sort(self.forwards[self.broken])])
        left = self.correct.sum() - np.arange(len(costs))
        full = max(costs[-1], self.full_cost)
        return np.append(costs, full), np.append(left, left[-1]) / len(self.correct)

    @property
    def full_cost(self) -> float:
        """What a sample costs that withstands everything, in forward passes."""
        return float(self.forwards.max())

    @property
    def last_doubling(self) -> float:
        """By how much the robust accuracy fell in the second half of what a sample may cost, in [0, 1]."""
        return last_doubling(self.forwards, self._by_stages)

    def to_json(self) -> dict[str, Any]:
        """Return all but the examples as plain values: those of JSON, which has None for what is not finite."""
        shares = {"clean": self.clean, "robust_accuracy": self.robust_accuracy, "clip_only": self.clip_only}
        by_sample = ("correct", "broken", "stage", "step", "forwards", "margin")
        record: dict[str, Any] = plain(
            {
                "format": FORMAT,
                "verdict": self.verdict,
                **{name: None if value is None else value._asdict() for name, value in shares.items()},
                "eps": self.threat.eps if isinstance(self.threat, Linf) else None,
                "threat": {"name": type(self.threat).__name__, **vars(self.threat)},
                "budget": self.budget.name,
                "draws": self.draws,
                "last_doubling": self.last_doubling,
                "forwards": {"mean": self.forwards.mean(), "most": self.full_cost},
                "stages": [{**row._asdict(), "robust_accuracy": row.robust_accuracy._asdict()} for row in self.stages],
                "flags": [flag.to_json() for flag in self.flags],
                "card": self.card,
                "versions": package_versions(),
                "samples": {name: getattr(self, name) for name in by_sample},
            }
        )
        return record

    def __str__(self) -> str:
        fell = f"the last doubling took {100 * self.last_doubling:.1f} points"
        return f"robust accuracy {self.robust_accuracy} at {self.threat}, {self.verdict}; clean {self.clean}; {fell}"


def last_doubling(forwards: np.ndarray, broken: np.ndarray) -> float:
    """Return the share of samples that broke (N,) only after half of the largest cost (N,) was spent."""
    return float((broken & (forwards > forwards.max() / 2)).mean())
