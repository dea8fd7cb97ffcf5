"""The paper's evaluation: which networks are trained, and which attacks are run on them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from art_snn.attacks import FGSM, PAPER_STEP, PGD, Attack
from art_snn.data.sets import DIGITS, is_events, title
from art_snn.errors import BusyError
from art_snn.evaluation import GridPlan
from art_snn.evaluation.grid import quiet_workers
from art_snn.evaluation.retention import temporal_retention
from art_snn.snn.encoders import DirectEncoder, takes_frames
from art_snn.snn.network import SpikingNetwork
from art_snn.training.checkpoints import locked, read_checkpoint
from art_snn.training.recipe import Recipe
from art_snn.training.run import load_data, load_trained, resume_point, train

_POLL_S, _POLL_MOST_S = 1.0, 30.0
SIZES = ("small", "full")
RULES = ("cba", "bptr", "stbp", "rga", "rate", "hart")
EPS = (2 / 255, 4 / 255, 8 / 255)
ROBUST_EPS = 2.55 / 255
# Frames are counts of events; what 8/255 is to an image would be lost among them.
EVENT_EPS = (8 / 255, 0.1, 0.25)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One network of the evaluation, with the surrogate that black-box attacks come from.

    Attributes:
        name: Name of its folder.
        recipe: How it is trained.
        eps: Sizes of the attacks.
    """

    name: str
    recipe: Recipe
    eps: tuple[float, ...] = EPS

    def surrogate(self) -> Experiment:
        """Return the same experiment with the next seed."""
        recipe = replace(self.recipe, seed=self.recipe.seed + 1)
        return replace(self, name=f"{self.name}-surrogate", recipe=recipe)


def experiments(
    size: str,
    *,
    images: str | None,
    events: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    test_share: float | None = None,
    robust: bool = False,
    mixed_precision: bool = True,
    seed: int = 0,
) -> list[Experiment]:
    """Return the networks of the paper's evaluation at a size.

    Small, for two cores: `vgg_small` with T=4 and lambda 0.5, 0.9 and 1.0 on images, a narrow `vgg_dvs` with T=10 and
    lambda 0.5 and 1.0 on events. Full: `vgg11` with T=4, 8 and 16 and `resnet17`, `vgg_dvs` with T=5 and 10, with the
    learning rate and the number of epochs of the paper's public code.

    Args:
        size: "small" or "full".
        images: Images that `art_snn.data.sets.load` takes; None for none.
        events: Event recordings that it takes; None for none.
        epochs: Passes over the training images; None for 6 (20 over small sets of events) and 200.
        lr: Learning rate at the start, > 0; None for 0.05 and 0.1.
        test_share: Share of the recordings to test on, in (0, 1); None for 0.3 and the source's own split.
        robust: Train robust targets (*), too; always done at full size.
        mixed_precision: Train in bfloat16 where that is safe.
        seed: Seed of the targets; surrogates have the next one.

    Raises:
        ValueError: The size is unknown, or there are neither images nor events.
    """
    if size not in SIZES:
        raise ValueError(f"size must be {' or '.join(map(repr, SIZES))}, got {size!r}")
    if images is None and events is None:
        raise ValueError("there are neither images nor events to train on")
    small = size == "small"
    passes = (6 if small else 200) if epochs is None else epochs
    common: dict[str, Any] = {
        "defence": "none",
        "optimizer": "sgd",
        "lr": (0.05 if small else 0.1) if lr is None else lr,
        "weight_decay": 5e-4,
        "batch_size": 64,
        "seed": seed,
        "mixed_precision": mixed_precision,
    }
    found: list[Experiment] = []
    if images is not None:
        base = Recipe(
            **common,
            data=images,
            architecture=None if small else "vgg11",
            augmentation="none" if images == DIGITS else "crop-flip" if small else "crop-flip-cutout",
            time_steps=4 if small else 8,
            epochs=passes,
        )
        found += [_experiment(base, decay=decay) for decay in (0.9, 0.5, 1.0)]
        if robust or not small:
            found.append(_experiment(base, decay=0.9, defence="fgsm", eps=ROBUST_EPS))
        if not small:
            found.append(_experiment(base, decay=0.9, architecture="resnet17"))
            found += [_experiment(base, decay=d, time_steps=t) for d in (0.5, 1.0) for t in (4, 16)]
    if events is not None:
        base = Recipe(
            **common,
            data=events,
            architecture="vgg_dvs",
            width=4 if small else None,
            image_size=48,
            augmentation="crop",
            test_share=0.3 if small and test_share is None else test_share,
            time_steps=10,
            epochs=20 if small and epochs is None else passes,
        )
        if small:
            base = replace(base, batch_size=16)
        for steps in (10,) if small else (10, 5):
            found += [_experiment(base, EVENT_EPS, decay=decay, time_steps=steps) for decay in (0.5, 1.0)]
    return found


def _experiment(base: Recipe, attacks_eps: tuple[float, ...] = EPS, **changes: Any) -> Experiment:
    recipe = replace(base, **changes)
    star = "-robust" if recipe.defence != "none" else ""
    name = f"{recipe.architecture}-T{recipe.time_steps}-lambda{recipe.decay:g}{star}"
    return Experiment(name=name, recipe=recipe, eps=attacks_eps)


