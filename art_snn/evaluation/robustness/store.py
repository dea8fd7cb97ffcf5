"""What is finished, in a folder: a file for each piece of work, written whole, of one evaluation and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from zipfile import BadZipFile

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from art_snn.errors import BusyError, ResultsError
from art_snn.evaluation.robustness.logits import same_logits
from art_snn.files import write_atomic, write_text

FORMAT = 3
_MANIFEST, _LOCK = "evaluation.json", ".lock"
PIECES = re.compile(r"(clean|confirmed|stage-\d+-\d+)\.npz|check-.+\.json")  # names of their files
Arrays = dict[str, np.ndarray]


class PieceStore:
    """Keep pieces of an evaluation in a folder, or nowhere; use it in a ``with`` block, which locks the folder.

    Args:
        folder: Where; None keeps nothing.
        identity: What the results depend on, by names for messages: texts, or logits in the form of `observed`, which
            may differ by rounding.

    Raises:
        ResultsError: The folder holds another evaluation, or pieces of nobody knows which, or is, or lies in, a file.
            Nothing is changed then.
        BusyError: Another process works in the folder.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._folder, self._identity = folder, dict(identity)
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> PieceStore:
        if self._folder is None:
            return self
        path = (self._folder, *self._folder.parents)
        for each in path:
            if each.is_file():
                raise ResultsError(f"{each} is a file; name a folder")
        made = [each for each in path if not each.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = not (self._folder / _LOCK).exists()
        lock = FileLock(self._folder / _LOCK, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise BusyError(f"another process works in {self._folder}; wait for it, or give another folder") from None
        try:
            self._begin(self._folder)
        except BaseException:
            _leave(lock, self._folder / _LOCK if fresh else None, made)
            raise
        self._lock = lock
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._lock is not None:
            self._lock.release()

    def arrays(self, key: str, work: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a piece: from its file, or worked out and written."""
        if self._folder is None:
            return work()
        file = self._folder / f"{key}.npz"
        if file.is_file():
            try:
                with np.load(file, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
            except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
                raise _damaged(file, error) from None
        made = work()
        write_atomic(file, lambda temporary: np.savez(temporary, allow_pickle=False, **made))
        return made

    def values(self, key: str, work: Callable[[], Any]) -> Any:
        """Return the plain values (those of JSON) of a piece: from its file, or worked out and written."""
        if self._folder is None:
            return json.loads(json.dumps(work()))
        file = self._folder / f"{key}.json"
        if not file.is_file():
            write_text(file, json.dumps(work(), indent=1) + "\n")
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise _damaged(file, error) from None

    def _begin(self, folder: Path) -> None:
        """Write whose pieces the folder holds; raise ResultsError where they are another evaluation's."""
        file = folder / _MANIFEST
        if file.is_file():
            self._check(file)
            return
        pieces = sorted(each.name for each in folder.iterdir() if PIECES.fullmatch(each.name))
        if pieces:
            raise ResultsError(
                f"{folder} holds pieces of an evaluation ({pieces[0]}{', ...' if len(pieces) > 1 else ''}), but no "
                f"{_MANIFEST} that says of which; give another folder, or delete the pieces"
            )
        write_text(file, json.dumps({"format": FORMAT, "identity": self._identity}, indent=1) + "\n")

    def _check(self, file: Path) -> None:
        """Raise ResultsError where a manifest is of another evaluation."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            version, identity = content["format"], dict(content["identity"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(file, error) from None
        if version != FORMAT:
            raise ResultsError(f"{file} has format {version!r}, this art_snn writes {FORMAT}; give another folder")
        names = [name for name, value in self._identity.items() if not same_logits(identity.get(name), value)]
        if names:
            shown = [f"{name} ({_short(identity.get(name))}, now {_short(self._identity[name])})" for name in names]
            raise ResultsError(
                f"{file.parent} holds an evaluation with other {', '.join(shown)}; give another folder, or the same "
                "network, data and settings"
            )


def _leave(lock: BaseFileLock, made: Path | None, folders: list[Path]) -> None:
    """Give up a lock; take away its file, and folders, that were made for it."""
    with suppress(OSError):  # some systems keep files that are open
        if made is not None:
            made.unlink()
    lock.release()
    with suppress(OSError):  # others may have written there
        for folder in folders:
            folder.rmdir()


def _damaged(file: Path, error: Exception) -> ResultsError:
    return ResultsError(f"{file} is damaged ({error}); delete it, and it is made again")


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
