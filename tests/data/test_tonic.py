"""Data sets of tonic, of SpikingJelly, and what torch wraps around them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, random_split

from art_snn.data import Recordings, from_tonic
from art_snn.errors import DataError
from tests.data.archives import EVENTS, Tonic, some_recordings


class Torch(Dataset):
    """A data set that torch's wrappers take."""

    def __init__(self, items: list, sensor_size: object = (34, 34, 2)) -> None:
        self.items, self.sensor_size = items, sensor_size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple:
        return self.items[i]


def same(found: Recordings, items: list) -> bool:
    joined = np.concatenate([events for events, _ in items])
    columns = all(np.array_equal(getattr(found, name), joined[name]) for name in ("x", "y", "p", "t"))
    return columns and list(found.labels) == [label for _, label in items]


def test_late_and_negative_times_are_kept():
    items = some_recordings(4)
    items[1][0]["t"] += 2**40
    items[2][0]["t"] -= 10**6
    found = from_tonic(Tonic(items))
    assert found.t.dtype == np.int64
    np.testing.assert_array_equal(found.t, np.concatenate([events["t"] for events, _ in items]))


@pytest.mark.parametrize("wrap", ["subset", "split", "concatenation", "subset of a concatenation", "cache"])
def test_wrapped_data_sets_keep_the_size_of_their_sensor(wrap):
    items, chosen = some_recordings(6), [5, 0, 2]
    whole, halves = Torch(items), [Torch(items[:4]), Torch(items[4:])]
    if wrap == "subset":
        dataset, expected = Subset(whole, chosen), [items[i] for i in chosen]
    elif wrap == "split":
        dataset, _ = random_split(whole, [4, 2], generator=torch.Generator().manual_seed(0))
        expected = [items[i] for i in dataset.indices]
    elif wrap == "concatenation":
        dataset, expected = ConcatDataset(halves), items
    elif wrap == "cache":
        tonic = pytest.importorskip("tonic", reason="tonic is not installed (extra 'events')")
        dataset, expected = tonic.MemoryCachedDataset(Subset(whole, chosen)), [items[i] for i in chosen]
    else:
        dataset, expected = Subset(ConcatDataset(halves), chosen), [items[i] for i in chosen]
    found = from_tonic(dataset)
    assert found.sensor_size == (34, 34, 2)
    assert same(found, expected)


def test_sensor_sizes_that_are_missing_or_differ_are_given():
    items = some_recordings(4)
    sizeless, other = Torch(items, None), Torch(items, (40, 36, 2))
    for dataset in (sizeless, Subset(sizeless, [0]), ConcatDataset([sizeless, sizeless])):
        with pytest.raises(DataError, match=r"sensor_size is None; width, height .*sensor_size=\(240, 180, 2\)"):
            from_tonic(dataset)
        assert from_tonic(dataset, sensor_size=(50, 40, 2)).sensor_size == (50, 40, 2)
    mixed = ConcatDataset([Torch(items), other])
    with pytest.raises(DataError, match=r"sensor sizes \[\(34, 34, 2\), \(40, 36, 2\)\]; give sensor_size"):
        from_tonic(mixed)
    assert same(from_tonic(mixed, sensor_size=(40, 36, 2)), items * 2)
    with pytest.raises(DataError, match=r"sensor_size is \[34, 34\]; width, height"):
        from_tonic(sizeless, sensor_size=(34, 34))


def test_each_recording_may_be_for_training_or_testing():
    dataset = ConcatDataset([Torch(some_recordings(3)), Torch(some_recordings(2))])
    found = from_tonic(dataset, is_test=[False] * 3 + [True] * 2)
    assert list(found.is_test) == [False, False, False, True, True]
    for marks in ([True, False], [0, 1, 2, 0, 0]):
        with pytest.raises(DataError, match=r"is_test has shape .* give one True or False, or 5"):
            from_tonic(dataset, is_test=marks)


