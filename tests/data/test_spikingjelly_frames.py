"""Folders of frames that SpikingJelly made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art_snn.data import Framing, Split, from_tonic, load_event_frames, source, to_frames
from art_snn.data.sources import absolute
from art_snn.errors import DataError
from tests.data.archives import Tonic, by_class, some_recordings, spikingjelly_files, write_events_np, write_frames

FRAMES = "frames_number_3_split_by_number"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def some_frames(time_steps: int = 3, **options: object) -> np.ndarray:
    return to_frames(from_tonic(Tonic(some_recordings())), Framing(time_steps=time_steps, image_size=None, **options))


def same_split(found: Split, frames: np.ndarray, folder: Path) -> None:
    order, labels = by_class(folder), np.arange(20) % 2
    train, test = [i for i in order if i < 16], [i for i in order if i >= 16]
    for array, expected in zip(found, (frames[train], labels[train], frames[test], labels[test]), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_frames_are_those_that_events_make(tmp_path, save):
    write_events_np(tmp_path / "events_np")
    write_frames(tmp_path / FRAMES, some_frames(), save=save)
    for size in (None, 48, 20):
        framing = Framing(time_steps=3, image_size=size)
        found = load_event_frames(tmp_path / FRAMES, framing)
        expected = load_event_frames(tmp_path / "events_np", framing)
        for array, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, other)
    same_split(load_event_frames(tmp_path / FRAMES), some_frames(), tmp_path)
    same_split(load_event_frames(tmp_path, Framing(time_steps=4, image_size=None)), some_frames(4), tmp_path)


def test_frames_are_kept_until_a_file_changes(tmp_path, monkeypatch, cache):
    files = write_frames(tmp_path / FRAMES, some_frames())
    load_event_frames(tmp_path / FRAMES)
    with monkeypatch.context() as patched:
        patched.setattr("art_snn.data.spikingjelly._read_frames", lambda *_: pytest.fail("the cache was not used"))
        same_split(load_event_frames(tmp_path / FRAMES), some_frames(), tmp_path)
    changed = some_frames()
    changed[7, 0, 0, 0, 0] += 1
    np.savez_compressed(files[7], frames=changed[7])
    same_split(load_event_frames(tmp_path / FRAMES), changed, tmp_path)
    assert len(list(cache.iterdir())) == 2


def test_frames_without_parts_are_split(tmp_path):
    write_frames(tmp_path / FRAMES, some_frames(), parts=False)
    found = load_event_frames(tmp_path / FRAMES)
    assert list(np.bincount(found.y_test)) == [2, 2]
    found = load_event_frames(tmp_path / FRAMES, test_share=0.5)
    assert list(np.bincount(found.y_test)) == [5, 5]
    both = np.concatenate([found.x_train, found.x_test]).sum((1, 2, 3, 4))
    np.testing.assert_array_equal(np.sort(both), np.sort(some_frames().sum((1, 2, 3, 4))))


def test_parts_beside_classes_are_the_split(tmp_path):
    # CIFAR10DVSTEBNSplit links the files of <class>/ into train/<class>/ and test/<class>/ of the same folder.
    write_frames(tmp_path / FRAMES, some_frames(), parts=False)
    for file in spikingjelly_files(tmp_path / FRAMES):
        file.symlink_to(tmp_path / FRAMES / file.parent.name / file.name)
    same_split(load_event_frames(tmp_path / FRAMES), some_frames(), tmp_path)


@pytest.mark.parametrize(
    ("framing", "message"),
    [
        (Framing(time_steps=4), "has frames of 3 time-steps, not of 4; give time_steps=3"),
        (Framing(time_steps=3, split_by="time"), "has frames split by number; give split_by='number'"),
    ],
)
def test_frames_that_are_cut_otherwise_are_refused(tmp_path, framing, message):
    write_frames(tmp_path / FRAMES, some_frames())
    with pytest.raises(DataError, match=message):
        load_event_frames(tmp_path / FRAMES, framing)
    (tmp_path / FRAMES).rename(tmp_path / "mine")  # whose name does not say how they are cut
    if framing.split_by == "time":
        assert load_event_frames(tmp_path / "mine", framing).x_test.shape == (4, 3, 2, 48, 48)


def test_frames_of_a_fixed_duration_are_refused(tmp_path):
    files = write_frames(tmp_path / "duration_1000", some_frames())
    np.savez(files[9], frames=some_frames(4)[9])
    with pytest.raises(
        DataError, match=r"shape \(4, 2, 34, 34\), and others \(3, .*; frames of a fixed duration differ in T"
    ):
        load_event_frames(tmp_path / "duration_1000")


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.full((3, 2, 34, 34), np.nan), "NaN, infinite or below 0"),
        (np.full((3, 2, 34, 34), -1.0), "NaN, infinite or below 0"),
        (np.full((3, 2, 34, 34), "a"), "frames of dtype <U1; numbers are needed"),
        (np.zeros((3, 2, 34, 33)), r"has frames of shape \(3, 2, 34, 33\), and others \(3, 2, 34, 34\)$"),
        (np.full((3, 2, 34, 34), None), "frames cannot be read: ValueError"),
        (None, "lacks the arrays frames; it has other"),
    ],
)
def test_damaged_frames_are_named(tmp_path, cache, frames, message):
    files = write_frames(tmp_path / FRAMES, some_frames())
    np.savez(files[4], **({"other": np.zeros(3)} if frames is None else {"frames": frames}))
    with pytest.raises(DataError, match=message) as error:
        load_event_frames(tmp_path / FRAMES)
    assert str(files[4]) in str(error.value)
    assert not cache.is_dir() or not list(cache.iterdir())


@pytest.mark.parametrize("shape", [(3, 700), (3, 34, 34), (3, 4, 34, 34), (0, 2, 34, 34)])
def test_frames_of_another_shape_are_refused(tmp_path, shape):
    for file in spikingjelly_files(tmp_path / FRAMES):
        np.savez(file, frames=np.zeros(shape))
    kind = r", as of events in one dimension \(SHD, SSC\)" if len(shape) == 2 else ""
    with pytest.raises(DataError, match=rf"frames of shape \({shape[0]}, .*\){kind}; \(T, polarities, height, width\)"):
        load_event_frames(tmp_path / FRAMES)


@pytest.mark.parametrize("data", ["data", "data/events_np", f"data/{FRAMES}"])
def test_folders_are_sources(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    write_events_np(Path("data/events_np"))
    write_frames(Path("data") / FRAMES, some_frames())
    framing = Framing(time_steps=3, image_size=16)
    found = source(absolute(data))
    assert (found.events, found.title, found.architecture) == (True, Path(data).name, "vgg_dvs")
    loaded = found.load(framing)
    assert loaded.x_train.shape[1:] == found.shape(framing) == (3, 2, 16, 16)
    for array, expected in zip(loaded, load_event_frames(Path(data), framing), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_a_root_with_frames_alone_is_them(tmp_path):
    write_frames(tmp_path / FRAMES, some_frames())
    same_split(load_event_frames(tmp_path), some_frames(), tmp_path)
    write_frames(tmp_path / "frames_number_4_split_by_time", some_frames(4, split_by="time"))
    message = f"holds {FRAMES}, frames_number_4_split_by_time; give one of them"
    with pytest.raises(DataError, match=message):
        load_event_frames(tmp_path)
    found = load_event_frames(tmp_path / "frames_number_4_split_by_time", Framing(time_steps=4, split_by="time"))
    assert found.x_train.shape == (16, 4, 2, 48, 48)


def test_folders_of_images_are_still_images(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.png").touch()
    assert not source(str(tmp_path)).events
