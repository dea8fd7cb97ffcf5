"""What rows are about, in words: networks, sizes, how gamma was chosen, and what tells similar rows apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from art_snn.attacks import PAPER_STEPS
from art_snn.evaluation import Choice

Row = Mapping[str, Any]

LABELS = {"hart": "HART", "stbp": "STBP", "rga": "RGA", "bptr": "BPTR", "rate": "rate gradient", "cba": "CBA"}

ARCHITECTURES = {
    "vgg11": "VGG-11",
    "resnet17": "ResNet-17",
    "vgg_dvs": "VGG-DVS",
    "vgg_small": "small VGG",
    "digits_net": "digits network",
}
# Values of gamma in a sweep; a search measures fewer.
_SWEEP = 48


def is_events(row: Row) -> bool:
    """Say whether a row is about event recordings."""
    return bool(row["architecture"] == "vgg_dvs")


def renamed(rows: Iterable[Row], dataset: str = "", events_dataset: str = "") -> list[dict[str, Any]]:
    """Return rows with other names of their data sets.

    Args:
        rows: Rows of a grid, or records of temporal retention.
        dataset: Name of the images; "" to keep it.
        events_dataset: Name of the event recordings; "" to keep it.
    """
    found = []
    for row in rows:
        name = events_dataset if is_events(row) else dataset
        found.append({**row, "dataset": name or row["dataset"]})
    return found


def architecture(row: Row) -> str:
    """Return the architecture's name, with its width where that is not its own."""
    name = ARCHITECTURES.get(row["architecture"], str(row["architecture"]))
    width = row.get("width")
    return name if width is None else f"{name}, {width:g} wide"


def star(row: Row) -> str:
    """Return the paper's mark of robust targets."""
    return "" if row["defence"] == "none" else "*"


def size(row: Row) -> str:
    """Return eps as images have it, in 1/255, or as event frames have it, in events."""
    return f"{row['eps']:.2g} events" if is_events(row) else f"{255 * row['eps']:.3g}/255"


def step(row: Row) -> float | None:
    """Return the step of PGD; None for other attacks. Rows that do not say it were made with eps / 4."""
    if row["attack"] != "pgd":
        return None
    found = row.get("eps_step")
    return round(float(row["eps"] / 4 if found is None else found), 9)


def steps(row: Row) -> int | None:
    """Return the number of steps of PGD; None for other attacks."""
    return int(row.get("max_iter") or PAPER_STEPS) if row["attack"] == "pgd" else None


def gamma_policy(row: Row) -> str:
    """Return how gamma was chosen, such that rows with the same words can be compared; "" for rules without gamma."""
    chosen = str(row["gamma_chosen"])
    if chosen == Choice.GIVEN.value:
        return f"{chosen}, {row['gamma']}"
    return f"{chosen}, all {_SWEEP} values" if len(row["gamma_curve"] or ()) >= _SWEEP else chosen


def variants(rows: Sequence[Row]) -> list[str]:
    """Return for each row what tells it apart from others of the same network, setting, attack and size.

    Only what differs somewhere is named: the rows are comparable where the words are the same. How gamma was chosen is
    left to `gamma_policy`, since rules without gamma share their rows.

    Args:
        rows: Rows of a grid.
    """
    keys: list[tuple[Any, ...]] = [(*(row[name] for name in _VISIBLE), row["width"], star(row)) for row in rows]
    texts: list[list[str]] = [[] for _ in rows]
    for value, text in _HIDDEN:
        found: dict[tuple[Any, ...], set[Any]] = defaultdict(set)
        for key, row in zip(keys, rows, strict=True):
            found[key].add(value(row))
        if all(len(values) == 1 for values in found.values()):
            continue
        keys = [(*key, value(row)) for key, row in zip(keys, rows, strict=True)]
        for words, row in zip(texts, rows, strict=True):
            if value(row) is not None:
                words.append(text(row))
    return [", ".join(words) for words in texts]


def _step_text(row: Row) -> str:
    found = step(row)
    if found is None:
        return ""
    return f"step {found:g}" if is_events(row) else f"step {255 * found:g}/255"


def _digest(name: str, label: str) -> tuple[Callable[[Row], Any], Callable[[Row], str]]:
    return lambda row: row[name], lambda row: f"{label} {row[name][:8]}"


_VISIBLE = ("dataset", "architecture", "time_steps", "decay", "setting", "attack", "eps")
# What names and headings do not say: value and text, the ones that explain the later ones first.
_HIDDEN: tuple[tuple[Callable[[Row], Any], Callable[[Row], str]], ...] = (
    (lambda row: row["defence"], lambda row: str(row["defence"])),
    (step, _step_text),
    (steps, lambda row: f"{steps(row)} steps"),
    (lambda row: row["reset"], lambda row: f"{row['reset']} reset"),
    (lambda row: row["seed"], lambda row: f"seed {row['seed']}"),
    _digest("samples_sha256", "samples"),
    _digest("target_sha256", "weights"),
    _digest("source_sha256", "surrogate"),
)
