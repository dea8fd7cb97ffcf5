"""``art-snn evaluate``: attack a spiking network through every gradient rule."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from art_snn.attacks import FGSM, PAPER_STEPS, PGD, Attack, attack_names, make_attack
from art_snn.checks import check_count, check_positive
from art_snn.commands.options import (
    HIDDEN,
    add_command,
    add_device,
    check_used,
    check_writable,
    given,
    names,
    number,
    numbers,
    usage,
    whole,
)
from art_snn.commands.targets import NETWORK, add_target, check_target, load_target
from art_snn.data import stratified_part
from art_snn.errors import DataError, UsageError
from art_snn.evaluation import evaluate_rules
from art_snn.evaluation.evaluate import WORST
from art_snn.evaluation.report import plot, sizes_text, steps_text, text_table, write_csv, write_json
from art_snn.evaluation.rows import package_versions
from art_snn.ranges import check_range
from art_snn.rules import HART, PAPER_RULES, GradientRule, get_rule, rule_names
from art_snn.snn.dynamics import RESETS
from art_snn.training import DIGITS_RECIPE, Recipe
from art_snn.training.recipe import OF_ARCHITECTURES

PLOT_FORMATS = (".png", ".svg", ".pdf")
STEPPED = {"eps_step": "eps_step", "max_iter": "steps"}  # options, and what attacks call them


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
    attacks = f"attacks, separated by commas: {', '.join(attack_names())}"
    add_target(parser)
    rules = f"gradient rules, separated by commas, of {', '.join(rule_names())}"
    add("--rules", default=",".join(PAPER_RULES), help=rules)
    add("--attacks", default=f"{FGSM.name},{PGD.name}", help=attacks)
    eps = f"several are separated by commas, and 8/255 is a number (default: the checkpoint's, or {recipe.eps})"
    add("--eps", type=numbers, help=f"largest change of a pixel (L-infinity), in [0, 1]; {eps}", **HIDDEN)
    trained = "where it trained on PGD's examples"
    step = f"(default: the checkpoint's {trained}, or eps / 4)"
    add("--eps-step", type=number, help=f"step of attacks with steps {step}", **HIDDEN)
    steps = f"(default: the checkpoint's {trained}, or {PAPER_STEPS})"
    add("--max-iter", type=whole, help=f"steps of attacks with steps {steps}", **HIDDEN)
    add("--samples", type=whole, help="test samples to attack, every class in its share (default: all)", **HIDDEN)
    gamma = f"(default: the checkpoint's, or {recipe.gamma} for digits)"
    add("--gamma", type=number, help=f"gamma of HART, or without HART of all rules that have one {gamma}", **HIDDEN)
    decay = f"membrane retention lambda, in (0, 1]; 1 is IF (default: {recipe.decay})"
    add("--decay", type=number, help=decay, **HIDDEN)
    add(
        "--time-steps",
        type=whole,
        help=f"number of time-steps T (default: {recipe.time_steps}, or what the network of --model does to images)",
        **HIDDEN,
    )
    add("--reset", choices=RESETS, help=f"what a spike does to the membrane (default: {recipe.reset})", **HIDDEN)
    add("--seed", type=whole, help=f"seed of weights and batches (default: {recipe.seed})", **HIDDEN)
    add_device(parser)
    add("--json", type=Path, metavar="FILE", help="write settings and rows here as JSON")
    add("--csv", type=Path, metavar="FILE", help="write rows here as CSV")
    add("--plot", type=Path, metavar="FILE", help="draw the rows here (.png, .svg or .pdf)")
    add("--quiet", action="store_true", help="no progress bars")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    verbose = not options.quiet
    samples = getattr(options, "samples", None)
    _check(options)
    with usage():
        recipe = replace(DIGITS_RECIPE, **given(options, NETWORK))
        attacks, rules = _attacks(options, recipe), _rules(options)
        if samples is not None:
            check_count("samples", samples)
    target = load_target(options, recipe, verbose)
    recipe, classifier, data = target.recipe, target.classifier, target.data
    if options.checkpoint:
        attacks, rules = _attacks(options, recipe), _rules(options, recipe)
    x, y = data.x_test, data.y_test
    if samples is not None:
        part = stratified_part(y, samples)
        x, y = x[part], y[part]
    check_range(f"the test data of {recipe.title}", x, classifier.clip_values, DataError)
    sizes = sizes_text(attacks)
    how = ", ".join(filter(None, (f"{len(x)} test images", sizes, steps_text(attacks))))
    print(f"{target.title}; {how}", flush=True)
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
        chosen = f"{'given' if hasattr(options, 'gamma') else 'by default'}, not tuned"
        trained = options.checkpoint or not options.model
        settings = _settings(recipe, attacks) if trained else {"model": options.model, "data": recipe.data}
        settings |= {"trained_epochs": target.epochs, "samples": len(x), "gamma_chosen": chosen}
        settings |= {"rules": [repr(rule) for rule in rules], "attacks": [repr(attack) for attack in attacks]}
        write_json(rows, settings | {"confidence": 0.95, "versions": package_versions()}, options.json)
    if options.csv:
        write_csv(rows, options.csv)
    if options.plot:
        plot(rows, ", ".join(filter(None, (target.name, sizes.replace("eps=", "ε=")))), options.plot)
    return 0


def _attacks(options: argparse.Namespace, recipe: Recipe) -> list[Attack]:
    """Return the chosen attacks, for every eps, with the recipe's settings where the options have none."""
    chosen, titles = names(options.attacks, "--attacks"), ", ".join(names(options.attacks, "--attacks"))
    settings = {name: getattr(options, option) for option, name in STEPPED.items() if hasattr(options, option)}
    sizes = getattr(options, "eps", [recipe.eps])
    attacks = [_attack(name, recipe.attack_settings(size), settings) for name in chosen for size in sizes]
    check_used(options, "eps", any(attack.eps for attack in attacks), f"does nothing with {titles}, which has no eps")
    for option, name in STEPPED.items():
        missing = "has no steps"
        if any(hasattr(attack, "steps") for attack in attacks):
            missing = "chooses the size of its steps"
        has_it = any(hasattr(attack, name) for attack in attacks)
        check_used(options, option, has_it, f"does nothing with {titles}, which {missing}")
    return list(dict.fromkeys(attacks))


