"""How robust is a spiking network? Attacks on survivors, checks, and one number with a verdict."""

from art_snn.evaluation.robustness.budgets import BUDGETS
from art_snn.evaluation.robustness.flags import Flag, Verdict
from art_snn.evaluation.robustness.noise import SignNoise
from art_snn.evaluation.robustness.result import Robustness, StageRow
from art_snn.evaluation.robustness.run import robustness
from art_snn.evaluation.robustness.stages import Budget, Stage
from art_snn.evaluation.robustness.threats import Flips, Linf, Shifts, Threat

__all__ = [
    "BUDGETS",
    "Budget",
    "Flag",
    "Flips",
    "Linf",
    "Robustness",
    "Shifts",
    "SignNoise",
    "Stage",
    "StageRow",
    "Threat",
    "Verdict",
    "robustness",
]
