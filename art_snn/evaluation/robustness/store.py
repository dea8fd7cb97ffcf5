"""What is finished, in a folder: a file for each piece of work, written whole, of one evaluation and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from zipfile import BadZipFile

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from art_snn.errors import BusyError, ResultsError
from art_snn.files import write_atomic, write_text

FORMAT = 1
_MANIFEST, _LOCK = "evaluation.json", ".lock"
Arrays = dict[str, np.ndarray]


class PieceStore:
    """Keep pieces of an evaluation in a folder, or nowhere; use it in a ``with`` block, which locks the folder.

    Args:
        folder: Where; None keeps nothing.
        identity: What the results depend on, by names for messages.

    Raises:
        ResultsError: The folder holds another evaluation, or is a file. Nothing is changed then.
        BusyError: Another process works in the folder.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, str]) -> None:
        self._folder, self._identity = folder, dict(identity)
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> PieceStore:
        if self._folder is None:
            return self
        if self._folder.is_file():
            raise ResultsError(f"{self._folder} is a file; name a folder")
        self._check()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / _LOCK, thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise BusyError(f"another process works in {self._folder}; wait for it, or give another folder") from None
        if not (self._folder / _MANIFEST).is_file():
            content = {"format": FORMAT, "identity": self._identity}
            write_text(self._folder / _MANIFEST, json.dumps(content, indent=1) + "\n")
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

    def _check(self) -> None:
        """Raise ResultsError where the folder holds another evaluation."""
        file = self._folder / _MANIFEST if self._folder is not None else Path(_MANIFEST)
        if not file.is_file():
            return
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            version, identity = content["format"], dict(content["identity"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(file, error) from None
        if version != FORMAT:
            raise ResultsError(f"{file} has format {version!r}, this art_snn writes {FORMAT}; give another folder")
        names = [name for name in self._identity if identity.get(name) != self._identity[name]]
        if names:
            shown = [f"{name} ({_short(identity.get(name))}, now {_short(self._identity[name])})" for name in names]
            raise ResultsError(
                f"{self._folder} holds an evaluation with other {', '.join(shown)}; give another folder, or the same "
                "network, data and settings"
            )


def _damaged(file: Path, error: Exception) -> ResultsError:
    return ResultsError(f"{file} is damaged ({error}); delete it, and it is made again")


def _short(value: str | None) -> str:
    text = "none" if value is None else value
    return text if len(text) <= 60 else f"{text[:57]}..."