def test_events_out_of_order_are_refused_or_sorted():
    items = some_recordings(3)
    mixed = [(events.copy(), label) for events, label in items]
    mixed[1][0]["t"][[20, 21]] = items[1][0]["t"][[21, 20]]
    assert items[1][0]["t"][20] < items[1][0]["t"][21]
    with pytest.raises(DataError, match=r"Tonic\[1\] has t going back from \d+ to \d+; sort=True sorts the events"):
        from_tonic(Tonic(mixed))
    found = from_tonic(Tonic(mixed), sort=True)
    order = np.argsort(mixed[1][0]["t"], kind="stable")
    assert same(found, [items[0], (mixed[1][0][order], items[1][1]), items[2]])


def as_type(events: np.ndarray, **dtypes: object) -> np.ndarray:
    found = np.empty(len(events), [(name, dtypes.get(name, events.dtype[name])) for name in events.dtype.names])
    for name in events.dtype.names:
        found[name] = events[name]
    return found


@pytest.mark.parametrize(
    "dtypes",
    [
        {"t": np.uint64, "x": np.int16, "y": np.int16, "p": bool},
        {"t": np.uint32, "x": np.uint8, "y": np.uint8, "p": np.uint8},
        {"t": ">u4", "x": ">u4", "y": ">u4", "p": np.int64},
        {"t": np.int32, "x": np.int64, "y": np.uint64, "p": np.int8},
    ],
)
def test_events_of_any_whole_numbers_are_equal(dtypes):
    items = some_recordings(3)
    assert same(from_tonic(Tonic([(as_type(events, **dtypes), label) for events, label in items])), items)


def test_polarities_of_minus_one_are_off():
    items = some_recordings(3)
    signed = [(events.copy(), label) for events, label in items]
    for events, _ in signed:
        events["p"] = 2 * events["p"] - 1
    signed.append((signed[0][0][signed[0][0]["p"] == 1], 0))  # a recording with on events alone
    assert same(from_tonic(Tonic(signed)), [*items, (items[0][0][items[0][0]["p"] == 1], 0)])
    with pytest.raises(
        DataError, match=r"Tonic\[0\] has polarity -1, and Tonic\[1\] has 0; give off and on as 0 and 1"
    ):
        from_tonic(Tonic([signed[0], items[1]]))
    for wrong in (2, -2, 3):
        events = items[0][0].copy()
        events["p"][4] = wrong
        with pytest.raises(DataError, match=rf"Tonic\[0\] has p={wrong}, outside 0 to 1"):
            from_tonic(Tonic([(events, 0)]))


@pytest.mark.parametrize(("field", "value"), [("x", 34), ("x", -1), ("y", 34), ("y", -1), ("x", 32767), ("y", 200)])
def test_events_outside_the_sensor_are_refused(field, value):
    events = some_recordings(1)[0][0]
    events[field][:2] = 0, 33  # the border is inside
    assert same(from_tonic(Tonic([(events, 0)])), [(events, 0)])
    events[field][1] = value
    with pytest.raises(DataError, match=rf"Tonic\[0\] has {field}={value}, outside 0 to 33"):
        from_tonic(Tonic([(events, 0)]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, "datetime64[us]", object])
def test_times_that_are_no_whole_numbers_are_refused(dtype):
    events = as_type(some_recordings(1)[0][0], t=dtype)
    with pytest.raises(DataError, match=r"Tonic\[0\] has t of dtype .*whole numbers are needed: round times to micro"):
        from_tonic(Tonic([(events, 0)]))


def test_times_that_no_clock_has_are_refused():
    events = as_type(some_recordings(1)[0][0], t=np.uint64)
    events["t"] += np.uint64(2**63)
    with pytest.raises(
        DataError, match=r"Tonic\[0\] has t=9223372036\d+, beyond 9223372036854775807; subtract the first"
    ):
        from_tonic(Tonic([(events, 0)]))
    events["t"][0] = 0
    with pytest.raises(DataError, match=r"Tonic\[0\] has t from 0 to 9223372036\d+, longer than"):
        from_tonic(Tonic([(events, 0)]))


