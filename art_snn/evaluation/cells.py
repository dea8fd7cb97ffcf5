"""Cells of a grid: one attack on one network through one rule."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.data.sets import title
from art_snn.data.split import stratified_part
from art_snn.errors import CheckpointError, DataError
from art_snn.evaluation.gamma import GammaCurve, tune_gamma
from art_snn.evaluation.legacy import ATTACKS, PGD_STEPS, make_pgd, through, zero_gradients
from art_snn.evaluation.metrics import Proportion, accuracy, attack_success_rate
from art_snn.rules import HART, get_rule
from art_snn.rules.base import GradientRule
from art_snn.training.checkpoints import WEIGHTS, Checkpoint, read_checkpoint
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_trained

WHITE, BLACK = "white-box", "black-box"
CLIP_ONLY = "clip-only"
# How gamma is chosen.
TUNED_APART = "tuned on a split of its own"
TUNED_ON_TRAIN = "tuned on training samples"
TUNED_ON_TEST = "tuned on the evaluation set"
GIVEN = "given"
# Rises when a row of the same cell would have another number.
PROTOCOL = 3
# Threads of a process share its classifiers, whose rules the attacks change: one cell at a time.
_ONE_AT_A_TIME = threading.Lock()
# Samples, of all classes, whose gradients are looked at for zeros.
ZERO_GRADIENT_SAMPLES = 256


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one row of a grid is about. Equal cells have equal rows.

    Attributes:
        target: Folder of the target's checkpoint.
        target_sha256: Digest of its weights.
        source: Folder of the checkpoint that gradients come from; the target's own for white box.
        source_sha256: Digest of its weights.
        samples: File with the samples (`art_snn.evaluation.grid`).
        samples_sha256: Digest of it.
        attack: "fgsm", "pgd", or "clip-only", which clips to [0, 1] and does nothing else.
        eps: Largest change of a pixel (L-infinity), > 0; 0 for "clip-only".
        eps_step: Step of "pgd", > 0; None for other attacks.
        rule: Name of a rule; "" for "clip-only".
        gamma: Gamma of HART, where it is given.
        gamma_chosen: How gamma is chosen: one of the four texts of this module, "" for rules without gamma.
        sweep: Measure all 48 values of gamma.
        dataset: Name of the data set in tables; "" for that of its folder.
    """

    target: str
    target_sha256: str
    source: str
    source_sha256: str
    samples: str
    samples_sha256: str
    attack: str
    eps: float
    rule: str
    eps_step: float | None = None
    gamma: float | None = None
    gamma_chosen: str = ""
    sweep: bool = False
    dataset: str = ""

    @property
    def setting(self) -> str:
        """White box or black box."""
        return WHITE if self.source_sha256 == self.target_sha256 else BLACK

    @property
    def key(self) -> str:
        """Digest of all that the numbers depend on; where files lie and what they are called is not part of it."""
        names = ("target", "source", "samples", "dataset")
        identity = {name: value for name, value in asdict(self).items() if name not in names}
        identity["protocol"] = PROTOCOL
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def weights_digest(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of a checkpoint's weights."""
    return hashlib.sha256((checkpoint.path / WEIGHTS).read_bytes()).hexdigest()


def run_cell(cell: Cell, *, device_type: str = "cpu", batch_size: int = 128) -> dict[str, Any]:
    """Attack, and return the row: names to numbers and texts.

    Threads of a process wait for one another; workers that are processes do not.

    Shares are in [0, 1] with 95 % confidence intervals. ``zero_gradients`` is the share of 256 stratified samples whose
    gradient is all zero.

    Args:
        cell: The cell.
        device_type: "gpu" or "cpu".
        batch_size: Samples to attack at once.

    Raises:
        CheckpointError: A checkpoint is damaged, or not the one that the cell means.
    """
    with _ONE_AT_A_TIME:
        return _row(cell, device_type, batch_size)


def _row(cell: Cell, device_type: str, batch_size: int) -> dict[str, Any]:
    start = time.perf_counter()
    recipe, target = _loaded(cell.target, cell.target_sha256, device_type)
    source = target if cell.setting == WHITE else _loaded(cell.source, cell.source_sha256, device_type)[1]
    samples = _samples(cell.samples, cell.samples_sha256)
    x, y = samples["x"], samples["y"]
    clean = _clean_logits(cell.target, cell.target_sha256, cell.samples, cell.samples_sha256, device_type, batch_size)
    curve: GammaCurve | None = None
    gamma, zeros = cell.gamma, float("nan")
    if cell.attack == CLIP_ONLY:
        examples = np.clip(x, 0, 1)
    else:
        attack = ATTACKS[cell.attack] if cell.eps_step is None else partial(make_pgd, eps_step=cell.eps_step)
        if cell.gamma_chosen in (TUNED_APART, TUNED_ON_TRAIN, TUNED_ON_TEST):
            part = ("x", "y") if cell.gamma_chosen == TUNED_ON_TEST else ("x_tune", "y_tune")
            curve = tune_gamma(
                source,
                attack,
                samples[part[0]],
                samples[part[1]],
                eps=cell.eps,
                target=target,
                sweep=cell.sweep,
                batch_size=batch_size,
            )
            gamma = curve.best
        rule = get_rule(cell.rule) if gamma is None else HART(gamma=gamma)
        with through(source, rule):
            zeros = _zero_share(
                cell.source, cell.source_sha256, cell.samples, cell.samples_sha256, device_type, batch_size, rule
            )
            attack_start = time.perf_counter()
            examples = attack(source, cell.eps, batch_size).generate(x, y)
            attack_seconds = time.perf_counter() - attack_start
    attacked = target.predict(examples, batch_size=batch_size)
    return {
        **_description(recipe, cell),
        "gamma": gamma,
        "n": len(x),
        "n_tune": 0 if curve is None else curve.success[0].total,
        **_flat("clean_accuracy", accuracy(clean, y)),
        **_flat("attack_success_rate", attack_success_rate(clean, attacked, y)),
        **_flat("robust_accuracy", accuracy(attacked, y)),
        "zero_gradients": None if np.isnan(zeros) else zeros,
        "gamma_curve": None if curve is None else curve.points(),
        "attack_seconds": None if cell.attack == CLIP_ONLY else attack_seconds,
        "seconds": time.perf_counter() - start,
    }


def _description(recipe: Recipe, cell: Cell) -> dict[str, Any]:
    return {
        "dataset": cell.dataset or title(recipe.data),
        "architecture": recipe.architecture,
        "width": recipe.width,
        "decay": recipe.decay,
        "time_steps": recipe.time_steps,
        "reset": recipe.reset,
        "defence": recipe.defence,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "setting": cell.setting,
        "attack": cell.attack,
        "eps": cell.eps,
        "eps_step": cell.eps_step,
        "max_iter": PGD_STEPS if cell.attack == "pgd" else None,
        "rule": cell.rule,
        "gamma_chosen": cell.gamma_chosen,
        "target_sha256": cell.target_sha256,
        "source_sha256": cell.source_sha256,
        "samples_sha256": cell.samples_sha256,
        "versions": {name: version(name) for name in ("art-snn", "adversarial-robustness-toolbox", "torch", "numpy")},
    }


def _flat(name: str, share: Proportion) -> dict[str, Any]:
    return {
        name: None if share.total == 0 else share.value,
        f"{name}_low": share.low,
        f"{name}_high": share.high,
        f"{name}_hits": share.hits,
        f"{name}_n": share.total,
    }


@lru_cache(maxsize=4)
def _loaded(folder: str, digest: str, device_type: str) -> tuple[Recipe, PyTorchSNNClassifier]:
    checkpoint = read_checkpoint(Path(folder))
    found = weights_digest(checkpoint)
    if found != digest:
        raise CheckpointError(f"{folder} has changed: its weights are {found[:12]}, the grid is for {digest[:12]}")
    recipe, classifier = load_trained(checkpoint, device_type=device_type)
    return replace(recipe, epochs=checkpoint.epoch), classifier  # also where the training is not over


@lru_cache(maxsize=4)
def _clean_logits(
    target: str, target_digest: str, samples: str, samples_digest: str, device_type: str, batch_size: int
) -> np.ndarray:
    classifier = _loaded(target, target_digest, device_type)[1]
    return classifier.predict(_samples(samples, samples_digest)["x"], batch_size=batch_size)


@lru_cache(maxsize=16)
def _zero_share(
    source: str,
    source_digest: str,
    samples: str,
    samples_digest: str,
    device_type: str,
    batch_size: int,
    rule: GradientRule,
) -> float:
    classifier = _loaded(source, source_digest, device_type)[1]
    found = _samples(samples, samples_digest)
    chosen = stratified_part(found["y"], ZERO_GRADIENT_SAMPLES)
    x, y = found["x"][chosen], found["y"][chosen]
    with through(classifier, rule):
        return zero_gradients(classifier, x, y, batch_size)


@lru_cache(maxsize=2)
def _samples(file: str, digest: str) -> dict[str, np.ndarray]:
    samples, found = read_samples(Path(file))
    if found != digest:
        raise DataError(f"{file} has changed: its samples are {found[:12]}, the grid is for {digest[:12]}")
    return samples


def read_samples(file: Path) -> tuple[dict[str, np.ndarray], str]:
    """Return the samples in a file, and its SHA-256.

    Raises:
        DataError: It is damaged, or holds something else.
    """
    content = file.read_bytes()
    try:
        with np.load(io.BytesIO(content)) as archive:
            samples = {name: archive[name] for name in ("x", "y", "x_tune", "y_tune", "tuned")}
    except Exception as error:  # the errors of zip and NumPy have no common base
        raise DataError(f"{file} is damaged: {error!r}; delete it, and it is made again") from None
    return samples, hashlib.sha256(content).hexdigest()
