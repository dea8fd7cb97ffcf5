"""Data sets by name, folder or file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art_snn.data import Framing, Source, Split, load_digits, load_event_frames, register_source, source, sources
from art_snn.data.sources import absolute
from art_snn.errors import DataError
from tests.data.archives import make_npz, write_nmnist

FRAMING = Framing(time_steps=3, image_size=16)


@pytest.mark.parametrize(("name", "files"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_folders_of_cifar_are_told_from_images(tmp_path, monkeypatch, name, files):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / files).mkdir()
    for folder in (tmp_path, tmp_path / files):
        with pytest.raises(DataError, match=f"write '{name}', which reads '.*{files}'$"):
            absolute(str(folder))


def test_paths_become_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("events.npz").touch()
    assert [absolute(data) for data in ("digits", "cifar100")] == ["digits", "cifar100"]
    assert [absolute(data) for data in ("photos", "events.npz")] == [
        str(tmp_path / "photos"),
        str(tmp_path / "events.npz"),
    ]
    for data in ("no/such", "no.npz"):
        with pytest.raises(DataError, match=f"'{data}' is neither 'digits', 'cifar10', 'cifar100', nor a folder"):
            absolute(data)


@pytest.mark.parametrize(
    ("data", "title", "events", "shape", "architecture"),
    [
        ("digits", "digits", False, (1, 8, 8), "digits_net"),
        ("cifar10", "CIFAR-10", False, (3, 32, 32), "vgg_small"),
        ("cifar100", "CIFAR-100", False, (3, 32, 32), "vgg_small"),
        ("photos", "photos", False, (3, 16, 16), "vgg_small"),
        ("elsewhere/dvs.npz", "dvs.npz", True, (3, 2, 16, 16), "vgg_dvs"),
        ("nmnist", "nmnist", True, (3, 2, 16, 16), "vgg_dvs"),
    ],
)
def test_sources_say_what_they_have_before_they_are_loaded(
    tmp_path, monkeypatch, data, title, events, shape, architecture
):
    monkeypatch.chdir(tmp_path)
    write_nmnist(tmp_path / "nmnist")
    found = source(data)
    assert (found.title, found.events, found.shape(FRAMING), found.architecture) == (title, events, shape, architecture)


def test_sources_load_what_the_functions_load(tmp_path, monkeypatch):
    monkeypatch.setenv("ART_SNN_CACHE", str(tmp_path / "cache"))
    path = make_npz(tmp_path / "events.npz")
    for found, expected in (
        (source("digits").load(FRAMING), load_digits()),
        (source(str(path)).load(FRAMING, test_share=0.3), load_event_frames(path, FRAMING, test_share=0.3)),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_new_source_is_asked_first(monkeypatch):
    monkeypatch.setattr(sources, "_KINDS", list(sources._KINDS))

    @register_source
    class Noise(Source):
        name = "noise"
        fixed_shape = (1, 8, 8)

        def load(self, framing, *, test_share=None, verbose=False) -> Split:
            return load_digits()

    assert isinstance(source("noise"), Noise)
    assert absolute("noise") == "noise"
