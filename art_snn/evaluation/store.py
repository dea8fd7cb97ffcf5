"""Rows of a grid in SQLite: each lands whole, once, and several processes may write."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from art_snn.errors import ResultsError

SCHEMA = 1
# A claim is taken over when its owner has not renewed it for so long, or is dead on this machine.
STALE_S = 60.0
_RENEW_S = 10.0
_BUSY_S = 60.0


class ResultStore:
    """A results file: finished rows, and who works on which cell.

    Args:
        path: The file; made if missing.

    Raises:
        ResultsError: The file is no results file, or of another schema.
        OSError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        if path.is_dir():
            raise ResultsError(f"{path} is a folder, not a results file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                db.execute("CREATE TABLE results (key TEXT PRIMARY KEY, row TEXT NOT NULL, written REAL NOT NULL)")
                db.execute("CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, renewed REAL NOT NULL)")
                db.execute(f"PRAGMA user_version = {SCHEMA:d}")
            else:
                _check_schema(path, version)

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows, in the order in which they landed."""
        return read_rows(self.path)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that have no row yet, in their order."""
        with self._transaction() as db:
            done = {key for (key,) in db.execute("SELECT key FROM results")}
        return [key for key in keys if key not in done]

    def claim(self, keys: Sequence[str]) -> str | None:
        """Return the first key that has no row and that nobody works on, and claim it; None if there is none."""
        with self._transaction() as db:
            done = {key for (key,) in db.execute("SELECT key FROM results")}
            held = {key: (owner, renewed) for key, owner, renewed in db.execute("SELECT * FROM claims")}
            for key in keys:
                if key in done or (key in held and not _abandoned(*held[key])):
                    continue
                db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (key, self.owner, time.time()))
                return key
        return None

    def finish(self, key: str, row: Mapping[str, Any]) -> bool:
        """Write a row and give up the claim; say False if the row was there already, which is kept then."""
        with self._transaction() as db:
            text = json.dumps(dict(row), sort_keys=True)
            added = db.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?)", (key, text, time.time())).rowcount
            db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self.owner))
        return added == 1

    def release(self) -> None:
        """Give up all of this store's claims."""
        with self._transaction() as db:
            db.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew this store's claims from a thread inside the block, and give up what is left of them after it."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(_RENEW_S):
                with self._transaction() as db:
                    db.execute("UPDATE claims SET renewed = ? WHERE owner = ?", (time.time(), self.owner))

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.release()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give a connection with the write lock; all of the block's changes land, or none."""
        with (
            _plain_errors(self.path),
            closing(sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)) as db,
        ):
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return all rows of a results file, in the order in which they landed; the file need not be writable.

    Raises:
        ResultsError: The file is no results file, or of another schema.
        OSError: It is missing, or cannot be read.
    """
    # "rw" makes no file, reads those that are write-protected, and rolls back what a killed process left unfinished.
    address = f"{path.absolute().as_uri()}?mode=rw"
    with _plain_errors(path), closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as db:
        _check_schema(path, db.execute("PRAGMA user_version").fetchone()[0])
        found = db.execute("SELECT row FROM results ORDER BY written, key").fetchall()
    return [json.loads(text) for (text,) in found]


def _check_schema(path: Path, version: int) -> None:
    if version != SCHEMA:
        raise ResultsError(f"{path} has schema {version}, and this art_snn reads schema {SCHEMA}; name another file")


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as OSError or ResultsError that name the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"cannot use the results file {str(path)!r}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise ResultsError(f"{path} is no results file, or damaged: {error}") from None


def _abandoned(owner: str, renewed: float) -> bool:
    """Say whether nobody works on a claim any more."""
    host, _, rest = owner.partition(":")
    if host == socket.gethostname():
        try:
            os.kill(int(rest.split(":")[0]), 0)
        except ProcessLookupError:
            return True
        except (PermissionError, ValueError):
            pass
    return time.time() - renewed > STALE_S
