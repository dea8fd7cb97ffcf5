"""Plans of grids: which networks, rules and attacks, and the cells that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from art_snn.attacks import FGSM, PGD, Attack, ClipOnly
from art_snn.checks import check_count
from art_snn.errors import CheckpointError
from art_snn.evaluation.cells import Cell, Weights
from art_snn.evaluation.evaluate import check_attacks
from art_snn.evaluation.samples import Choice, Samples, write_samples
from art_snn.evaluation.tuning import candidates
from art_snn.rules import GradientRule, get_rule
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import Recipe

# What is tuned where a plan does not say otherwise.
TUNED = {"hart": "gamma"}


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """How many samples a grid attacks, and how it tunes.

    Attributes:
        samples: Test samples to attack, stratified, always the same.
        tuning_samples: Test samples apart from those, to tune on.
        tune_on_test: Tune on the evaluation samples, as the papers do; each row says so.
        sweep: Measure all 48 values instead of searching.
    """

    samples: int = 1000
    tuning_samples: int = 256
    tune_on_test: bool = False
    sweep: bool = False

    def __post_init__(self) -> None:
        check_count("samples", self.samples)
        check_count("tuning_samples", self.tuning_samples)


@dataclass(frozen=True, kw_only=True)
class GridPlan(GridSettings):
    """What a grid is made of, beside its settings.

    Attributes:
        targets: Folders of trained networks (runs of ``art-snn train``).
        sources: For black box: for each target the folder of the network that gradients come from, or None.
        rules: Names of rules, or rules.
        attacks: The attacks; those on event frames also get `ClipOnly`, as a control.
        tune: From the name of a rule to its field that is tuned for each cell. Other rules are taken as they are.
    """

    targets: Sequence[Path]
    sources: Sequence[Path | None] = ()
    rules: Sequence[str | GradientRule]
    attacks: Sequence[Attack] = (FGSM(), PGD())
    tune: Mapping[str, str] = field(default_factory=lambda: dict(TUNED))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            raise ValueError("targets is empty: there is nothing to attack")
        if self.sources and len(self.sources) != len(self.targets):
            raise ValueError(f"sources must be one per target ({len(self.targets)}), got {len(self.sources)}")
        for rule in self.rules:
            get_rule(rule)
        check_attacks(self.attacks)
        for name, parameter in self.tune.items():
            candidates(name, parameter)


class Network(NamedTuple):
    """A target of a plan, ready to be attacked.

    Attributes:
        recipe: How it was trained.
        sources: Where gradients come from: the target itself, and for black box another network.
        samples: What is attacked, and what is tuned on.
        apart: Where the samples to tune on come from.
    """

    recipe: Recipe
    sources: tuple[Weights, ...]
    samples: Samples
    apart: Choice


def make_cells(plan: GridPlan, folder: Path, *, verbose: bool = False) -> list[Cell]:
    """Return a plan's cells; the samples that they need are written to a folder, see `prepare`."""
    return [cell for network in prepare(plan, folder, verbose=verbose) for cell in cells_of(plan, network)]


def prepare(plan: GridPlan, folder: Path, *, verbose: bool = False) -> list[Network]:
    """Read a plan's checkpoints, and write the samples that are not there yet.

    Args:
        plan: The plan.
        folder: Folder for the samples.
        verbose: Show progress.

    Raises:
        CheckpointError: A checkpoint is missing, damaged or of a training that is not over, or a source has other
            inputs or classes than its target.
        DataError: The data are missing or damaged.
    """
    sources = plan.sources or [None] * len(plan.targets)
    paths = dict.fromkeys(path for path in (*plan.targets, *sources) if path is not None)
    checkpoints = {path: read_checkpoint(path) for path in paths}
    for checkpoint in checkpoints.values():
        epochs = checkpoint.recipe.epochs
        if checkpoint.epoch < epochs:
            done = f"trained for {checkpoint.epoch} of {epochs} epochs"
            raise CheckpointError(f"{checkpoint.path} is {done}; resume its training first")
    weights = {path: Weights(str(found.path), found.sha256) for path, found in checkpoints.items()}
    networks = []
    for target, source in zip(plan.targets, sources, strict=True):
        recipe = checkpoints[target].recipe
        for name, text in (("input_shape", "takes inputs {}"), ("nb_classes", "has {} classes")):
            here, there = (getattr(checkpoints[path or target], name) for path in (target, source))
            if here != there:
                raise CheckpointError(f"{source} {text.format(there)}, and {target} {text.format(here)}")
        samples, apart = write_samples(
            recipe, folder, samples=plan.samples, tuning_samples=plan.tuning_samples, verbose=verbose
        )
        origins = tuple(weights[path] for path in (target, source) if path is not None)
        networks.append(Network(recipe, origins, samples, apart))
    return networks


def cells_of(plan: GridPlan, network: Network) -> list[Cell]:
    """Return the cells of one of a plan's networks."""
    target, recipe = network.sources[0], network.recipe
    fixed: dict[str, Any] = {"target": target, "samples": network.samples}
    control = [Cell(**fixed, source=target, attack=ClipOnly(), rule=None)] if recipe.events else []
    return control + [
        Cell(**fixed, source=source, attack=attack, **_tuning(rule, plan, network.apart))
        for source in network.sources
        for attack in plan.attacks
        for rule in plan.rules
    ]


def _tuning(given: str | GradientRule, plan: GridPlan, apart: Choice) -> dict[str, Any]:
    """Return a cell's rule and how its hyperparameter is chosen."""
    rule = get_rule(given)
    if rule.name in plan.tune:
        choice = Choice.TUNED_ON_TEST if plan.tune_on_test else apart
        return {"rule": rule, "parameter": plan.tune[rule.name], "choice": choice, "sweep": plan.sweep}
    is_given = hasattr(rule, "gamma") and (rule is given or rule.name in TUNED)
    return {"rule": rule, "choice": Choice.GIVEN if is_given else Choice.NOTHING}