def test_events_in_one_dimension_are_refused_in_words():
    spikes = np.zeros(5, [("t", int), ("x", int), ("p", int)])
    for events in (spikes, {"t": spikes["t"], "x": spikes["x"]}, {"times": spikes["t"], "units": spikes["x"]}):
        dataset = Tonic([(events, 0)])
        dataset.sensor_size = (700, 1, 1)
        with pytest.raises(DataError, match=r"Tonic\[0\] has events in one dimension \(no y\), as SHD and SSC do"):
            from_tonic(dataset)


def test_data_sets_of_spikingjelly_are_taken():
    items = some_recordings(3)
    mappings = [({name: events[name] for name in ("t", "x", "y", "p")}, label) for events, label in items]

    class Folder(Torch):
        @classmethod
        def get_H_W(cls) -> tuple[int, int]:  # noqa: N802
            return 36, 40

    found = from_tonic(Subset(Folder(mappings, None), [0, 1, 2]))
    assert found.sensor_size == (40, 36, 2)
    assert same(found, items)
    short = ({**mappings[0][0], "y": mappings[0][0]["y"][:-1]}, 0)
    with pytest.raises(DataError, match=r"Tonic\[0\] has y of shape \(\d+,\); x, y, p and t are one number for each"):
        from_tonic(Tonic([short]))


def test_names_of_classes_are_numbered_in_the_order_given():
    events = [events for events, _ in some_recordings(3)]
    dataset = Tonic(zip(events, ["cat", "ant", "cat"], strict=True))
    assert list(from_tonic(dataset, classes=["ant", "bee", "cat"]).labels) == [2, 0, 2]
    with pytest.raises(DataError, match=r"Tonic\[0\] has the label 'cat', which is not in classes"):
        from_tonic(dataset, classes=["ant", "bee"])
    with pytest.raises(DataError, match=r"a whole number >= 0 is needed; classes=\[...\] gives names their numbers"):
        from_tonic(dataset)


def test_labels_may_be_numbers_of_any_kind():
    events = [events for events, _ in some_recordings(4)]
    labels = [3, np.uint8(1), torch.tensor(2), np.float64(0)]
    assert list(from_tonic(Tonic(zip(events, labels, strict=True))).labels) == [3, 1, 2, 0]


def test_what_is_no_data_set_of_events_is_named():
    with pytest.raises(DataError, match="Tonic is empty"):
        from_tonic(Tonic())
    with pytest.raises(DataError, match=r"Tonic\[0\] has no events with x, y, t, p"):
        from_tonic(Tonic([(np.zeros((3, 4)), 0)]))
    with pytest.raises(DataError, match=r"Tonic\[1\] holds no event"):
        from_tonic(Tonic([*some_recordings(1), (np.zeros(0, EVENTS), 0)]))
    with pytest.raises(DataError, match=r"Tonic\[0\] has x=\d+, outside 0 to 33"):
        from_tonic(Tonic(some_recordings(1, side=500)))
    with pytest.raises(DataError, match=r"Tonic\[0\] has x of dtype float64; whole numbers are needed"):
        from_tonic(Tonic([(np.zeros(3, [(name, float) for name in "xytp"]), 0)]))
    for label in (-1, None, "nine", 1.5, float("nan")):
        with pytest.raises(DataError, match=rf"Tonic\[0\] has the label {label!r}; a whole number >= 0 is needed"):
            from_tonic(Tonic([(some_recordings(1)[0][0], label)]))
    sizeless = Tonic(some_recordings(1))
    sizeless.sensor_size = None
    with pytest.raises(DataError, match="Tonic: sensor_size is None; width, height"):
        from_tonic(sizeless)
    with pytest.raises(DataError, match=r"Tonic\[0\] is no pair of events and label"):
        from_tonic(Tonic([some_recordings(1)[0][0]]))