def _attack(name: str, trained: dict[str, Any], settings: dict[str, Any]) -> Attack:
    """Return an attack; the number and size of steps in a training are for attacks that have both."""
    attack = make_attack(name, eps=trained["eps"], **settings)
    return make_attack(name, **trained | settings) if hasattr(attack, "eps_step") else attack


def _rules(options: argparse.Namespace, trained: Recipe | None = None) -> list[GradientRule]:
    """Return the chosen rules: that of the training, if any, with its gamma, and those that ``--gamma`` is for.

    It is for HART, or without HART for all rules that have one.
    """
    rules = [get_rule(name) for name in names(options.rules, "--rules")]
    if trained is not None:
        own = trained.gradient_rule
        rules = [own if rule.name == own.name else rule for rule in rules]
    takers = [rule for rule in rules if rule.name == HART.name] or [rule for rule in rules if hasattr(rule, "gamma")]
    titles = ", ".join(rule.name for rule in rules)
    check_used(options, "gamma", bool(takers), f"does nothing with --rules {titles}, without a gamma")
    gamma = given(options, ["gamma"])
    return [replace(rule, **gamma) if rule in takers else rule for rule in rules]  # type: ignore[type-var]


def _settings(recipe: Recipe, attacks: list[Attack]) -> dict[str, Any]:
    """Return the recipe's settings, those of its attacks under "trained_...", and those of the attacks here."""
    settings = asdict(recipe)
    if recipe.model is not None:  # whose neurons have their own
        settings = {name: value for name, value in settings.items() if name not in OF_ARCHITECTURES}
    for option, name in (("eps", "eps"), *STEPPED.items()):
        values = _values(attacks, name)
        settings[f"trained_{option}"] = settings[option]
        settings[option] = values if len(values) > 1 else values[0] if values else None
    return settings


def _values(attacks: list[Attack], name: str) -> list[Any]:
    """Return what the attacks have for a setting, each value once; 0 for an eps that none has."""
    values = dict.fromkeys(getattr(attack, name) for attack in attacks if getattr(attack, name, None))
    return list(values) or ([0.0] if name == "eps" else [])


def _check(options: argparse.Namespace) -> None:
    """Raise UsageError where options contradict one another, or a file cannot be written."""
    check_target(options)
    with usage():
        for size in given(options, ("eps",)).get("eps", []):
            check_positive("--eps", size)
    if options.plot and options.plot.suffix not in PLOT_FORMATS:
        raise UsageError(f"--plot must end in {', '.join(PLOT_FORMATS)}, got {str(options.plot)!r}")
    taken: dict[Path, str] = {}
    for name in ("json", "csv", "plot"):
        path = getattr(options, name)
        check_writable(f"--{name}", path)
        if path is not None and (other := taken.setdefault(path.resolve(), name)) != name:
            raise UsageError(f"--{other} and --{name} both name {str(path)!r}; the second would overwrite the first")
