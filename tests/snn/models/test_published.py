from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn

from art_snn.snn.models import digits_net, load_published_state, resnet17, vgg_dvs, vgg_small

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


class Neurons(nn.Module):
    """v(t) = 0.9 v(t-1) + x(t) on (T*N, ...), T = 4; a spike from 1 on, then v = 0."""

    def forward(self, x):
        v, spikes = 0.0, []
        for current in x.unflatten(0, (4, -1)):
            v = 0.9 * v + current
            spikes.append((v >= 1).float())
            v = v * (1 - spikes[-1])
        return torch.stack(spikes).flatten(0, 1)


def conv(channels, width, kernel, stride=1):
    return nn.Sequential(nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(width))


class Block(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1, self.act1 = conv(channels, width, 3, stride), Neurons()
        self.conv2, self.act2 = conv(width, width, 3), Neurons()
        self.right = conv(channels, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return self.act2(self.conv2(self.act1(self.conv1(x))) + self.right(x))


class Published(nn.Module):
    """A ResNet-17 as research code writes it: normalisation is no part of its state."""

    def __init__(self, std):
        super().__init__()
        self.std = std
        self.first, self.act = conv(3, 64, 3), Neurons()
        self.layer1 = nn.Sequential(Block(64, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), *(Block(128, 128, 1) for _ in range(3)))
        self.fc1 = nn.Sequential(nn.Linear(512, 256), nn.BatchNorm1d(256))
        self.fc2 = nn.Linear(256, 10)

    def forward(self, x):
        x = ((x - 0.5) / self.std).repeat(4, 1, 1, 1)
        x = self.layer2(self.layer1(self.act(self.first(x))))
        x = nn.functional.avg_pool2d(x, 2).flatten(1)
        return self.fc2(self.fc1(x)).unflatten(0, (4, -1)).mean(0)


def test_a_network_of_research_code_without_normalisation_in_its_state_loads():
    torch.manual_seed(0)
    theirs, x = Published(std=0.2), torch.rand(6, 3, 16, 16)
    for module in theirs.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.weight, 1.0, 2.0)
            nn.init.uniform_(module.bias, 0.0, 0.5)
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        theirs(x)  # batch norm sees data, so that neurons fire
        expected = theirs.eval()(x)
    assert expected.std(0).min() > 0
    build = partial(resnet17, time_steps=4, image_size=16, decay=0.9, mean=[0.5] * 3)
    network = build(std=[0.2] * 3).eval()
    names = load_published_state(network, theirs.state_dict(), check=(x, expected))
    assert names["fc2.bias"] == list(network.state_dict())[-1]
    with pytest.raises(ValueError, match=r"other logits.*compare normalisation of inputs"):
        load_published_state(build(std=[0.3] * 3), theirs.state_dict(), check=(x, expected))


@pytest.mark.parametrize(
    "build", [partial(vgg_small, width=2), partial(vgg_dvs, width=2, image_size=16), partial(resnet17, image_size=8)]
)
@pytest.mark.parametrize("with_constants", [True, False])
def test_normalisation_is_taken_over_where_the_state_has_it(build, with_constants):
    source, network = build(), build()
    for name, value in network.state_dict().items():
        if name in ("body.0.mean", "body.0.std"):
            value.add_(1)
    before = weights(network)
    state = {
        f"net.{i}": value
        for i, (name, value) in enumerate(source.state_dict().items())
        if with_constants or name not in ("body.0.mean", "body.0.std")
    }
    load_published_state(network, state)
    for kept, (name, value) in zip(before, network.state_dict().items(), strict=True):
        constant = name in ("body.0.mean", "body.0.std")
        own = kept if constant and not with_constants else source.state_dict()[name]
        assert value.ndim == 0 or torch.equal(value, own)


@pytest.mark.parametrize(("off", "fits"), [(1, True), (2, True), (3, False), (4, False)])
def test_rounding_may_flip_spikes_of_a_few_inputs(off, fits):
    source, state = published()
    with torch.no_grad():
        expected = source(X)
    expected[:off] += expected.abs().max()
    with nullcontext() if fits else pytest.raises(ValueError, match="for half of the inputs or more"):
        load_published_state(digits_net(), state, check=(X, expected))


def test_logits_that_are_no_numbers_do_not_fit():
    source, state = published()
    with torch.no_grad(), pytest.raises(ValueError, match="other logits"):
        load_published_state(digits_net(), state, check=(X, source(X) * torch.nan))


def test_all_that_does_not_fit_is_listed():
    _, state = published()
    names = [name for name, value in state.items() if value.ndim]
    state[names[0]], state[names[2]] = torch.ones(2, 2), torch.ones(3)
    with pytest.raises(ValueError, match="These do not fit") as caught:
        load_published_state(digits_net(), state | {"more": torch.ones(7)})
    lines = str(caught.value).split("\n  - ")[1:]
    assert len(lines) == 3
    assert lines[0].startswith(f"{names[0]} (2, 2) for body.")
    assert lines[1].startswith(f"{names[2]} (3,) for body.")
    assert lines[2] == "more (7,) is left over"
    with pytest.raises(ValueError, match=r"  - and \d+ more"):
        load_published_state(digits_net(), {"other": torch.ones(3)})


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
        (swapped, None, r"\n  - module"),
        (longer, None, r"module.more \(3,\) is left over"),
        (shorter, None, "nothing is left for body"),
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
    with pytest.raises(ValueError, match="not a readable file of weights"):
        load_published_state(vgg_small(), path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds a list"):
        load_published_state(vgg_small(), str(path))
