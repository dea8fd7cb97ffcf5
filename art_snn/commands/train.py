"""``art-snn train``: train a spiking network, robustly, with checkpoints."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from art_snn.attacks import PGD
from art_snn.commands.options import add_command, add_device, check_folder, check_used, number, usage, whole
from art_snn.data import source, stratified_part
from art_snn.data.frames import SPLIT_BY
from art_snn.data.sources import absolute
from art_snn.evaluation.metrics import accuracy
from art_snn.rules import get_rule, rule_names
from art_snn.snn.dynamics import RESETS
from art_snn.snn.models import architecture_names
from art_snn.training.augmentation import AUGMENTATIONS
from art_snn.training.losses import DEFENCES
from art_snn.training.recipe import MOMENTUM, OPTIMIZERS, SCHEDULES, SURROGATES, Recipe
from art_snn.training.run import load_data, resume_point, train

REPORTED = 1000  # test samples at most


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser = add_command(
        commands,
        "train",
        run,
        summary="train a spiking network, robustly, with checkpoints",
        description="Train a spiking network on images or event recordings, with a defence against adversarial "
        "examples. A checkpoint is written after every epoch; the same command resumes a stopped training.",
    )
    add, recipe = parser.add_argument, Recipe()
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder for the checkpoints")
    add("--defence", default=recipe.defence, choices=DEFENCES, help="what the network is trained on")
    data = "'digits', 'cifar10', 'cifar100', a folder with train/<class>/* and test/<class>/*"
    add("--data", default=recipe.data, metavar="DATA", help=f"{data}, an .npz of event recordings, or N-MNIST's folder")
    add("--split-by", default=recipe.split_by, choices=SPLIT_BY, help="how event recordings are cut into frames")
    add("--test-share", type=number, help="share of event recordings to test on; their own split if left out")
    add("--architecture", choices=architecture_names(), help="digits_net, vgg_small or vgg_dvs if left out")
    add("--width", type=whole, help="channels of the first layer of vgg_small and vgg_dvs; their own if left out")
    add("--image-size", type=whole, help="inputs of a folder are brought to this size; 32, and 48 for events")
    add("--eps", type=number, default=recipe.eps, help="largest change of a pixel (L-infinity); pixels are in [0, 1]")
    add("--eps-step", type=number, help="step of PGD; eps / 2 if left out")
    add("--max-iter", type=whole, default=recipe.max_iter, help="steps of PGD")
    add("--beta", type=number, default=recipe.beta, help="weight of TRADES' second term")
    add("--rule", type=str.lower, default=recipe.rule, choices=rule_names(), help="gradient rule of the attacks")
    add("--gamma", type=number, default=recipe.gamma, help="gamma of the rule, if it has one")
    add("--decay", type=number, default=recipe.decay, help="membrane retention lambda, in (0, 1]; 1 is IF")
    add("--time-steps", type=whole, default=recipe.time_steps, help="number of time-steps T")
    add("--reset", default=recipe.reset, choices=RESETS, help="reset of the neurons that fire")
    add("--surrogate", default=recipe.surrogate, choices=SURROGATES, help="slope of the neurons in training")
    add("--epochs", type=whole, default=recipe.epochs, help="passes over the training images")
    add("--batch-size", type=whole, default=recipe.batch_size, help="images per step")
    add("--optimizer", default=recipe.optimizer, choices=OPTIMIZERS, help=f"sgd has a momentum of {MOMENTUM}")
    add("--lr", type=number, default=recipe.lr, help="learning rate at the start")
    add("--schedule", default=recipe.schedule, choices=SCHEDULES, help="it falls to 0 by batches or by epochs")
    add("--weight-decay", type=number, default=recipe.weight_decay, help="weight decay")
    add("--augmentation", default=recipe.augmentation, choices=AUGMENTATIONS, help="random changes of the inputs")
    add("--mixed-precision", action="store_true", help="compute the losses in bfloat16 where that is safe")
    add("--seed", type=whole, default=recipe.seed, help="seed of weights, batches and random starts")
    add_device(parser)
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    check_folder("--out", options.out)
    with usage("--data "):
        options.data = absolute(options.data)
    with usage():
        recipe = Recipe(
            **{field.name: getattr(options, field.name) for field in fields(Recipe) if field.name != "events"}
        )
        recipe.check_inputs(source(recipe.data).shape(recipe.framing))
    _check_used(options)
    start = resume_point(options.out, recipe)
    if start is not None and start.epoch >= recipe.epochs:
        print(f"{options.out} is trained already: {start.epoch} of {recipe.epochs} epochs")
    else:
        if start is not None:
            print(f"resuming after epoch {start.epoch} of {recipe.epochs}", flush=True)
        _train(recipe, options)
    print(f"next: art-snn evaluate --checkpoint {options.out}")
    return 0


def _check_used(options: argparse.Namespace) -> None:
    """Raise UsageError for an option that was given, and that this training would not read."""
    default, data = Recipe(), source(options.data)
    stepped, rule = options.defence in ("madry-pgd", "trades"), get_rule(options.rule)
    by_defence, by_data = f"does nothing with --defence {options.defence}", f"does nothing with --data {options.data}"
    for name, used, why in (
        ("beta", options.defence == "trades", by_defence),
        ("eps_step", stepped, by_defence),
        ("max_iter", stepped, by_defence),
        ("gamma", hasattr(rule, "gamma"), f"does nothing with --rule {rule.name}, which has no gamma"),
        ("split_by", data.events, by_data),
        ("test_share", data.events, by_data),
    ):
        check_used(f"--{name.replace('_', '-')}", getattr(options, name), getattr(default, name), used, why)


def _train(recipe: Recipe, options: argparse.Namespace) -> None:
    """Train, and print the accuracies that come of it."""
    data = load_data(recipe, verbose=not options.quiet)
    try:
        classifier, _ = train(recipe, data, options.out, device_type=options.device, verbose=not options.quiet)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command resumes after the last epoch in {options.out}")
        raise
    part = stratified_part(data.y_test, REPORTED)
    x, y = data.x_test[part], data.y_test[part]
    attack_spec = PGD(eps=recipe.eps)  # the default of art-snn evaluate --checkpoint
    examples = attack_spec.make(classifier).generate(x, y)
    attack = f"PGD, {attack_spec.steps} steps, eps {recipe.eps:g}, {recipe.gradient_rule!r}, {len(x)} test images"
    print(f"clean accuracy  {accuracy(classifier.predict(x), y)}")
    print(f"robust accuracy {accuracy(classifier.predict(examples), y)}  ({attack})")
