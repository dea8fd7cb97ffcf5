"""``art-snn train``: train a spiking network, robustly, with checkpoints."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from art_snn.attacks import PGD
from art_snn.commands.options import OneLineParser, add_device, check_device, check_folder, number, whole
from art_snn.data import Split, stratified_part
from art_snn.data.sets import DIGITS, is_events, resolved
from art_snn.errors import DataError, UsageError
from art_snn.evaluation.metrics import accuracy
from art_snn.rules import rule_names
from art_snn.snn.models.table import ARCHITECTURES
from art_snn.training.augmentation import AUGMENTATIONS
from art_snn.training.losses import DEFENCES
from art_snn.training.recipe import (
    MOMENTUM,
    OPTIMIZERS,
    SCHEDULES,
    SURROGATES,
    Recipe,
    check_architecture,
    check_batches,
    expected_shape,
)
from art_snn.training.run import load_data, resume_point, train

STEPS = 10  # of the PGD that reports the result
REPORTED = 1000  # test samples at most


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser: OneLineParser = commands.add_parser(
        "train",
        help="train a spiking network, robustly, with checkpoints",
        description="Train a spiking network on scikit-learn's digits or on a folder of images, with a defence against "
        "adversarial examples. A checkpoint is written after every epoch; the same command goes on where a stopped "
        "one was.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run)
    add, recipe = parser.add_argument, Recipe()
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder for the checkpoints")
    add("--defence", default=recipe.defence, help=f"one of {', '.join(DEFENCES)}")
    add(
        "--data",
        default=DIGITS,
        metavar="DATA",
        help="'digits', 'cifar10', 'cifar100', a folder with train/<class>/* and test/<class>/*, an .npz of event "
        "recordings, or N-MNIST's folder",
    )
    add("--split-by", default=recipe.split_by, help="frames of event recordings are cut by 'number' or by 'time'")
    add("--test-share", type=number, help="share of event recordings to test on; their own split if left out")
    add("--architecture", help=f"one of {', '.join(ARCHITECTURES)}; digits_net, vgg_small or vgg_dvs if left out")
    add("--width", type=whole, help="channels of the first layer of vgg_small and vgg_dvs; their own if left out")
    add("--image-size", type=whole, help="inputs of a folder are brought to this size; 32, and 48 for events")
    add("--eps", type=number, default=recipe.eps, help="largest change of a pixel (L-infinity); pixels are in [0, 1]")
    add("--eps-step", type=number, help="step of PGD; eps / 2 if left out")
    add("--max-iter", type=whole, default=recipe.max_iter, help="steps of PGD")
    add("--beta", type=number, default=recipe.beta, help="weight of TRADES' second term")
    add("--rule", default=recipe.rule, help=f"gradient rule of the attacks, one of {', '.join(rule_names())}")
    add("--gamma", type=number, default=recipe.gamma, help="gamma of HART")
    add("--decay", type=number, default=recipe.decay, help="membrane retention lambda, in (0, 1]; 1 is IF")
    add("--time-steps", type=whole, default=recipe.time_steps, help="number of time-steps T")
    add("--reset", default=recipe.reset, help="'hard' or 'soft'")
    add("--surrogate", default=recipe.surrogate, help=f"slope of the neurons in training: {', '.join(SURROGATES)}")
    add("--epochs", type=whole, default=recipe.epochs, help="passes over the training images")
    add("--batch-size", type=whole, default=recipe.batch_size, help="images a step")
    add("--optimizer", default=recipe.optimizer, help=f"one of {', '.join(OPTIMIZERS)} (momentum {MOMENTUM})")
    add("--lr", type=number, default=recipe.lr, help="learning rate at the start; it falls to 0")
    add(
        "--schedule",
        choices=SCHEDULES,
        default=recipe.schedule,
        help="it falls along a cosine, by batches or by epochs",
    )
    add("--weight-decay", type=number, default=recipe.weight_decay, help="weight decay")
    add("--augmentation", default=recipe.augmentation, help=f"one of {', '.join(AUGMENTATIONS)}")
    add("--mixed-precision", action="store_true", help="compute the losses in bfloat16 where that is safe")
    add("--seed", type=whole, default=recipe.seed, help="seed of weights, batches and random starts")
    add_device(parser)
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    verbose = not options.quiet
    recipe = _checked(options)
    found = resume_point(options.out, recipe)
    if found is not None and found.epoch >= recipe.epochs:
        print(f"{options.out} is trained already: {found.epoch} of {recipe.epochs} epochs")
        print(_next(options))
        return 0
    if found is not None:
        print(f"going on after epoch {found.epoch} of {recipe.epochs}", flush=True)
    data = load_data(recipe, verbose=verbose)
    try:
        classifier, _ = train(recipe, data, options.out, device_type=options.device, verbose=verbose)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on after the last epoch in {options.out}")
        raise
    _report(recipe, classifier, data)
    print(_next(options))
    return 0


def _report(recipe: Recipe, classifier: Any, data: Split) -> None:
    part = stratified_part(data.y_test, REPORTED)
    x, y = data.x_test[part], data.y_test[part]
    attack = PGD(eps=recipe.eps, steps=STEPS).make(classifier)
    print(f"clean accuracy  {accuracy(classifier.predict(x), y)}")
    print(
        f"robust accuracy {accuracy(classifier.predict(attack.generate(x, y)), y)}  (PGD, {STEPS} steps, "
        f"eps {recipe.eps:g}, {recipe.gradient_rule!r}, {len(x)} test images)"
    )


def _next(options: argparse.Namespace) -> str:
    return f"next: art-snn evaluate --checkpoint {options.out}"


def _checked(options: argparse.Namespace) -> Recipe:
    """Return the recipe; raise UsageError before any work is done."""
    check_device(options.device)
    check_folder("--out", options.out)
    settings = {field.name: getattr(options, field.name) for field in fields(Recipe) if field.name != "events"}
    try:
        settings["data"] = resolved(options.data)
    except DataError as error:
        raise UsageError(f"--data {error}") from None
    events = is_events(settings["data"])
    if options.image_size is None:
        settings["image_size"] = 48 if events else 32
    multiple = 16 if events else 8
    if settings["image_size"] < multiple or settings["image_size"] % multiple:
        raise UsageError(f"--image-size must be a multiple of {multiple}, got {options.image_size}")
    try:
        recipe = Recipe(**settings)
        check_architecture(recipe, expected_shape(recipe))
        check_batches(recipe, expected_shape(recipe))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return recipe
