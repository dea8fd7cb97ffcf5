"""Grids of experiments: many cells, in several workers or processes, one row each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from art_snn.evaluation.cells import Cell, run_cell
from art_snn.evaluation.rows import GridRow
from art_snn.evaluation.store import ResultStore, read_rows


def run_grid(
    cells: Sequence[Cell],
    results: Path,
    *,
    n_jobs: int = 1,
    device_type: str = "cpu",
    batch_size: int = 128,
    verbose: bool = False,
) -> list[GridRow]:
    """Run the cells that have no row yet, and return the rows of all of them, in their order.

    Rows land one by one: after a kill, the same call resumes. Several processes may run one grid at the same time.
    The cells run in joblib's workers; ``joblib.parallel_config(backend="dask")`` around the call sends them to a
    cluster that sees the same files.

    Args:
        cells: The cells.
        results: The folder of the results; made if missing.
        n_jobs: Number of workers, >= 1, or -1 for one per core.
        device_type: "gpu" or "cpu".
        batch_size: Samples to attack at the same time.
        verbose: Show progress.

    Raises:
        ResultsError: A file of results is damaged or of another version.
    """
    store = ResultStore(results)
    read_rows(results)  # damaged ones are named before any work
    by_key = {cell.key: cell for cell in cells}
    keys = list(by_key)
    options: dict[str, Any] = {"device_type": device_type, "batch_size": batch_size}
    left = store.missing(keys)
    with tqdm(total=len(keys), initial=len(keys) - len(left), desc="Grid", unit="row", disable=not verbose) as bar:
        while left:
            claims = iter(lambda: store.claim(keys), None)  # one by one, as workers become free
            try:
                for row in _results((delayed(run_cell)(by_key[key], **options) for key in claims), n_jobs):
                    bar.update(store.finish(row.key, row))
            finally:
                store.release()
            left = store.missing(keys)
            bar.update(len(keys) - len(left) - bar.n)
            if left:  # another process works on them, or has died
                time.sleep(1)
    rows = {row.key: row for row in read_rows(results)}
    return [rows[key] for key in by_key]


def _results(tasks: Iterator[Any], n_jobs: int) -> Iterator[GridRow]:
    """Yield rows as they are ready."""
    backend, _ = get_active_backend()
    with quiet_workers():
        if backend.supports_return_generator:
            workers = Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
            yield from workers(tasks)
            return
        workers = Parallel(n_jobs=n_jobs, batch_size=1)  # such as Ray's: as many rows at a time as there are workers
        while some := list(islice(tasks, effective_n_jobs(n_jobs))):
            yield from workers(some)


@contextmanager
def quiet_workers() -> Iterator[None]:
    """Leave out joblib's word that a worker with much memory was replaced: torch's caches look like a leak to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        yield
