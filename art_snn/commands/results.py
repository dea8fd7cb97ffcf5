"""``art-snn table`` and ``art-snn figure``: reports from a grid's results."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from art_snn.commands.options import OneLineParser, check_folder, whole
from art_snn.errors import UsageError
from art_snn.evaluation import check_results, read_rows
from art_snn.paper.figures import epsilon_figure, gamma_figure, retention_figure
from art_snn.paper.published import TABLES
from art_snn.paper.tables import write_table
from art_snn.paper.wording import renamed

FIGURES = ("gamma", "retention", "epsilon")
RETENTION = "retention.json"
_RECORD: dict[str, type | tuple[type, ...]] = {
    "run": str,
    "dataset": str,
    "architecture": str,
    "defence": str,
    "decay": (int, float),
    "time_steps": int,
    "trained_time_steps": int,
    "position": int,
    "chi": (int, float),
}


def add_parsers(commands: Any) -> None:
    """Add the two commands' options."""
    table: OneLineParser = commands.add_parser(
        "table",
        help="one of the paper's tables from results, beside the published numbers",
        description="Write one of the paper's Tables 1 to 5 from the results of art-snn paper, as Markdown, LaTeX and "
        "CSV, with the published numbers beside ours.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    table.set_defaults(run=run_table)
    table.add_argument("number", type=whole, help="number of the table, 1 to 5")
    figure: OneLineParser = commands.add_parser(
        "figure",
        help="a figure from results",
        description="Draw attack success over gamma or over eps, or temporal retention, from the results of art-snn "
        "paper, as PNG and SVG.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    figure.set_defaults(run=run_figure)
    figure.add_argument("name", help=f"one of {', '.join(FIGURES)}")
    for parser in (table, figure):
        add = parser.add_argument
        add("--results", type=Path, required=True, metavar="FOLDER", help="folder of results of art-snn paper")
        add("--out", type=Path, metavar="FOLDER", help="folder to write to; that of the results if left out")
        add("--dataset", default="", metavar="NAME", help="name to give to the images; the rows' own if left out")
        add(
            "--events-name",
            default="",
            metavar="NAME",
            help="name to give to the recordings; the rows' own if left out",
        )


def run_table(options: argparse.Namespace) -> int:
    """Write a table; return the exit code."""
    if options.number not in TABLES:
        raise UsageError(f"table must be one of {', '.join(map(str, TABLES))}, got {options.number}")
    rows = _rows(options)
    files = write_table(options.number, rows, _out(options))
    print(files[0].read_text(encoding="utf-8"))
    _say(files)
    return 0


def run_figure(options: argparse.Namespace) -> int:
    """Draw a figure; return the exit code."""
    if options.name not in FIGURES:
        raise UsageError(f"figure must be one of {', '.join(FIGURES)}, got {options.name!r}")
    if options.name == "retention":
        records = _records(options.results.parent / RETENTION)
        check_folder("--out", _out(options))
        _say(retention_figure(renamed(records, options.dataset, options.events_name), _out(options)))
        return 0
    draw = gamma_figure if options.name == "gamma" else epsilon_figure
    _say(draw(_rows(options), _out(options)))
    return 0


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    check_results(options.results)
    if not options.results.exists():
        raise UsageError(f"no results in {str(options.results)!r}; art-snn paper makes some")
    check_folder("--out", _out(options))
    rows = [row.to_json() for row in read_rows(options.results)]
    return renamed(rows, options.dataset, options.events_name)


def _records(file: Path) -> list[dict[str, Any]]:
    """Return the records of temporal retention in a file; raise UsageError if it is damaged."""
    if not file.is_file():
        raise UsageError(f"no {str(file)!r}; art-snn paper writes it")
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file} is damaged: {error}") from None
    again = "run art-snn paper again, which writes it anew"
    if not isinstance(records, list):
        raise UsageError(f"{file} is damaged: it holds a {type(records).__name__}, not a list; {again}")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise UsageError(f"{file} is damaged: entry {number} is {record!r}, not an object; {again}")
        for name, kind in _RECORD.items():
            if not isinstance(record.get(name), kind) or isinstance(record[name], bool):
                found = repr(record[name]) if name in record else "missing"
                raise UsageError(
                    f"{file} is damaged, or of an older art_snn: {name} of entry {number} is {found}; {again}"
                )
    return records


def _out(options: argparse.Namespace) -> Path:
    folder: Path = options.results.parent if options.out is None else options.out
    return folder


def _say(files: list[Path]) -> None:
    print("wrote " + ", ".join(str(file) for file in files))
