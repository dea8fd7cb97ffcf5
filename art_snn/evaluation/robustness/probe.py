"""What the checks of an evaluation look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from art_snn.classifier import PyTorchSNNClassifier
from art_snn.evaluation.robustness.judging import Judge
from art_snn.evaluation.robustness.stages import Budget
from art_snn.evaluation.robustness.survey import Survey
from art_snn.evaluation.robustness.threats import Flips
from art_snn.ranges import spread
from art_snn.rules import GradientRule, get_rule

ALL = 0.99  # below the share of all samples, of any number that checks look at


@dataclass(frozen=True, eq=False)
class Probe:
    """An evaluation whose stages are over."""

    judge: Judge
    budget: Budget
    survey: Survey
    x: np.ndarray  #: All inputs (N, *S).
    y: np.ndarray  #: Their classes (N,).

    @property
    def classifier(self) -> PyTorchSNNClassifier:
        """The classifier."""
        return self.judge.classifier

    @property
    def range(self) -> float:
        """Distance from the smallest to the largest value that an input may have, or has where nothing says so."""
        return spread(self.x, self.classifier.clip_values)

    @property
    def most(self) -> float:
        """The largest size that the threat may have."""
        threat = self.judge.threat
        if not threat.of_events:
            return self.range
        return float(self.x[0].size if isinstance(threat, Flips) else self.x.shape[1] - 1)

    @property
    def rules(self) -> list[GradientRule]:
        """The rules of the stages, each once."""
        return list(dict.fromkeys(get_rule(stage.rule) for stage in self.budget.stages if stage.rule is not None))

    def some(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and classes of at most ``check_samples`` of those that ``which`` (N,) names, evenly spread."""
        rows = np.flatnonzero(which)
        if len(rows) > self.budget.check_samples:
            rows = rows[np.linspace(0, len(rows) - 1, self.budget.check_samples).astype(int)]
        return self.x[rows], self.y[rows]


def at_least(share: float, samples: float, count: int) -> float:
    """Return a share as a threshold, or that of a few samples, where those are more of all; but not that of all."""
    return min(max(share, samples / max(1, count)), ALL)
