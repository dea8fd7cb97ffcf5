"""``art-snn train``: train a spiking network, robustly, with checkpoints."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from art_snn.attacks import PGD, make_attack
from art_snn.commands.options import (
    HIDDEN,
    RECORDINGS,
    add_command,
    add_device,
    check_folder,
    check_sizes,
    check_used,
    default_device,
    given,
    number,
    usage,
    whole,
)
from art_snn.commands.user_models import network_maker
from art_snn.data import source, stratified_part
from art_snn.data.frames import SPLIT_BY
from art_snn.data.sources import absolute
from art_snn.evaluation import evaluate_rules
from art_snn.evaluation.report import steps_text
from art_snn.rules import get_rule, rule_names
from art_snn.snn.dynamics import RESETS
from art_snn.snn.models import architecture_names
from art_snn.training.augmentation import AUGMENTATIONS
from art_snn.training.losses import DEFENCES, STEPPED
from art_snn.training.recipe import MOMENTUM, OF_ARCHITECTURES, OPTIMIZERS, SCHEDULES, SURROGATES, Recipe
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
    add("--data", default=recipe.data, metavar="DATA", help=f"{data}, or event recordings: {RECORDINGS}")
    cut = f"how event recordings are cut into frames (default: {recipe.split_by})"
    add("--split-by", choices=SPLIT_BY, help=cut, **HIDDEN)
    binary = "frames of event recordings are 1 where there are events, not counts: what --flips changes"
    add("--binary", action="store_true", help=binary, **HIDDEN)
    add("--test-share", type=number, help="share of event recordings to test on; their own split if left out", **HIDDEN)
    own = "train the network that this function, called without arguments, returns; or FILE.py:FUNCTION"
    add("--model", metavar="MODULE:FUNCTION", help=own)
    built = "digits_net, vgg_small or vgg_dvs if left out"
    add("--architecture", choices=architecture_names(), help=built, **HIDDEN)
    width = "channels of the first layer of vgg_small and vgg_dvs; their own if left out"
    add("--width", type=whole, help=width, **HIDDEN)
    size = "inputs of a folder are brought to this size (default: 32, and 48 for events)"
    add("--image-size", type=whole, help=size, **HIDDEN)
    add("--eps", type=number, default=recipe.eps, help="largest change of a pixel (L-infinity); pixels are in [0, 1]")
    add("--eps-step", type=number, help="step of PGD (default: eps / 2)", **HIDDEN)
    add("--max-iter", type=whole, help=f"steps of PGD (default: {recipe.max_iter})", **HIDDEN)
    add("--beta", type=number, help=f"weight of TRADES' second term (default: {recipe.beta})", **HIDDEN)
    add("--rule", type=str.lower, default=recipe.rule, choices=rule_names(), help="gradient rule of the attacks")
    add("--gamma", type=number, help=f"gamma of the rule, if it has one (default: {recipe.gamma})", **HIDDEN)
    decay = f"membrane retention lambda, in (0, 1]; 1 is IF (default: {recipe.decay})"
    add("--decay", type=number, help=decay, **HIDDEN)
    steps = f"number of time-steps T (default: {recipe.time_steps}, or what the network of --model does to images)"
    add("--time-steps", type=whole, help=steps, **HIDDEN)
    add("--reset", choices=RESETS, help=f"reset of the neurons that fire (default: {recipe.reset})", **HIDDEN)
    slope = f"slope of the neurons in training (default: {recipe.surrogate})"
    add("--surrogate", choices=SURROGATES, help=slope, **HIDDEN)
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
    for name in OF_ARCHITECTURES:
        check_used(options, name, options.model is None, "contradicts --model, which has its own")
    with usage("--data "):
        options.data = absolute(options.data)
    with usage():
        recipe = Recipe(**given(options, (field.name for field in fields(Recipe))))
        recipe.check_inputs(source(recipe.data).shape(recipe.framing))
    _check_used(options)
    if not recipe.events:
        check_sizes(options, 1.0)
    start = resume_point(options.out, recipe)
    following = ["art-snn", "evaluate", "--checkpoint", str(options.out)]
    if options.model is not None:
        following += ["--model", options.model]
    if start is not None and start.epoch >= recipe.epochs:
        print(f"{options.out} is trained already: {start.epoch} of {recipe.epochs} epochs")
    else:
        if start is not None:
            print(f"resuming after epoch {start.epoch} of {recipe.epochs}", flush=True)
        if _train(recipe, options):
            following += ["--samples", str(REPORTED)]
    if options.device != default_device():
        following += ["--device", options.device]
    print(f"next: {shlex.join(following)}")
    return 0


def _check_used(options: argparse.Namespace) -> None:
    """Raise UsageError for an option that was given, and that this training would not read."""
    data, rule, stepped = source(options.data), get_rule(options.rule), options.defence in STEPPED
    by_defence, by_data = f"does nothing with --defence {options.defence}", f"does nothing with --data {options.data}"
    for name, used, why in (
        ("beta", options.defence == "trades", by_defence),
        ("eps_step", stepped, by_defence),
        ("max_iter", stepped, by_defence),
        ("gamma", hasattr(rule, "gamma"), f"does nothing with --rule {rule.name}, which has no gamma"),
        ("split_by", data.events, by_data),
        ("binary", data.events, by_data),
        ("test_share", data.events, by_data),
        ("image_size", data.fixed_shape is None, f"{by_data}, whose images are {data.fixed_shape}"),
    ):
        check_used(options, name, used, why)


def _train(recipe: Recipe, options: argparse.Namespace) -> bool:
    """Train, print the accuracies that come of it, and return whether they are of a part of the test samples."""
    make_network = None if options.model is None else network_maker(options.model)  # before data are loaded
    verbose = not options.quiet
    data = load_data(recipe, verbose=verbose)
    try:
        classifier, _ = train(
            recipe, data, options.out, device_type=options.device, verbose=verbose, make_network=make_network
        )
    except KeyboardInterrupt:
        print(f"\nstopped; the same command resumes after the last epoch in {options.out}")
        raise
    part = stratified_part(data.y_test, REPORTED)
    # By what art-snn evaluate does on the checkpoint, so that both say the same.
    attack = make_attack(PGD.name, **recipe.attack_settings())
    x, y = data.x_test[part], data.y_test[part]
    (row,) = evaluate_rules(classifier, x, y, rules=[recipe.gradient_rule], attacks=[attack])
    how = f"PGD, {steps_text([attack])}, eps {recipe.eps:g}, {row.rule_repr}, {len(part)} test images"
    if row.zero_gradients:
        how += f", the gradient of {row.zero_gradients:.1%} is all zero"
    print(f"clean accuracy  {row.clean_accuracy}")
    print(f"robust accuracy {row.robust_accuracy}  ({how})")
    return len(part) < len(data.y_test)
