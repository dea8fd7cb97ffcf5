"""``art-snn evaluate``: attack a spiking network through every gradient rule."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from art_snn.attacks import FGSM, PAPER_STEPS, PGD, Attack, attack_names, make_attack
from art_snn.checks import check_count
from art_snn.commands.options import add_command, add_device, check_writable, names, number, numbers, usage, whole
from art_snn.data import stratified_part
from art_snn.errors import UsageError
from art_snn.evaluation import evaluate_rules
from art_snn.evaluation.evaluate import WORST
from art_snn.evaluation.report import plot, text_table, write_csv, write_json
from art_snn.evaluation.rows import package_versions
from art_snn.rules import HART, GradientRule, get_rule, rule_names
from art_snn.snn.dynamics import RESETS
from art_snn.training import DIGITS_RECIPE, load_data, load_trained, read_checkpoint, train_cached

PLOT_FORMATS = (".png", ".svg", ".pdf")
EPS = 0.1  # where no checkpoint has another
STEPPED = {"eps_step": "eps_step", "max_iter": "steps"}  # options, and what attacks call them
NETWORK = ("decay", "time_steps", "reset", "seed")  # settings that a checkpoint has already


def add_parser(commands: Any) -> None:
    """Add the command's options."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        summary="attack a spiking network through every gradient rule",
        description="Train a spiking network on scikit-learn's digits (or take it from the cache, or from a checkpoint "
        "of art-snn train), attack it with ART through each gradient rule, and print clean accuracy, attack success "
        "rate (ASR) and robust accuracy with 95 % confidence intervals.",
    )
    add, recipe = parser.add_argument, DIGITS_RECIPE
    hide: Any = {"default": argparse.SUPPRESS}  # its help says what the default is
    attacks = f"attacks, separated by commas: {', '.join(attack_names())}"
    add("--checkpoint", type=Path, metavar="FOLDER", help="evaluate this run, or checkpoint, of art-snn train")
    add("--rules", default=",".join(rule_names()), help="gradient rules, separated by commas")
    add("--attacks", default=f"{FGSM.name},{PGD.name}", help=attacks)
    eps = f"several are separated by commas, and 8/255 is a number (default: the checkpoint's, or {EPS})"
    add("--eps", type=numbers, help=f"largest change of a pixel (L-infinity), in [0, 1]; {eps}", **hide)
    add("--eps-step", type=number, help="step of attacks with steps (default: eps / 4)", **hide)
    add("--max-iter", type=whole, help=f"steps of attacks with steps (default: {PAPER_STEPS})", **hide)
    add("--samples", type=whole, help="test samples to attack, every class in its share (default: all)", **hide)
    add("--gamma", type=number, help=f"gamma of HART (default: the checkpoint's, or {recipe.gamma} for digits)", **hide)
    add("--decay", type=number, help=f"membrane retention lambda, in (0, 1]; 1 is IF (default: {recipe.decay})", **hide)
    add("--time-steps", type=whole, help=f"number of time-steps T (default: {recipe.time_steps})", **hide)
    add("--reset", choices=RESETS, help=f"what a spike does to the membrane (default: {recipe.reset})", **hide)
    add("--seed", type=whole, help=f"seed of weights and batches (default: {recipe.seed})", **hide)
    add_device(parser)
    add("--json", type=Path, metavar="FILE", help="write settings and rows here as JSON")
    add("--csv", type=Path, metavar="FILE", help="write rows here as CSV")
    add("--plot", type=Path, metavar="FILE", help="draw the rows here (.png, .svg or .pdf)")
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    verbose = not options.quiet
    network = {name: getattr(options, name) for name in NETWORK if hasattr(options, name)}
    gamma, samples = getattr(options, "gamma", None), getattr(options, "samples", None)
    _check(options, network)
    with usage():
        attacks = _attacks(options, EPS)
        rules = _with_gamma([get_rule(name) for name in names(options.rules, "--rules")], gamma)
        recipe = replace(DIGITS_RECIPE, **network)
        if samples is not None:
            check_count("samples", samples)
    if options.checkpoint:
        checkpoint = read_checkpoint(options.checkpoint)
        recipe, classifier = load_trained(checkpoint, device_type=options.device)
        attacks = _attacks(options, recipe.eps)
        data, epochs = load_data(recipe, verbose=verbose), checkpoint.epoch
        source = f"{recipe.defence}, eps {recipe.eps:g}, {epochs} of {recipe.epochs} epochs"
    else:
        data, epochs = load_data(recipe), recipe.epochs
        classifier, cached = train_cached(recipe, data, device_type=options.device, verbose=verbose)
        source = "from the cache" if cached else "trained now"
    if gamma is None:
        trained = recipe.gradient_rule  # with the gamma of the training
        rules = [trained if rule.name == trained.name else rule for rule in rules]
    x, y = data.x_test, data.y_test
    if samples is not None:
        part = stratified_part(y, samples)
        x, y = x[part], y[part]
    sizes = list(dict.fromkeys(attack.eps for attack in attacks if attack.eps)) or [0.0]
    shape, eps = (
        f"T={recipe.time_steps}, lambda={recipe.decay:g}, {recipe.reset} reset",
        ", ".join(f"{e:g}" for e in sizes),
    )
    print(f"{recipe.title} SNN ({source}): {shape}, seed {recipe.seed}; {len(x)} test images, eps={eps}", flush=True)
    seen, total = 0, len(rules) * len(attacks)
    with tqdm(desc="Attacking", total=total, unit="attack", disable=not verbose, leave=False) as bar:

        def show(count: int) -> None:
            nonlocal seen
            seen += count
            bar.set_postfix({"gradients": seen})

        rows = []
        work = evaluate_rules(classifier, x, y, rules=rules, attacks=attacks, worst=len(rules) > 1, on_gradient=show)
        for row in work:
            rows.append(row)
            bar.update(row.rule != WORST)
    print(text_table(rows))
    if options.json:
        chosen = f"{'by default' if gamma is None else 'given'}, not tuned"
        settings = {**asdict(recipe), "trained_epochs": epochs, "eps": sizes[0] if len(sizes) == 1 else sizes}
        settings |= {"rules": [repr(rule) for rule in rules], "attacks": [repr(attack) for attack in attacks]}
        settings |= {"samples": len(x), "gamma_chosen": chosen, "confidence": 0.95, "versions": package_versions()}
        write_json(rows, settings, options.json)
    if options.csv:
        write_csv(rows, options.csv)
    if options.plot:
        defence = "" if recipe.defence == "none" else f"{recipe.defence}, "
        plot(rows, f"{recipe.title}, {defence}{shape.replace('lambda', 'λ')}, ε={eps}", options.plot)
    return 0


