"""What ``evaluate`` and ``robustness`` are about: the network of a checkpoint, of a function, or trained on digits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.commands.options import HIDDEN, check_sizes, check_used, flag, given, one_line, usage, whole
from art_snn.commands.user_models import network_maker
from art_snn.data import Split
from art_snn.errors import UnsupportedModelError, UsageError
from art_snn.training import Recipe, load_data, load_trained, read_checkpoint, train_cached
from art_snn.training.build import inputs_of, make_classifier
from art_snn.training.checkpoints import Checkpoint

NETWORK = ("decay", "time_steps", "reset", "seed")  # settings that a checkpoint has already


class Target(NamedTuple):
    """What is evaluated: a network with its data."""

    recipe: Recipe  # of its training; of a user's network, what says the data and the attacks' defaults
    classifier: PyTorchSNNClassifier
    data: Split
    title: str  # what is printed first
    name: str  # in a plot
    epochs: int | None  # that it was trained for, where that is known


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a network and its data."""
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="FOLDER", help="evaluate this run, or checkpoint, of art-snn train")
    add(
        "--model",
        metavar="MODULE:FUNCTION",
        help="evaluate the network that this function returns; or FILE.py:FUNCTION; with --checkpoint, its training's",
    )
    add("--weights", type=Path, metavar="FILE", help="state of the network of --model (default: as it is)", **HIDDEN)
    data = "digits, cifar10, cifar100, a folder of images, or event recordings"
    add("--data", help=f"data for --model: {data} (default: digits)", **HIDDEN)
    add("--image-size", type=whole, help="height and width of images or event frames for --model", **HIDDEN)
    binary = "frames of recordings for --model are 1 where there are events, not counts"
    add("--binary", action="store_true", help=binary, **HIDDEN)


def check_target(options: argparse.Namespace) -> None:
    """Raise UsageError where options that name a network and its data contradict one another."""
    if options.checkpoint:
        for name in given(options, NETWORK):
            raise UsageError(f"{flag(name)} contradicts --checkpoint, which has its own; leave it out")
    elif options.model:
        for name in given(options, ("decay", "reset", "seed")):
            raise UsageError(f"{flag(name)} contradicts --model, which has its own; leave it out")
    for name in ("data", "image_size", "binary", "weights"):
        check_used(options, name, bool(options.model), "is for --model")
        check_used(options, name, not options.checkpoint, "contradicts --checkpoint, which has its own")
    options.weights = getattr(options, "weights", None)


def load_target(options: argparse.Namespace, recipe: Recipe, verbose: bool) -> Target:
    """Return the network of a checkpoint, of a user's function, or one that is trained on digits."""
    if options.model and not options.checkpoint:
        return _users_target(options, recipe, verbose)
    if options.checkpoint:
        checkpoint = read_checkpoint(options.checkpoint)
        _check_model(checkpoint, options.checkpoint, options.model)
        check_sizes(options, checkpoint.clip_values[1] - checkpoint.clip_values[0])
        make_network = network_maker(options.model) if options.model else None
        recipe, classifier = load_trained(checkpoint, device_type=options.device, make_network=make_network)
        data, epochs = load_data(recipe, verbose=verbose), checkpoint.epoch
        source = f"{recipe.defence}, eps {recipe.eps:g}, {epochs} of {recipe.epochs} epochs"
    else:
        check_sizes(options, 1.0)
        data, epochs = load_data(recipe), recipe.epochs
        classifier, cached = train_cached(recipe, data, device_type=options.device, verbose=verbose)
        source = "from the cache" if cached else "trained now"
    if recipe.model is not None:
        name = f"{recipe.model} on {recipe.title}"
        return Target(recipe, classifier, data, f"{name} ({source}), seed {recipe.seed}", name, epochs)
    shape = f"T={recipe.time_steps}, lambda={recipe.decay:g}, {recipe.reset} reset"
    defence = "" if recipe.defence == "none" else f"{recipe.defence}, "
    title = f"{recipe.title} SNN ({source}): {shape}, seed {recipe.seed}"
    return Target(recipe, classifier, data, title, f"{recipe.title}, {defence}{shape.replace('lambda', 'λ')}", epochs)


def _users_target(options: argparse.Namespace, recipe: Recipe, verbose: bool) -> Target:
    settings = given(options, ("data", "time_steps", "image_size", "binary"))
    with usage():
        recipe = Recipe(model=options.model, **settings, eps=recipe.eps, gamma=recipe.gamma)
    missing = [flag(name) for name in ("time_steps", "image_size") if name not in settings]
    if recipe.events and missing:
        raise UsageError(
            f"--data {recipe.data} holds event recordings, which become frames (T, 2, H, W); give "
            f"{' and '.join(missing)}, as the network of --model was trained on them"
        )
    make_network = network_maker(options.model, options.weights)
    data = load_data(recipe, verbose=verbose)
    shape, nb_classes, clip_values = inputs_of(recipe, data)
    check_sizes(options, clip_values[1] - clip_values[0])
    try:
        classifier = make_classifier(recipe, shape, nb_classes, options.device, clip_values, make_network)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        said = "; ".join(error.reasons) if isinstance(error, UnsupportedModelError) else str(error)
        raise UsageError(f"--model {options.model}: {one_line(said)}") from None
    name = f"{options.model} on {recipe.title}"
    return Target(recipe, classifier, data, name, name, None)


def _check_model(checkpoint: Checkpoint, path: Path, model: str | None) -> None:
    """Raise UsageError unless a checkpoint is of a model: what a file names runs only where the user names it, too."""
    trained = checkpoint.recipe.model
    if model == trained:
        return
    if trained is None:
        raise UsageError(f"--model contradicts --checkpoint {path}, which is of {checkpoint.recipe.network_name}")
    if model is None:
        raise UsageError(f"{path} was trained with --model {trained}, whose code is needed; give that, too")
    raise UsageError(f"{path} was trained with --model {trained}, not {model}")
