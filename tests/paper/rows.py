"""Rows of grids, records of temporal retention, and what a picture says."""

from __future__ import annotations

import html
from pathlib import Path

from art_snn.attacks import PAPER_STEP, PAPER_STEPS, PGD
from art_snn.evaluation import GridRow, wilson_interval
from art_snn.paper import RetentionRecord
from art_snn.rules import get_rule, rule_names
from art_snn.snn.models import get_architecture
from tests.evaluation.plans import grid_row


def row(hits: int = 150, **changes) -> GridRow:
    """A row as a grid makes it, of HART tuned; titles and what depends on rule and attack follow from the names."""
    rule, attack = changes.get("rule", "hart"), changes.get("attack", "fgsm")
    architecture = changes.get("architecture", "vgg11")
    gamma = changes.get("gamma", 0.5 if rule == "hart" else None)
    untuned = {"parameter": "", "gamma_chosen": "", "gamma_curve": None, "n_tune": 0}
    steps = {"eps_step": PAPER_STEP, "max_iter": PAPER_STEPS}
    fields = {
        "rule_title": get_rule(rule).title if rule in rule_names() else rule.title(),
        "rule_repr": f"{rule}({gamma})",
        "gamma": gamma,
        "attack_title": attack.upper(),
        "architecture_title": get_architecture(architecture).title,
        "events": architecture == "vgg_dvs",
        "clean_accuracy": wilson_interval(160, 200),
        "attack_success_rate": wilson_interval(hits, 200),
    }
    tuning = {} if rule == "hart" else untuned
    if attack == "pgd":
        sizes = {"eps": changes.get("eps", 8 / 255), "eps_step": changes.get("eps_step", PAPER_STEP)}
        fields["attack_repr"] = repr(PGD(**sizes, steps=changes.get("max_iter", PAPER_STEPS)))
    return grid_row(**{**fields, **tuning, **(steps if attack == "pgd" else {}), **changes})


def record(**changes) -> RetentionRecord:
    """A record of temporal retention."""
    architecture = changes.get("architecture", "vgg11")
    fields = {
        "layer": "body.1",
        "chi": 0.1,
        "share": 0.9,
        "rate": 0.2,
        "identity_error": 0.0,
        "dataset": "CIFAR-10",
        "architecture": architecture,
        "architecture_title": get_architecture(architecture).title,
        "width": None,
        "events": architecture == "vgg_dvs",
        "defence": "none",
        "decay": 0.5,
        "reset": "hard",
        "seed": 0,
        "epochs": 6,
        "time_steps": 4,
        "trained_time_steps": 4,
        "position": 1,
        **changes,
    }
    run = "-".join(f"{fields[name]}" for name in ("architecture", "trained_time_steps", "decay"))
    return RetentionRecord(**{"run": run, **fields})


def drawn(svg: Path) -> list[str]:
    """The texts of a picture, of which matplotlib keeps each as a comment."""
    found = [line.strip() for line in svg.read_text().splitlines()]
    return [html.unescape(line[5:-4]) for line in found if line.startswith("<!-- ") and line.endswith(" -->")]


NETWORKS = [{}, {"architecture": "resnet17"}, {"defence": "fgsm"}, {"time_steps": 16}, {"dataset": "CIFAR-100"}]
