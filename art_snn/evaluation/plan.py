"""Plans of grids: which networks, rules and attacks; and the samples and cells that they make."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from art_snn.attacks import FGSM, PGD, Attack, ClipOnly
from art_snn.checks import check_count
from art_snn.data import Split, stratified_part
from art_snn.errors import CheckpointError, DataError
from art_snn.evaluation.cells import Cell, Choice, PinnedFile, read_samples
from art_snn.evaluation.outcomes import check_attacks
from art_snn.evaluation.tuning import candidates
from art_snn.files import write_atomic
from art_snn.ranges import check_range
from art_snn.rules import GradientRule, get_rule
from art_snn.training.checkpoints import Checkpoint, read_checkpoint
from art_snn.training.run import load_data, with_class_indices

# What is tuned where a plan does not say otherwise.
TUNED = {"hart": "gamma"}


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """How many samples a grid attacks, and how it tunes."""

    samples: int = 1000  #: Test samples to attack, >= 1; stratified, always the same.
    tuning_samples: int = 256  #: Samples apart from those, to tune on, >= 1.
    tune_on_test: bool = False  #: Tune on the evaluation samples, as the papers do; each row says so.
    sweep: bool = False  #: Measure all 48 values instead of searching.

    def __post_init__(self) -> None:
        check_count("samples", self.samples)
        check_count("tuning_samples", self.tuning_samples)


@dataclass(frozen=True, kw_only=True)
class GridPlan(GridSettings):
    """What a grid is made of, beside its settings. Event frames also get the attack `ClipOnly`, as a control."""

    targets: Sequence[Path]  #: Folders of trained networks (runs of ``art-snn train``).
    sources: Sequence[Path | None] = ()  #: For each target a run for black-box gradients, or None.
    rules: Sequence[str | GradientRule]  #: Names of rules, or rules.
    attacks: Sequence[Attack] = (FGSM(), PGD())  #: The attacks.
    #: From the name of a rule to its field that is tuned for each cell; other rules are taken as they are. None tunes
    #: the gamma of HART where ``rules`` has its name, and leaves rules that are given as values.
    tune: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            raise ValueError("targets is empty: there is nothing to attack")
        if self.sources and len(self.sources) != len(self.targets):
            raise ValueError(f"sources must be one per target ({len(self.targets)}), got {len(self.sources)}")
        for rule in self.rules:
            get_rule(rule)
        check_attacks(self.attacks)
        if self.tune is not None:
            for name, parameter in self.tune.items():
                candidates(name, parameter)
            object.__setattr__(self, "tune", {get_rule(name).name: field for name, field in self.tune.items()})


def make_cells(plan: GridPlan, folder: Path, *, verbose: bool = False) -> list[Cell]:
    """Return a plan's cells; the samples that they need are written to a folder, unless they are there.

    Raises:
        CheckpointError: A checkpoint is missing, damaged, not trained to its end, or does not fit its target.
        DataError: The data, or the samples, are missing, damaged or outside the clip values of a target.
    """
    sources = plan.sources or [None] * len(plan.targets)
    runs = dict.fromkeys(path for path in (*plan.targets, *sources) if path is not None)
    checkpoints = {run: read_checkpoint(run) for run in runs}
    for checkpoint in checkpoints.values():
        done, epochs = checkpoint.epoch, checkpoint.recipe.epochs
        if done < epochs:
            state = f"trained for {done} of {epochs} epochs; resume its training first"
            raise CheckpointError(f"{checkpoint.path} is {state}")
        if checkpoint.recipe.model is not None:
            cure = "give checkpoints of registered architectures"
            raise CheckpointError(f"{checkpoint.path} is of {checkpoint.recipe.model}, a user's own network; {cure}")
    cells: list[Cell] = []
    for target, source in zip(plan.targets, sources, strict=True):
        origins = [target] if source is None else [target, source]
        for name, text in (("input_shape", "takes inputs {}"), ("nb_classes", "has {} classes")):
            here, there = (getattr(checkpoints[run], name) for run in (target, origins[-1]))
            if here != there:
                raise CheckpointError(f"{source} {text.format(there)}, and {target} {text.format(here)}")
        recipe = checkpoints[target].recipe
        samples, apart = _samples(checkpoints[target], plan, folder, verbose)
        weights = [PinnedFile(str(checkpoints[run].path), checkpoints[run].sha256) for run in origins]
        fixed: dict[str, Any] = {"target": weights[0], "samples": samples}
        if recipe.events:
            cells.append(Cell(**fixed, source=weights[0], attack=ClipOnly(), rule=None))
        cells += [
            Cell(**fixed, source=origin, attack=attack, **_tuning(rule, plan, apart))
            for origin in weights
            for attack in plan.attacks
            for rule in plan.rules
        ]
    return cells


def _samples(checkpoint: Checkpoint, plan: GridPlan, folder: Path, verbose: bool) -> tuple[PinnedFile, Choice]:
    """Return the file of the samples for a target, made if missing, and where those to tune on come from."""
    recipe = checkpoint.recipe
    steps = recipe.time_steps if recipe.events else None
    sizes = (plan.samples, plan.tuning_samples)
    marks = ("binary",) if recipe.binary else ()
    parts = (recipe.data, recipe.image_size, recipe.split_by, recipe.test_share, *sizes, steps, *marks)
    file = folder / f"samples-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.npz"
    if not file.is_file():
        arrays = choose_samples(load_data(recipe, verbose=verbose), *sizes)
        write_atomic(file, lambda temporary: np.savez(temporary, allow_pickle=False, **arrays))
    arrays, digest = read_samples(file)
    for name in ("x", "x_tune"):
        check_range(f"{file}: {name}", arrays[name], checkpoint.clip_values, DataError)
    return PinnedFile(str(file), digest), Choice(str(arrays["tuned"]))


def choose_samples(data: Split, samples: int, tuning_samples: int) -> dict[str, np.ndarray]:
    """Return stratified test samples to attack ("x", "y"), and others to tune on ("x_tune", "y_tune").

    Where too few test samples are left, those to tune on are training samples; "tuned" says which.
    """
    data = with_class_indices(data, DataError)
    chosen = stratified_part(data.y_test, samples)
    pool = np.setdiff1d(np.arange(len(data.y_test)), chosen)
    x_tune, y_tune, choice = data.x_test, data.y_test, Choice.TUNED_APART
    if len(pool) < tuning_samples:
        pool = np.arange(len(data.y_train))
        x_tune, y_tune, choice = data.x_train, data.y_train, Choice.TUNED_ON_TRAIN
    tune = pool[stratified_part(y_tune[pool], tuning_samples)]
    attacked = {"x": data.x_test[chosen], "y": data.y_test[chosen]}
    return {**attacked, "x_tune": x_tune[tune], "y_tune": y_tune[tune], "tuned": np.array(choice.value)}


def _tuning(given: str | GradientRule, plan: GridPlan, apart: Choice) -> dict[str, Any]:
    """Return a cell's rule and how its hyperparameter is chosen."""
    rule = get_rule(given)
    tuned = plan.tune if plan.tune is not None else TUNED if isinstance(given, str) else {}
    if rule.name in tuned:
        choice = Choice.TUNED_ON_TEST if plan.tune_on_test else apart
        return {"rule": rule, "parameter": tuned[rule.name], "choice": choice, "sweep": plan.sweep}
    is_given = hasattr(rule, "gamma") and (rule is given or rule.name in TUNED)
    return {"rule": rule, "choice": Choice.GIVEN if is_given else Choice.NOTHING}
