"""What the commands' options share: numbers, names, files that can be written."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

import torch

from art_snn.errors import UsageError


class OneLineParser(argparse.ArgumentParser):
    """Say what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def number(text: str) -> float:
    """Return a number; an error that names the text otherwise."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def whole(text: str) -> int:
    """Return a whole number; an error that names the text otherwise."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def names(text: str, option: str) -> list[str]:
    """Return names that are separated by commas, each once, in lower case."""
    found = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not found:
        raise UsageError(f"{option} names nothing")
    return list(dict.fromkeys(found))


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    default = "gpu" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="'gpu' (falls back to the CPU) or 'cpu'")


def check_device(device: str) -> None:
    """Raise UsageError unless ``device`` is "gpu" or "cpu"."""
    if device not in ("gpu", "cpu"):
        raise UsageError(f"--device must be 'gpu' or 'cpu', got {device!r}")


def check_eps(eps: float) -> None:
    """Raise UsageError unless ``eps`` is a finite number > 0."""
    if not 0 < eps < float("inf"):
        raise UsageError(f"--eps must be a finite number > 0, got {eps:g}")


def check_writable(option: str, path: Path | None) -> None:
    """Raise UsageError unless a file can be written at ``path``."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{option} {str(path)!r} is a folder; name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {str(path)!r}: the folder {str(path.parent)!r} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option} {str(path)!r}: the folder {str(path.parent)!r} is not writable")


def check_folder(option: str, path: Path) -> None:
    """Raise UsageError unless a folder is at ``path`` and writable, or can be made there."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option} {str(path)!r} is a file; name a folder")
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"{option} {str(path)!r}: {str(existing)!r} is not a writable folder")
