"""Files are whole or absent."""

import os

import pytest
import torch
from torch import nn

from art_snn.files import load_weights, save_weights, write_atomic


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_atomic(path, lambda file: file.write_text("old"))

    def fail(file):
        file.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomic(path, fail)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_files_get_the_usual_permissions(tmp_path):
    mask = os.umask(0o022)
    try:
        write_atomic(tmp_path / "file", lambda file: file.write_text("x"))
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_shared_and_strided_tensors_are_saved(tmp_path):
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    save_weights(network, tmp_path / "a.safetensors")
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    load_weights(other, tmp_path / "a.safetensors")
    assert torch.equal(other[1].weight, network[0].weight)


def test_the_difference_is_named(tmp_path):
    save_weights(nn.Linear(3, 3), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"bias has shape \(3,\), not none"):
        load_weights(nn.Linear(3, 3, bias=False), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"weight has shape \(3, 3\), not \(4, 3\)"):
        load_weights(nn.Linear(3, 4), tmp_path / "a.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="it holds a list"):
        load_weights(nn.Linear(3, 4), tmp_path / "list.pt")


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors"])
def test_a_network_without_weights_has_a_state(tmp_path, name):
    if name.endswith(".pt"):
        torch.save(nn.Flatten().state_dict(), tmp_path / name)
    else:
        save_weights(nn.Flatten(), tmp_path / name)
    load_weights(nn.Flatten(), tmp_path / name)
    with pytest.raises(ValueError, match="another network"):
        load_weights(nn.Linear(3, 3), tmp_path / name)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_of_wrapped_networks_are_taken(tmp_path, prefix):
    source = nn.Linear(3, 3)
    torch.save({prefix + name: tensor for name, tensor in source.state_dict().items()}, tmp_path / "wrapped.pt")
    network = nn.Linear(3, 3)
    load_weights(network, tmp_path / "wrapped.pt")
    assert torch.equal(network.weight, source.weight)
    with pytest.raises(ValueError, match="another network"):
        load_weights(nn.Linear(3, 4), tmp_path / "wrapped.pt")
    inside = nn.ModuleDict({"module": source})  # whose own names begin so
    torch.save(inside.state_dict(), tmp_path / "own.pt")
    load_weights(inside, tmp_path / "own.pt")