def train_all(
    chosen: Sequence[Experiment], folder: Path, *, n_jobs: int = 1, device_type: str = "cpu", verbose: bool = False
) -> None:
    """Train each experiment's network and surrogate; those that are trained already are left as they are.

    Several processes may do this at the same time: each network is trained by one of them.

    Args:
        chosen: The experiments.
        folder: Folder for the runs.
        n_jobs: Trainings at once, >= 1.
        device_type: "gpu" or "cpu".
        verbose: Show progress.

    Raises:
        CheckpointError: A folder holds another training, or a damaged checkpoint. Nothing has been trained then.
    """
    left = [network for one in chosen for network in (one, one.surrogate())]
    wait = _POLL_S
    for network in left:
        resume_point(folder / network.name, network.recipe)
    with quiet_workers():
        workers = Parallel(n_jobs=n_jobs, pre_dispatch="n_jobs")
        while left:
            trained = workers(
                delayed(_train)(network, folder, device_type, verbose, verbose and n_jobs == 1) for network in left
            )
            left = [network for network, is_trained in zip(left, trained, strict=True) if not is_trained]
            if left:  # another process trains them, or has died
                if verbose and wait == _POLL_S:
                    tqdm.write(f"waiting for another process: {', '.join(network.name for network in left)}")
                time.sleep(wait)
                wait = min(2 * wait, _POLL_MOST_S)


def _train(network: Experiment, folder: Path, device_type: str, verbose: bool, bars: bool) -> bool:
    """Train a network if it is not; say False where another process is at it."""
    run = folder / network.name
    found = resume_point(run, network.recipe)
    if found is not None and found.epoch >= network.recipe.epochs:
        return True
    run.mkdir(parents=True, exist_ok=True)
    try:
        with locked(run):
            pass  # before the data are loaded
        if verbose:
            tqdm.write(f"training {network.name}")
        data = load_data(network.recipe, verbose=bars)
        _, history = train(network.recipe, data, run, device_type=device_type, verbose=bars)
    except BusyError:
        return False
    if verbose:
        seconds = sum(epoch["seconds"] for epoch in history)
        tqdm.write(f"trained {network.name} in {seconds:.0f} s: test accuracy {history[-1]['test_accuracy']:.1%}")
    return True


def plans(
    chosen: Sequence[Experiment],
    folder: Path,
    *,
    samples: int,
    tuning_samples: int,
    tune_on_test: bool,
    sweep: bool = False,
    dataset: str = "",
    events_dataset: str = "",
) -> list[GridPlan]:
    """Return the grids of trained experiments.

    PGD's step is the paper's 2/255 on images, and eps / 4 on event frames, which are counts.

    Args:
        chosen: The experiments.
        folder: Folder with the runs.
        samples: Test samples to attack.
        tuning_samples: Samples to tune gamma on.
        tune_on_test: Tune on the evaluation samples, as the paper does.
        sweep: Measure all 48 values of gamma, not only those that the search needs.
        dataset: Name of the images in tables; "" for that of their folder.
        events_dataset: Name of the event recordings in tables; "" for that of their file.
    """
    return [
        GridPlan(
            targets=[folder / one.name],
            sources=[folder / one.surrogate().name],
            rules=RULES,
            attacks=[attack for eps in one.eps for attack in _attacks(eps, one.recipe)],
            samples=samples,
            tuning_samples=tuning_samples,
            tune_on_test=tune_on_test,
            sweep=sweep,
            dataset=events_dataset if is_events(one.recipe.data) else dataset,
        )
        for one in chosen
    ]


def _attacks(eps: float, recipe: Recipe) -> list[Attack]:
    return [FGSM(eps=eps), PGD(eps=eps, eps_step=None if recipe.events else PAPER_STEP)]


def retention_records(
    runs: Sequence[Path],
    x: np.ndarray,
    *,
    device_type: str = "cpu",
    time_steps: Sequence[int] = (2, 4, 8, 16),
    dataset: str = "",
) -> list[dict[str, Any]]:
    """Return temporal retention of trained networks, for images also with other numbers of time-steps.

    Args:
        runs: Folders of trained networks.
        x: Inputs (N, *input_shape).
        device_type: "gpu" or "cpu".
        time_steps: Numbers of time-steps for networks with direct encoding, whose weights stay as they are.
        dataset: Name of the data set.
    """
    records = []
    for run in runs:
        recipe, classifier = load_trained(read_checkpoint(run), device_type=device_type)
        network = cast("SpikingNetwork", classifier.model.network)
        direct = not takes_frames(network)
        steps = sorted({*time_steps, recipe.time_steps}) if direct else [recipe.time_steps]
        for count in steps:
            encoder = DirectEncoder(time_steps=count) if direct else network.encoder
            inputs = torch.as_tensor(x, device=classifier.device)
            layers = temporal_retention(SpikingNetwork(encoder, network.body).eval(), inputs)
            for position, layer in enumerate(layers, start=1):
                records.append(
                    {
                        "run": run.name,
                        "dataset": dataset or title(recipe.data),
                        "architecture": recipe.architecture,
                        "width": recipe.width,
                        "defence": recipe.defence,
                        "decay": recipe.decay,
                        "reset": recipe.reset,
                        "time_steps": count,
                        "trained_time_steps": recipe.time_steps,
                        "position": position,
                        **vars(layer),
                    }
                )
    return records
