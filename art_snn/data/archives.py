"""NumPy archives: many recordings in one file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from art_snn.data.recordings import Recordings, SensorSize, check_events, check_sensor_size, sorted_in_time
from art_snn.errors import DataError
from art_snn.files import write_atomic

_EVENTS = ("x", "y", "p", "t_us")
_REQUIRED = (*_EVENTS, "offsets", "labels", "sensor_size")


def read_npz(path: Path, *, sensor_size: SensorSize | None = None, sort: bool = False) -> Recordings:
    """Read recordings from one NumPy archive.

    Args:
        path: File with the arrays ``x, y, p, t_us, offsets, labels, sensor_size`` and, optionally, ``is_test``, as
            `Recordings` describes them: whole numbers in one dimension, every recording with an event.
        sensor_size: Width, height and polarities, for an archive that lacks them.
        sort: Sort the events of a recording in time, if they are not.

    Raises:
        DataError: The file is missing or damaged, or lacks an array; the message names the file and the array.
    """
    if not path.is_file():
        raise DataError(f"no event file {str(path)!r}")
    arrays = read_arrays(path, (*_REQUIRED, "is_test"))
    if sensor_size is not None:
        arrays.setdefault("sensor_size", np.asarray(sensor_size))
    _check_names(arrays, path)
    source = f"{path} is damaged"
    size = check_sensor_size(arrays.pop("sensor_size"), source)
    for name, values in arrays.items():
        if values.ndim != 1 or values.dtype.kind not in ("biu" if name in ("p", "is_test") else "iu"):
            kind = f"dtype {values.dtype} and shape {values.shape}"
            raise DataError(f"{source}: {name} has {kind}; whole numbers in one dimension are needed")
    labels, offsets = arrays["labels"].astype(np.int64), arrays["offsets"].astype(np.int64)
    _check_parts(arrays, labels, offsets, source)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        events = {name: arrays[name][start:stop] for name in _EVENTS}
        if sort:
            events = sorted_in_time(events)
            for name, values in events.items():
                arrays[name][start:stop] = values
        check_events(events, size, f"{source}: recording {i} has")
    is_test = arrays["is_test"].astype(bool) if "is_test" in arrays else None
    x, y, p, t = (arrays[name] for name in _EVENTS)
    return Recordings(x, y, p, t, offsets, labels, is_test, size)


def write_npz(recordings: Recordings, path: Path) -> None:
    """Write recordings as one NumPy archive that `read_npz` reads, whole or not at all; an older one is replaced.

    Raises:
        ValueError: The path does not end in ``.npz``.
    """
    if path.suffix != ".npz":
        raise ValueError(f"an archive of recordings must end in .npz, got {str(path)!r}")
    arrays = {"t_us" if name == "t" else name: values for name, values in recordings._asdict().items()}
    arrays["sensor_size"] = np.array(recordings.sensor_size)
    if recordings.is_test is None:
        del arrays["is_test"]
    write_atomic(path, lambda temporary: np.savez(temporary, **arrays))


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return those of the named arrays that an archive has; raise DataError if it is no archive, or damaged."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # the errors of zip have no common base, nor have those of its members below
        raise DataError(f"{path} is no readable NumPy archive: {error!r}") from None
    arrays = {}
    with archive:
        for name in names:
            if f"{name}.npy" not in archive.namelist():
                continue
            try:
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
            except Exception as error:
                raise DataError(f"{path} is damaged: {name} cannot be read: {error!r}") from None
    return arrays


def _check_names(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Raise DataError if an archive lacks an array."""
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing == ["sensor_size"]:
        raise DataError(f"{path} lacks the arrays sensor_size; give sensor_size=(width, height, polarities)")
    if missing:
        cure = "; of one recording alone, give the folder of all" if {"offsets", "labels"} <= set(missing) else ""
        raise DataError(f"{path} lacks the arrays {', '.join(missing)}{cure}")


def _check_parts(arrays: Mapping[str, np.ndarray], labels: np.ndarray, offsets: np.ndarray, source: str) -> None:
    """Raise DataError unless an archive's arrays fit each other."""
    count, events = len(labels), len(arrays["x"])
    if count == 0:
        raise DataError(f"{source}: labels is empty, there are no recordings")
    if (labels < 0).any():
        i = int(np.argmax(labels < 0))
        raise DataError(f"{source}: labels has {labels[i]} for recording {i}; classes are counted from 0")
    for name, length, other in (
        *((name, events, "x has") for name in _EVENTS),
        ("offsets", count + 1, f"{count} labels need"),
        ("is_test", count, "labels has"),
    ):
        if name in arrays and len(arrays[name]) != length:
            raise DataError(f"{source}: {name} has {len(arrays[name])} entries, and {other} {length}")
    if (offsets[0], offsets[-1]) != (0, events):
        raise DataError(f"{source}: offsets go from {offsets[0]} to {offsets[-1]}, not from 0 to the {events} events")
    if (offsets[1:] <= offsets[:-1]).any():
        i = int(np.argmax(offsets[1:] <= offsets[:-1]))
        raise DataError(f"{source}: offsets do not rise from {offsets[i]} to {offsets[i + 1]}, for recording {i}")
    if "is_test" in arrays and not np.isin(arrays["is_test"], (0, 1)).all():
        raise DataError(f"{source}: is_test has entries other than 0 and 1")
