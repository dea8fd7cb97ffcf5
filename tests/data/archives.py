"""Event recordings, and the files that hold them."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from art_snn.data import Recordings

EVENTS = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "<i1")])


def recording(generator: np.random.Generator, side: int, events: int) -> np.ndarray:
    found = np.empty(events, EVENTS)
    found["x"], found["y"] = generator.integers(0, side, (2, events))
    found["p"] = generator.integers(0, 2, events)
    found["t"] = np.sort(generator.integers(0, 300_000, events))
    return found


def some_recordings(count: int = 20, side: int = 34, *, classes: int = 2) -> list[tuple[np.ndarray, int]]:
    generator = np.random.default_rng(0)
    return [(recording(generator, side, int(generator.integers(40, 90))), i % classes) for i in range(count)]


class Tonic(list):
    """What a data set of tonic looks like."""

    sensor_size = (34, 34, 2)


def changed(recordings: Recordings, **changes: object) -> Recordings:
    """Return recordings with other arrays; ``_replace`` counts fields by ``len``, which counts recordings here."""
    return Recordings(**{**recordings._asdict(), **changes})


def make_npz(path: Path, **changes: np.ndarray) -> Path:
    events, labels = zip(*some_recordings(), strict=True)
    joined = np.concatenate(events)
    arrays = {
        "x": joined["x"].astype(np.uint8),
        "y": joined["y"].astype(np.uint8),
        "p": joined["p"].astype(np.uint8),
        "t_us": joined["t"].astype(np.uint32),
        "offsets": np.concatenate([[0], np.cumsum([len(part) for part in events])]),
        "labels": np.array(labels, dtype=np.uint8),
        "is_test": (np.arange(len(labels)) >= 16).astype(np.uint8),
        "sensor_size": np.array([34, 34, 2]),
        **changes,
    }
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_nmnist(folder: Path) -> None:
    """Write recordings as N-MNIST's files: 40 bits an event, and an overflow event at each 2**13 us."""
    for i, (events, label) in enumerate(some_recordings()):
        file = folder / ("Test" if i >= 16 else "Train") / str(label) / f"{i:05}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        out, passed = bytearray(), 0
        for x, y, t, p in events.tolist():
            while t - passed >= 2**13:
                out += bytes([245, 240, 0, 0, 0])
                passed += 2**13
            left = t - passed
            out += bytes([x, y, (p << 7) | (left >> 16), (left >> 8) & 255, left & 255])
        file.write_bytes(out)


def spikingjelly_files(folder: Path, *, parts: bool = True, classes: tuple[str, ...] = ("0", "1")) -> list[Path]:
    """Return where SpikingJelly keeps some recordings, in their order: the last fifth is for testing."""
    files = []
    for i, (_, label) in enumerate(some_recordings(classes=len(classes))):
        part = ("test" if i >= 16 else "train") if parts else "."
        file = folder / part / classes[label] / f"user{i:02}_0.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        files.append(file)
    return files


def by_class(folder: Path) -> list[int]:
    """Return the places of the recordings in the order in which they are read: by part, class and name."""
    files = spikingjelly_files(folder)
    return sorted(range(20), key=lambda i: (i >= 16, str(files[i])))


def write_events_np(
    folder: Path, *, save: Callable = np.savez_compressed, dtypes: dict | None = None, **layout
) -> None:
    """Write recordings as SpikingJelly does; DVS128 Gesture has int64, N-MNIST uint32, CIFAR10-DVS '>u4' and int64."""
    files = spikingjelly_files(folder, **layout)
    for file, (events, _) in zip(files, some_recordings(classes=len(layout.get("classes", "01"))), strict=True):
        save(file, **{name: events[name].astype((dtypes or {}).get(name, np.int64)) for name in "txyp"})


def write_frames(folder: Path, frames: np.ndarray, *, save: Callable = np.savez_compressed, **layout) -> list[Path]:
    """Write recordings' frames as SpikingJelly does, in float64."""
    files = spikingjelly_files(folder, **layout)
    for file, counts in zip(files, frames, strict=True):
        save(file, frames=counts.astype(np.float64))
    return files


def write_ncaltech101(folder: Path, classes: tuple[str, ...] = ("BACKGROUND_Google", "accordion")) -> None:
    """Write recordings as N-Caltech101's files, which have N-MNIST's events in folders by name."""
    write_nmnist(folder / "parts")
    for file in sorted((folder / "parts").glob("T*/*/*.bin")):
        place = folder / classes[int(file.parent.name)] / f"image_{file.name}"
        place.parent.mkdir(exist_ok=True)
        file.rename(place)
    shutil.rmtree(folder / "parts")


def write_cifar10_dvs(folder: Path, classes: tuple[str, ...] = ("airplane", "bird")) -> None:
    """Write recordings as CIFAR10-DVS's files: AEDAT 2.0, 64 bits an event, the first byte the highest."""
    for i, (events, label) in enumerate(some_recordings()):
        file = folder / classes[label] / f"cifar10_{classes[label]}_{i:02}.aedat"
        file.parent.mkdir(parents=True, exist_ok=True)
        out = bytearray(b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n")
        for x, y, t, p in events.tolist():  # turned, and off is 1
            out += struct.pack(">II", ((127 - x) << 8) | ((127 - y) << 1) | (1 - p), t)
        file.write_bytes(out)


def write_dvs_gesture(folder: Path) -> None:
    """Write recordings as DVS128 Gesture's files: AEDAT 3.1, ten gestures a file, of which two packets hold events."""
    folder.mkdir(parents=True, exist_ok=True)
    items = some_recordings(classes=11)
    for number, lines in enumerate(("trials_to_train.txt", "trials_to_test.txt")):
        name, rows, events = f"user{number:02}_led", ["class,startTime_usec,endTime_usec"], []
        for i, (found, label) in enumerate(items[10 * number : 10 * (number + 1)]):
            start = i * 10**6 + 2**31 * (i >= 5)  # where the clock has passed its largest time
            rows.append(f"{label + 1},{start},{start + 10**6}")
            events += [(x, y, t + start, p) for x, y, t, p in found.tolist()]
        (folder / lines).write_text(f"{name}.aedat\n\n")
        (folder / f"{name}_labels.csv").write_text("\n".join(rows) + "\n")
        out = bytearray(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n")
        out += struct.pack("<HH6I", 0, 0, 8, 4, 0, 1, 1, 1) + bytes(8)  # a packet of another type
        for overflows in (0, 1):
            packet = [event for event in events if event[2] >> 31 == overflows]
            out += struct.pack("<HH6I", 1, 0, 8, 4, overflows, len(packet), len(packet), len(packet))
            for x, y, t, p in packet:
                out += struct.pack("<II", (x << 17) | (y << 2) | (p << 1) | 1, t & (2**31 - 1))
        (folder / f"{name}.aedat").write_bytes(out)
