"""``art-snn table`` and ``art-snn figure``: reports from the results of ``art-snn paper``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from art_snn.commands.options import HIDDEN, add_command, check_folder, check_used, whole
from art_snn.errors import UsageError
from art_snn.evaluation import GridRow, read_rows
from art_snn.paper import epsilon_figure, gamma_figure, retention_figure, write_table
from art_snn.paper.published import TABLES
from art_snn.paper.reproduction import RESULTS
from art_snn.paper.retention import read_retention
from art_snn.paper.wording import Entry, renamed


def add_parsers(commands: Any) -> None:
    """Add the two commands' options."""
    table = add_command(
        commands,
        "table",
        run_table,
        summary="one of the paper's tables from results, beside the published numbers",
        description="Write one of the paper's Tables 1 to 5 from the results of art-snn paper, as Markdown, LaTeX and "
        "CSV, with the published numbers beside ours.",
    )
    table.add_argument("number", type=whole, choices=TABLES, help="number of the table")
    figure = add_command(
        commands,
        "figure",
        run_figure,
        summary="a figure from results",
        description="Draw attack success over gamma or over eps, or temporal retention, from the results of art-snn "
        "paper, as PNG and SVG.",
    )
    figure.add_argument("name", choices=("gamma", "retention", "epsilon"), help="name of the figure")
    for parser in (table, figure):
        add = parser.add_argument
        add("--results", type=Path, required=True, metavar="FOLDER", help="the --out of art-snn paper")
        add("--out", type=Path, metavar="FOLDER", help="folder to write to; that of the results if left out")
        add("--dataset", metavar="NAME", help="name to give to the images; their own if left out", **HIDDEN)
        add("--events-name", metavar="NAME", help="name to give to the recordings; their own if left out", **HIDDEN)


def run_table(options: argparse.Namespace) -> int:
    """Write a table; return the exit code."""
    files = write_table(options.number, _rows(options), _out(options))
    print(files[0].read_text(encoding="utf-8"))
    return _say(files)


def run_figure(options: argparse.Namespace) -> int:
    """Draw a figure; return the exit code."""
    if options.name == "retention":
        records = _renamed(read_retention(options.results), options)
        return _say(retention_figure(records, _out(options)))
    draw = gamma_figure if options.name == "gamma" else epsilon_figure
    return _say(draw(_rows(options), _out(options)))


def _rows(options: argparse.Namespace) -> list[GridRow]:
    """Return the rows; they may also lie in the folder itself, as those of `art_snn.evaluation.run_grid` do."""
    if not options.results.exists():
        raise UsageError(f"no results in {str(options.results)!r}; art-snn paper makes some")
    inner = options.results / RESULTS
    rows = read_rows(inner if inner.is_dir() else options.results)
    if not rows:
        raise UsageError(f"no results in {str(options.results)!r}; art-snn paper makes some")
    return _renamed(rows, options)


def _renamed(entries: list[Entry], options: argparse.Namespace) -> list[Entry]:
    """Return entries with the names that the options give; raise UsageError where there is nothing to name."""
    for name, what, used in (
        ("dataset", "images", any(not entry.events for entry in entries)),
        ("events_name", "recordings", any(entry.events for entry in entries)),
    ):
        check_used(options, name, used, f"does nothing: the results are not of {what}")
    return renamed(entries, getattr(options, "dataset", ""), getattr(options, "events_name", ""))


def _out(options: argparse.Namespace) -> Path:
    folder: Path = options.results if options.out is None else options.out
    check_folder("--out", folder)
    return folder


def _say(files: list[Path]) -> int:
    print("wrote " + ", ".join(map(str, files)))
    return 0
