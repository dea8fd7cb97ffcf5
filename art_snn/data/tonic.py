"""Data sets that are Python objects: those of the library tonic, and what looks like them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from art_snn.data.recordings import Part, Recordings, SensorSize, check_sensor_size, collect
from art_snn.errors import DataError


def from_tonic(
    dataset: Any,
    *,
    sensor_size: SensorSize | None = None,
    classes: Sequence[str] | None = None,
    is_test: bool | Sequence[bool] | np.ndarray | None = None,
    sort: bool = False,
    verbose: bool = False,
) -> Recordings:
    """Take the recordings of a data set of the library tonic (``pip install ".[events]"``).

    ``Subset``, ``random_split`` and ``ConcatDataset`` of torch, and tonic's own caches, may be around it.

    Args:
        dataset: A tonic data set without transforms, such as ``tonic.datasets.DVSGesture(folder, train=True)``: a
            sequence of (events, label). Events are a structured array with fields x, y, t, p, or a mapping to such
            columns, as SpikingJelly's data sets give with ``data_type="event"``.
        sensor_size: Width, height and polarities, such as (240, 180, 2); None for the data set's own. Needed for
            N-Caltech101, which has none.
        classes: The names that labels have, in order; None for labels that are numbers.
        is_test: Whether these recordings are for testing, one answer or one for each; None for no split.
        sort: Sort the events of a recording in time, if they are not.
        verbose: Show progress.

    Raises:
        DataError: An item is something else or damaged, or the data set is empty.
    """
    name = type(dataset).__name__
    sizes = [sensor_size] if sensor_size is not None else list(dict.fromkeys(_sensor_sizes(dataset)))
    if len(sizes) > 1:
        raise DataError(f"{name}: its data sets have the sensor sizes {sizes}; give sensor_size if one holds all")
    if sizes[0] is None:
        raise DataError(
            f"{name}: sensor_size is None; width, height and polarities are needed: sensor_size=(240, 180, 2)"
        )
    size = check_sensor_size(sizes[0], name)
    count = len(dataset)
    if count == 0:
        raise DataError(f"{name} is empty")
    marks = None if is_test is None else np.asarray(is_test)
    if marks is not None and (marks.shape not in ((), (count,)) or not np.isin(marks, (0, 1)).all()):
        raise DataError(f"is_test has shape {marks.shape}; give one True or False, or {count}, one for each recording")
    numbers = tqdm(range(count), desc=f"Reading {name}", disable=not verbose)
    parts = (_part(f"{name}[{i}]", dataset[i], classes) for i in numbers)
    return collect(parts, size, None if marks is None else np.broadcast_to(marks, count).astype(bool), sort=sort)


def _sensor_sizes(dataset: Any) -> Iterator[SensorSize | None]:
    """Yield the sensor sizes of a data set, or of those that it wraps."""
    size = getattr(dataset, "sensor_size", None)
    inner = [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", [])
    if size is None and hasattr(dataset, "get_H_W"):  # SpikingJelly's
        height, width = dataset.get_H_W()
        size = (width, height, 2)
    if size is not None or not inner:
        yield None if size is None else tuple(np.asarray(size).tolist())
        return
    for wrapped in inner:
        yield from _sensor_sizes(wrapped)


def _part(owner: str, item: Any, classes: Sequence[str] | None) -> Part:
    try:
        events, label = item
    except (TypeError, ValueError):
        raise DataError(f"{owner} is no pair of events and label") from None
    names = events if isinstance(events, Mapping) else getattr(getattr(events, "dtype", None), "names", None)
    fields = set(names or ())
    if ({"x", "t"} <= fields and "y" not in fields) or {"units", "times"} <= fields:
        raise DataError(f"{owner} has events in one dimension (no y), as SHD and SSC do; frames have rows and columns")
    if not {"x", "y", "t", "p"} <= fields:
        raise DataError(f"{owner} has no events with x, y, t, p; load the tonic data set without transforms")
    return Part(owner, events, _number(owner, label, classes))


def _number(owner: str, label: Any, classes: Sequence[str] | None) -> int:
    if classes is not None:
        if label not in classes:
            raise DataError(f"{owner} has the label {label!r}, which is not in classes")
        return list(classes).index(label)
    try:
        number = int(label)
        if isinstance(label, str) or number != label:
            number = -1
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        cure = "; classes=[...] gives names their numbers" if isinstance(label, str) else ""
        raise DataError(f"{owner} has the label {label!r}; a whole number >= 0 is needed{cure}")
    return number
