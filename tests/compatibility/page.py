"""The page of the documentation that the table makes: ``python -m tests.compatibility.page`` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from art_snn.files import write_atomic
from tests.compatibility.not_applicable import NOT_APPLICABLE
from tests.compatibility.rows import ROWS
from tests.compatibility.table import ART_REFUSES, MISREADS, PATHS, REFUSED, WORKS, Item, status

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compatibility.md"

HEAD = """# What works of ART

This page is made from the table that drives the tests: every row is run on a trained spiking network, on images
(N, C, H, W) and on event frames (N, T, C, H, W), and its effect is asserted: a white-box attack leaves
little or no accuracy, a black-box attack changes predictions, and an attack that returns its inputs fails the test.
Where no effect is asserted, the note says so, and why, or what is asserted instead. ART 1.20.1, torch 2.13 to 2.15.

**Gradient** says by which path a class takes gradients of the input; the tests measure it, and compare the gradients
with the rule's, also those that go through the gradients of parameters. `model` is autograd through
`classifier.model`, by the class itself or by a classifier that it builds around the model; `get_activations` and
`_predict_framework` are autograd through these methods. Rows without an entry need no such gradient.

**Images**, **Events**: *works*; *ART fails* is a failure of ART's own, with any classifier, which the tests check with
a plain `PyTorchClassifier`, so that a repair is noticed; *refused* is art_snn's
{class}`~art_snn.errors.UnsupportedInputError`, before any work, for preprocessors that fail with the plain classifier,
too, or misread event frames; *misreads*: ART runs, and takes the axes of event frames for others, which nothing in its
calls shows; a dash: not made for such inputs.
"""

WORDS = {"fails": "ART fails", "no": "-"}


def word(item: Item, inputs: str) -> str:
    text = WORDS.get(status(item, inputs), status(item, inputs))
    if status(item, inputs) == "fails" and item.link:
        return f"[{text}]({item.link})"
    return text


def note(item: Item) -> str:
    parts = [item.note] if item.note else []
    if item.no_effect:
        parts.append(f"no effect asserted: {item.no_effect}")
    errors = dict.fromkeys(error for error in (item.art_fails, item.events_fail) if error)
    parts += [f"ART's error: `` {error} ``" if "`" in error else f"ART's error: `{error}`" for error in errors]
    if item.link and "fails" not in (status(item, "images"), status(item, "events")):
        parts.append(f"[source]({item.link})")
    if item.needs:
        parts.append("needs " + ", ".join(f"`{package}`" for package in item.needs))
    return "; ".join(parts)


def family(items: Sequence[Item]) -> str:
    rows = [
        [
            item.name,
            ", ".join(f"`{path}`" for path in PATHS if path in item.gradient),
            word(item, "images"),
            word(item, "events"),
            note(item),
        ]
        for item in items
    ]
    return tabulate(rows, headers=["class", "gradient", "images", "events", "note"], tablefmt="github")


def summary() -> str:
    families = list(dict.fromkeys(item.family for item in ROWS))
    failing = ("fails", ART_REFUSES, MISREADS)
    rows = []
    for name in [*families, "all"]:
        items = [item for item in ROWS if name in (item.family, "all")]
        row: list[object] = [name]
        for inputs in ("images", "events"):
            states = [status(item, inputs) for item in items]
            row += [len(states) - states.count("no"), states.count(WORKS)]
            row += [states.count(REFUSED)] if inputs == "events" else []
            row += [sum(states.count(kind) for kind in failing)]
        rows.append(row)
    headers = [
        "family",
        "images: rows",
        "work",
        "ART fails",
        "events: rows",
        "work",
        "refused",
        "fails or misreads",
    ]
    return tabulate(rows, headers=headers, tablefmt="github")


def render() -> str:
    """Return the page."""
    families = list(dict.fromkeys(item.family for item in ROWS))
    parts = [HEAD, "## In numbers\n", summary(), ""]
    for name in families:
        parts += [f"## {name}\n", family([item for item in ROWS if item.family == name]), ""]
    parts += ["## Not for classifiers of this kind\n"]
    rows = [[f"`{name.split(':')[-1]}`", reason] for name, reason in sorted(NOT_APPLICABLE.items())]
    parts += [tabulate(rows, headers=["class", "why"], tablefmt="github"), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    write_atomic(PAGE, lambda file: file.write_text(render(), encoding="utf-8"))
