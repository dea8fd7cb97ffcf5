"""Attacks through rules: single evaluations, the search for a rule's hyperparameter, and grids of experiments."""

from art_snn.evaluation.cells import Cell, Choice, run_cell
from art_snn.evaluation.evaluate import evaluate_rules
from art_snn.evaluation.grid import run_grid
from art_snn.evaluation.metrics import Proportion, accuracy, attack_success_rate, wilson_interval
from art_snn.evaluation.outcomes import Outcome, attack_through, zero_entries, zero_gradients
from art_snn.evaluation.plan import GridPlan, GridSettings, make_cells
from art_snn.evaluation.retention import temporal_retention
from art_snn.evaluation.rows import GridRow, Row
from art_snn.evaluation.store import ResultStore, check_results, read_rows
from art_snn.evaluation.tuning import Curve, tune

__all__ = [
    "Cell",
    "Choice",
    "Curve",
    "GridPlan",
    "GridRow",
    "GridSettings",
    "Outcome",
    "Proportion",
    "ResultStore",
    "Row",
    "accuracy",
    "attack_success_rate",
    "attack_through",
    "check_results",
    "evaluate_rules",
    "make_cells",
    "read_rows",
    "run_cell",
    "run_grid",
    "temporal_retention",
    "tune",
    "wilson_interval",
    "zero_entries",
    "zero_gradients",
]
