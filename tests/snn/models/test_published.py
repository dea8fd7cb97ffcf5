from __future__ import annotations

import pytest
import torch
from torch import nn

from art_snn.snn.models import digits_net, load_published_state, vgg_small

X = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def published() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network, and its state as other code names it, with a threshold for each neuron."""
    torch.manual_seed(1)
    network = digits_net().eval()
    for parameter in network.parameters():
        parameter.data.mul_(3)  # so that neurons fire
    state = {}
    for i, (name, value) in enumerate(network.state_dict().items()):
        state[f"module.layer{i}.{name.rpartition('.')[2]}"] = value.clone()
        state[f"module.act{i}.thresh"] = torch.tensor(1.0)
    return network, state


@pytest.mark.parametrize("nested", [None, "state_dict", "net"])
def test_weights_are_found_by_order_and_shape(nested, tmp_path):
    source, state = published()
    torch.manual_seed(2)
    network = digits_net().eval()
    path = tmp_path / "published.pth"
    torch.save({nested: state, "epoch": 3} if nested else state, path)
    with torch.no_grad():
        expected = source(X)
        assert not torch.allclose(network(X), expected)
    names = load_published_state(network, path, check=(X, expected))
    with torch.no_grad():
        assert torch.equal(network(X), expected)
    assert len(names) == sum(value.ndim > 0 for value in network.state_dict().values())
    assert all(theirs.startswith("module.layer") for theirs in names)


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def test_what_does_not_fit_is_named_and_nothing_changed():
    source, state = published()
    network = digits_net(decay=0.5).eval()
    before = weights(network)
    with torch.no_grad():
        expected = source(X)
    swapped = dict(reversed(state.items()))
    longer = state | {"module.more": torch.ones(3)}
    shorter = dict(list(state.items())[:-2])
    for wrong, check, text in (
        (swapped, None, "weight 1 differs: module"),
        (longer, None, "first left is module.more"),
        (shorter, None, "the first left is body"),
        ({"epoch": 3}, None, "holds no weights; its entries are epoch"),
        (state, (X, expected), "other logits, off by"),
        (state, (X, expected[:2]), r"shape \(4, 10\), not \(2, 10\)"),
    ):
        with pytest.raises(ValueError, match=text):
            load_published_state(network, wrong, check=check)
        assert all(map(torch.equal, weights(network), before))


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_published_state(vgg_small(), tmp_path / "none.pth")
    path = tmp_path / "text.pth"
    path.write_text("weights")
    with pytest.raises(ValueError, match="no readable file of weights"):
        load_published_state(vgg_small(), path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds a list"):
        load_published_state(vgg_small(), str(path))
