"""Rows of a grid in a folder: a file for each row, written whole, and a lock for each that is being worked on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from art_snn.errors import ResultsError
from art_snn.evaluation.rows import GridRow
from art_snn.files import write_text

FORMAT = 1
_LOCKS = ".locks"
_AGAIN = "run art-snn paper again, into another folder"


class ResultStore:
    """A folder of results, made if missing: finished rows, and locks of those who work on others.

    A lock goes with its process, also when that is killed.

    Raises:
        ResultsError: A file is there, or results of art-snn 0.1.0.
    """

    def __init__(self, folder: Path) -> None:
        check_results(folder)
        (folder / _LOCKS).mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._held: dict[str, FileLock] = {}

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that have no row yet, in their order."""
        files = set(self.folder.iterdir())
        return [key for key in keys if self._file(key) not in files]

    def claim(self, keys: Sequence[str]) -> str | None:
        """Return the first key that has no row and that nobody works on, and lock it; None if there is none."""
        for key in self.missing(keys):
            lock = FileLock(self.folder / _LOCKS / key, thread_local=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            if not self._file(key).exists():
                self._held[key] = lock
                return key
            lock.release()  # finished by another process a moment ago
        return None

    def finish(self, key: str, row: GridRow) -> bool:
        """Write a row and give up its lock; return False if the row was there already, which is kept then."""
        is_new = not self._file(key).exists()
        if is_new:
            text = json.dumps({"format": FORMAT, "written": time.time(), "row": row.to_json()}, indent=1)
            write_text(self._file(key), text + "\n")
        if key in self._held:
            with suppress(OSError):  # some systems keep files that are open
                (self.folder / _LOCKS / key).unlink()
            self._held.pop(key).release()
        return is_new

    def release(self) -> None:
        """Give up all locks of this store."""
        while self._held:
            self._held.popitem()[1].release()

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def read_rows(folder: Path) -> list[GridRow]:
    """Return all rows of a folder, in the order in which they landed; nothing is written.

    Raises:
        ResultsError: It is a file, or holds results of art-snn 0.1.0, or a file that is damaged or of another format.
    """
    check_results(folder)
    files = [path for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]+\.json", path.name)]
    landed = sorted(((*_read(path), path) for path in files), key=lambda entry: (entry[0], entry[2]))
    return [row for _, row, _ in landed]


def _read(file: Path) -> tuple[float, GridRow]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version = content["format"]
        if version == FORMAT:
            row = GridRow.from_json(content["row"])
            if row.key != file.stem:
                raise ValueError(f"it holds the row {row.key[:12]}")
            return content["written"], row
    except ResultsError as error:
        raise ResultsError(f"{file} cannot be read: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{file} is damaged ({error}); delete it, and art-snn paper makes it again") from None
    raise ResultsError(f"{file} has format {version!r}, and this art_snn reads format {FORMAT}; {_AGAIN}")


def check_results(folder: Path) -> None:
    """Raise ResultsError where a file is in the place of a folder of results, or results of art-snn 0.1.0 are in it."""
    beside = [folder.parent / "results.sqlite"] if folder.name == "results" else []  # as art-snn paper has it
    for path in (folder, folder / "results.sqlite", *beside):
        if path.is_file():
            reason = "results are kept in a folder; those of art-snn 0.1.0 cannot be read"
            raise ResultsError(f"{path} is a file, and {reason}: {_AGAIN}")
