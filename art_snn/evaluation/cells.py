"""Cells of a grid: one attack on one network through one rule."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from art_snn.attacks import Attack
from art_snn.classifier import PyTorchSNNClassifier
from art_snn.data import stratified_part
from art_snn.errors import CheckpointError, DataError
from art_snn.evaluation.outcomes import correct_samples, run_attack, zero_entries
from art_snn.evaluation.rows import GridRow, described, measured, package_versions
from art_snn.evaluation.tuning import tune
from art_snn.labels import class_indices
from art_snn.rules import GradientRule
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_trained, seeded

# Rises when a row of the same cell would have another number.
PROTOCOL = 4
# Samples, of all classes, whose gradients are looked at for zeros.
ZERO_GRADIENT_SAMPLES = 256


class Choice(str, Enum):
    """How a rule's hyperparameter was chosen."""

    TUNED_APART = "tuned on a split of its own"
    TUNED_ON_TRAIN = "tuned on training samples"
    TUNED_ON_TEST = "tuned on the evaluation set"
    GIVEN = "given"
    NOTHING = ""


class PinnedFile(NamedTuple):
    """A file that cells read, and the digest of what it must hold."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one row of a grid is about. Equal cells have equal rows."""

    target: PinnedFile  #: Checkpoint of the network that is attacked, pinned by the digest of its weights.
    source: PinnedFile  #: That of the network that gradients come from; the target itself for white box.
    samples: PinnedFile  #: What is attacked, and what is tuned on.
    attack: Attack  #: The attack.
    rule: GradientRule | None  #: The rule; None for an attack that needs no gradient.
    parameter: str = ""  #: Field of the rule to tune, such as "gamma"; "" to take the rule as it is.
    choice: Choice = Choice.NOTHING  #: How this field, or the rule's gamma, is chosen.
    sweep: bool = False  #: Measure all 48 values of it.

    @property
    def setting(self) -> str:
        """White box or black box."""
        return "white-box" if self.source.sha256 == self.target.sha256 else "black-box"

    @property
    def key(self) -> str:
        """Digest of all that the numbers depend on; where files lie and what they are called is not part of it."""
        identity = {
            "digests": [self.target.sha256, self.source.sha256, self.samples.sha256],
            "attack": [self.attack.name, repr(self.attack)],
            "rule": None if self.rule is None else [self.rule.name, repr(self.rule)],
            "tuning": [self.parameter, self.choice.value, self.sweep],
            "protocol": PROTOCOL,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def run_cell(cell: Cell, *, device_type: str = "cpu", batch_size: int = 128) -> GridRow:
    """Attack as `run_grid` does, and return the row; zero gradients and entries are of 256 stratified samples.

    Raises:
        CheckpointError: A checkpoint is damaged, or not the one that the cell means.
        DataError: The same of the samples.
    """
    recipe, target = _network(cell.target, device_type)
    source = _network(cell.source, device_type)[1]
    arrays = _arrays(cell.samples)
    rule, curve = cell.rule, None
    common: dict[str, Any] = {"target": target, "batch_size": batch_size}
    if rule is not None and cell.parameter:
        part = "" if cell.choice is Choice.TUNED_ON_TEST else "_tune"
        x, y = arrays[f"x{part}"], arrays[f"y{part}"]
        with seeded(int(cell.key[:8], 16)):
            curve = tune(rule, cell.parameter, source, cell.attack, x, y, sweep=cell.sweep, **common)
        rule = curve.rule
    zeros = None if rule is None else _zero_entries(cell.source, cell.samples, rule, device_type, batch_size)
    correct = _correct(cell.target, cell.samples, device_type, batch_size)
    with seeded(int(cell.key[:8], 16)):  # an attack with random starts gives equal cells equal rows, too
        outcome = run_attack(source, rule, cell.attack, arrays["x"], arrays["y"], correct=correct, **common)
    if zeros is not None:
        outcome = replace(outcome, zero_gradient=zeros == 1, zero_entry=zeros)
    return GridRow(
        **measured(rule, cell.attack, outcome),
        key=cell.key,
        **described(recipe),
        setting=cell.setting,
        parameter=cell.parameter,
        gamma_chosen=cell.choice.value,
        gamma_curve=curve.points() if curve else None,
        n_tune=curve.success[0].total if curve else 0,
        target_sha256=cell.target.sha256,
        source_sha256=cell.source.sha256,
        samples_sha256=cell.samples.sha256,
        versions=package_versions(),
    )


@lru_cache(maxsize=4)
def _network(weights: PinnedFile, device: str) -> tuple[Recipe, PyTorchSNNClassifier]:
    checkpoint = read_checkpoint(Path(weights.path))
    if checkpoint.sha256 != weights.sha256:
        digests = f"its weights are {checkpoint.sha256[:12]}, the grid is for {weights.sha256[:12]}"
        raise CheckpointError(f"{weights.path} has changed: {digests}")
    recipe, classifier = load_trained(checkpoint, device_type=device)
    return replace(recipe, epochs=checkpoint.epoch), classifier  # also where the training is not over


@lru_cache(maxsize=4)
def _correct(target: PinnedFile, samples: PinnedFile, device: str, batch_size: int) -> np.ndarray:
    arrays = _arrays(samples)
    return correct_samples(_network(target, device)[1], arrays["x"], arrays["y"], batch_size)


@lru_cache(maxsize=16)
def _zero_entries(
    source: PinnedFile, samples: PinnedFile, rule: GradientRule, device: str, batch_size: int
) -> np.ndarray:
    arrays = _arrays(samples)
    chosen = stratified_part(arrays["y"], ZERO_GRADIENT_SAMPLES)
    x, y = arrays["x"][chosen], arrays["y"][chosen]
    return zero_entries(_network(source, device)[1], rule, x, y, batch_size=batch_size)


@lru_cache(maxsize=2)
def _arrays(samples: PinnedFile) -> dict[str, np.ndarray]:
    arrays, digest = read_samples(Path(samples.path))
    if digest != samples.sha256:
        digests = f"its samples are {digest[:12]}, the grid is for {samples.sha256[:12]}"
        raise DataError(f"{samples.path} has changed: {digests}")
    return arrays


def read_samples(file: Path) -> tuple[dict[str, np.ndarray], str]:
    """Return the samples in a file, labels as class indices, and its SHA-256; raise DataError where it is damaged."""
    content = file.read_bytes()
    try:
        with np.load(io.BytesIO(content)) as archive:
            samples = {name: archive[name] for name in ("x", "y", "x_tune", "y_tune", "tuned")}
        for part in ("", "_tune"):
            samples[f"y{part}"] = class_indices(samples[f"y{part}"], len(samples[f"x{part}"]), name=f"y{part}")
    except Exception as error:  # the errors of zip and NumPy have no common base
        raise DataError(f"{file} is damaged: {error!r}; delete it, and it is made again") from None
    return samples, hashlib.sha256(content).hexdigest()
