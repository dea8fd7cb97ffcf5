"""What the commands' options share: parsers, numbers, names, places that can be written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch

from art_snn.errors import UsageError

# For options of which it matters whether a user gave them: others are not there. Their help says what is done then.
HIDDEN: dict[str, Any] = {"default": argparse.SUPPRESS}
RECORDINGS = "an .npz, a folder of N-MNIST's (or a similar data set's) own files, or one that SpikingJelly made"


class OneLineParser(argparse.ArgumentParser):
    """Say what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


class DefaultsHelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show the defaults that say something: not those of switches, nor None."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default is not None and action.default is not False
        return super()._get_help_string(action) if shown else action.help


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], *, summary: str, description: str
) -> OneLineParser:
    """Add a command to what ``add_subparsers`` returned, and return its parser; ``run`` returns the exit code."""
    parser: OneLineParser = commands.add_parser(
        name, help=summary, description=description, formatter_class=DefaultsHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device", default=default_device(), choices=("gpu", "cpu"), help="'gpu' falls back to the CPU"
    )


def default_device() -> str:
    """Return the device that commands work on unless told otherwise."""
    return "gpu" if torch.cuda.is_available() else "cpu"


@contextmanager
def usage(prefix: str = "") -> Iterator[None]:
    """Raise the block's ValueError, which is about an option's value, as UsageError, with words before its message."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{prefix}{error}") from None


def one_line(text: str) -> str:
    """Return a text with its line breaks, and what surrounds them, as single spaces."""
    return " ".join(text.split())


def number(text: str) -> float:
    """Return a number, which may be a fraction such as 8/255; an error that names the text otherwise."""
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def numbers(text: str) -> list[float]:
    """Return numbers that are separated by commas, each once."""
    return list(dict.fromkeys(number(part) for part in text.split(",")))


def whole(text: str) -> int:
    """Return a whole number; an error that names the text otherwise."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def workers(text: str) -> int:
    """Return a number of workers, >= 1, or -1 for as many as there are cores."""
    count = whole(text)
    if count < 1 and count != -1:
        raise argparse.ArgumentTypeError(f"must be >= 1, or -1, got {count}")
    return count


def names(text: str, option: str) -> list[str]:
    """Return names that are separated by commas, each once, in lower case."""
    chosen = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not chosen:
        raise UsageError(f"{option} names nothing")
    return list(dict.fromkeys(chosen))


def flag(name: str) -> str:
    """Return an option as a user writes it, such as "--eps-step" for "eps_step"."""
    return f"--{name.replace('_', '-')}"


def given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return those of the names that the options have: what is added with ``HIDDEN`` is there if a user wrote it."""
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def check_used(options: argparse.Namespace, name: str, used: bool, why: str) -> None:
    """Raise UsageError where a user gave an option, added with ``HIDDEN``, that nothing reads."""
    if hasattr(options, name) and not used:
        raise UsageError(f"{flag(name)} {why}; leave it out")


def check_sizes(options: argparse.Namespace, most: float) -> None:
    """Raise UsageError where eps, or a step, is larger than the range of the inputs, such as 8 for 8/255."""
    for name, values in given(options, ("eps", "eps_step")).items():
        for value in values if isinstance(values, list) else [values]:
            if value > most:
                cure = "fractions such as 8/255 are numbers"
                raise UsageError(f"{flag(name)} is {value:g}, and inputs have a range of {most:g}; {cure}")


def check_writable(option: str, path: Path | None) -> None:
    """Raise UsageError unless a file can be written at ``path``."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{option} {str(path)!r} is a folder; name a file")
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        fault = "is not writable" if path.parent.is_dir() else "does not exist"
        raise UsageError(f"{option} {str(path)!r}: the folder {str(path.parent)!r} {fault}")


def check_folder(option: str, path: Path) -> None:
    """Raise UsageError unless a folder is at ``path`` and writable, or can be made there."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option} {str(path)!r} is a file; name a folder")
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"{option} {str(path)!r}: {str(existing)!r} is not a writable folder")
