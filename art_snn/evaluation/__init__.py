"""Attacks through rules: single evaluations, the search for gamma, and grids of experiments."""

from art_snn.evaluation.gamma import GammaCurve, tune_gamma
from art_snn.evaluation.legacy import ATTACKS, PGD_STEPS, Row, evaluate_rules, make_fgsm, make_pgd

__all__ = [
    "ATTACKS",
    "PGD_STEPS",
    "GammaCurve",
    "Row",
    "evaluate_rules",
    "make_fgsm",
    "make_pgd",
    "tune_gamma",
]
