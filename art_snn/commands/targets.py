"""What ``art-snn evaluate`` is about: the network of a checkpoint, of a user's function, or one trained on digits."""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from art_snn.classifier.pytorch import PyTorchSNNClassifier
from art_snn.commands.options import check_sizes, given, usage
from art_snn.commands.user_models import load_classifier
from art_snn.data import Split
from art_snn.training import Recipe, load_data, load_trained, read_checkpoint, train_cached


class Target(NamedTuple):
    """What is evaluated: a network with its data."""

    recipe: Recipe  # of its training; of a user's network, what says the data and the attacks' defaults
    classifier: PyTorchSNNClassifier
    data: Split
    title: str  # what is printed first
    name: str  # in a plot
    epochs: int | None  # that it was trained for, where that is known


def load_target(options: argparse.Namespace, recipe: Recipe, verbose: bool) -> Target:
    """Return the network of a checkpoint, of a user's function, or one that is trained on digits."""
    if options.model:
        return _users_target(options, recipe, verbose)
    if options.checkpoint:
        checkpoint = read_checkpoint(options.checkpoint)
        check_sizes(options, checkpoint.clip_values[1] - checkpoint.clip_values[0])
        recipe, classifier = load_trained(checkpoint, device_type=options.device)
        data, epochs = load_data(recipe, verbose=verbose), checkpoint.epoch
        source = f"{recipe.defence}, eps {recipe.eps:g}, {epochs} of {recipe.epochs} epochs"
    else:
        check_sizes(options, 1.0)
        data, epochs = load_data(recipe), recipe.epochs
        classifier, cached = train_cached(recipe, data, device_type=options.device, verbose=verbose)
        source = "from the cache" if cached else "trained now"
    shape = f"T={recipe.time_steps}, lambda={recipe.decay:g}, {recipe.reset} reset"
    defence = "" if recipe.defence == "none" else f"{recipe.defence}, "
    title = f"{recipe.title} SNN ({source}): {shape}, seed {recipe.seed}"
    return Target(recipe, classifier, data, title, f"{recipe.title}, {defence}{shape.replace('lambda', 'λ')}", epochs)


def _users_target(options: argparse.Namespace, recipe: Recipe, verbose: bool) -> Target:
    with usage():
        recipe = Recipe(**given(options, ("data", "time_steps", "image_size")), eps=recipe.eps, gamma=recipe.gamma)
    data = load_data(recipe, verbose=verbose)
    classifier = load_classifier(
        options.model,
        options.weights,
        data,
        events=bool(recipe.events),
        time_steps=getattr(options, "time_steps", None),
        device_type=options.device,
    )
    low, high = classifier.clip_values
    check_sizes(options, float(np.max(high) - np.min(low)))
    name = f"{options.model} on {recipe.title}"
    return Target(recipe, classifier, data, name, name, None)