def _attacks(options: argparse.Namespace, eps: float) -> list[Attack]:
    """Return the chosen attacks, for every eps; raise UsageError for a setting that none of them has."""
    settings = {name: getattr(options, option) for option, name in STEPPED.items() if hasattr(options, option)}
    sizes = getattr(options, "eps", [eps])
    chosen = names(options.attacks, "--attacks")
    attacks = [make_attack(name, eps=size, **settings) for name in chosen for size in sizes]
    if hasattr(options, "eps") and not any(attack.eps for attack in attacks):
        raise UsageError(f"--eps: {', '.join(chosen)} has no eps; leave it out")
    for option, name in STEPPED.items():
        if name in settings and not any(hasattr(attack, name) for attack in attacks):
            raise UsageError(f"--{option.replace('_', '-')}: {', '.join(chosen)} has no steps; leave it out")
    return list(dict.fromkeys(attacks))


def _check(options: argparse.Namespace, network: dict[str, Any]) -> None:
    """Raise UsageError where options contradict one another, or a file cannot be written."""
    if options.checkpoint and network:
        option = f"--{next(iter(network)).replace('_', '-')}"
        raise UsageError(f"{option} contradicts --checkpoint, which has its own; leave it out")
    if options.plot and options.plot.suffix not in PLOT_FORMATS:
        raise UsageError(f"--plot must end in {', '.join(PLOT_FORMATS)}, got {str(options.plot)!r}")
    for name in ("json", "csv", "plot"):
        check_writable(f"--{name}", getattr(options, name))


def _with_gamma(rules: Sequence[GradientRule], gamma: float | None) -> list[GradientRule]:
    """Return the rules with a gamma, if one is given: HART's, or without HART that of all rules that have one."""
    if gamma is None:
        return list(rules)
    takers = [rule for rule in rules if rule.name == HART.name] or [rule for rule in rules if hasattr(rule, "gamma")]
    if not takers:
        raise UsageError(f"--gamma: none of {', '.join(rule.name for rule in rules)} has a gamma; leave it out")
    return [replace(rule, gamma=gamma) if rule in takers else rule for rule in rules]  # type: ignore[type-var]
