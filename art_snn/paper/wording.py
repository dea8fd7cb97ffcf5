"""What rows are about, in words, and the refusal of rows that these words do not tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from art_snn.errors import ResultsError
from art_snn.evaluation import Choice, GridRow
from art_snn.evaluation.rows import Target
from art_snn.evaluation.tuning import candidates

Entry = TypeVar("Entry", bound=Target)

# Values of gamma in the papers' sweep; a search measures fewer.
SWEEP = len(candidates("hart", "gamma"))
# What tables and figures say of a line, and what they do not, although the numbers depend on it.
_SHOWN = ("dataset", "architecture", "width", "time_steps", "decay", "setting", "attack", "eps")
_HIDDEN = {
    "defence": "the target's defence",
    "eps_step": "the attack's step",
    "max_iter": "the attack's number of steps",
    "attack_repr": "the attack",
    "reset": "the reset",
    "seed": "the seed",
    "samples_sha256": "the digest of the samples",
    "target_sha256": "the digest of the target's weights",
    "source_sha256": "the digest of the weights that gradients come from",
}


def renamed(entries: Iterable[Entry], dataset: str = "", events_dataset: str = "") -> list[Entry]:
    """Return rows, or records of temporal retention, with other names of their images and events; "" keeps one."""
    return [replace(e, dataset=(events_dataset if e.events else dataset) or e.dataset) for e in entries]


def network(entry: Target) -> str:
    """Return the architecture's title, with its width where that is not its own."""
    return entry.architecture_title + ("" if entry.width is None else f", {entry.width} wide")


def star(entry: Target) -> str:
    """Return the paper's mark of robust targets."""
    return "" if entry.defence == "none" else "*"


def eps_text(row: GridRow) -> str:
    """Return eps as images have it, in 1/255, or as event frames have it, in events."""
    return f"{row.eps:.2g} events" if row.events else f"{255 * row.eps:.3g}/255"


def gamma_policy(row: GridRow) -> str:
    """Return how gamma was chosen, such that rows with the same words can be compared; "" where it was not."""
    if row.gamma_chosen == Choice.GIVEN.value:
        return f"{row.gamma_chosen}, {row.gamma}"
    is_swept = len(row.gamma_curve or ()) >= SWEEP
    return f"{row.gamma_chosen}, all {SWEEP} values" if is_swept else row.gamma_chosen


def check_comparable(rows: Sequence[GridRow]) -> None:
    """Raise ResultsError where rows of one line of a table or figure differ in something that it does not show.

    That is also how gamma was chosen, for all rows of a rule and a data set where it was tuned.
    """
    seen: dict[tuple[Any, ...], object] = {}
    for row in rows:
        line = f"{row.dataset}, {network(row)}{star(row)}, T={row.time_steps}, lambda {row.decay:g}, {row.setting}"
        line += f" {row.attack_title}, {eps_text(row)}"
        place = (*(getattr(row, name) for name in _SHOWN), star(row))
        policy_of = (*(place if row.gamma_chosen == Choice.GIVEN.value else (row.dataset,)), row.rule)
        for where, key, what, value in (
            *((line, place, text, getattr(row, name)) for name, text in _HIDDEN.items()),
            (f"{row.rule_title} on {row.dataset}", policy_of, "the choice of gamma", gamma_policy(row)),
            (f"{row.rule_title}, {line}", (*place, row.rule), "the rule", row.rule_repr),
        ):
            other = seen.setdefault((*key, what), value)
            if other != value:
                fault = f"the rows are of two experiments, {what} is {_short(other)} and {_short(value)}"
                raise ResultsError(f"{where}: {fault}; keep their results in separate folders")


def _short(value: object) -> str:
    return value[:8] if isinstance(value, str) and len(value) == 64 else repr(value)
