"""N-MNIST's own files."""

from __future__ import annotations

import numpy as np
import pytest

from art_snn.data import read_nmnist
from art_snn.errors import DataError
from tests.data.archives import EVENTS, write_nmnist


def test_tonic_reads_the_same_files(tmp_path):
    io = pytest.importorskip("tonic.io", reason="tonic is not installed (extra 'events')")
    write_nmnist(tmp_path)
    ours = read_nmnist(tmp_path)
    files = sorted(tmp_path.glob("T*/[0-9]/*.bin"))
    for i, file in enumerate(files):
        theirs = io.read_mnist_file(str(file), dtype=EVENTS)
        part = slice(*ours.offsets[i : i + 2])
        for name in ("x", "y", "p", "t"):
            np.testing.assert_array_equal(getattr(ours, name)[part], theirs[name])


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no N-MNIST recordings"):
        read_nmnist(tmp_path)
    write_nmnist(tmp_path)
    file = tmp_path / "Train" / "0" / "00002.bin"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"00002.bin is damaged: \d+ bytes"):
        read_nmnist(tmp_path)
    file.write_bytes(bytes([245, 240, 0, 0, 0]))
    with pytest.raises(DataError, match=r"00002.bin holds no event"):
        read_nmnist(tmp_path)
    file.write_bytes(bytes([40, 3, 0, 0, 0]))
    with pytest.raises(DataError, match=r"00002.bin is damaged: it has x=40, outside 0 to 33"):
        read_nmnist(tmp_path)
    file.write_bytes(bytes([4, 3, 0, 0, 9, 5, 3, 0, 0, 7]))
    with pytest.raises(DataError, match=r"00002.bin is damaged: it has t going back from 9 to 7; sort=True sorts"):
        read_nmnist(tmp_path)
    found = read_nmnist(tmp_path, sort=True)
    part = slice(*found.offsets[[list(np.diff(found.offsets)).index(2), list(np.diff(found.offsets)).index(2) + 1]])
    assert (list(found.x[part]), list(found.t[part])) == ([5, 4], [7, 9])
