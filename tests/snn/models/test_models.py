"""The networks that the package builds: shapes, sizes counted by hand, layers, bad options."""

from __future__ import annotations

import copy
import itertools
import warnings

import pytest
import torch
from torch import nn

from art_snn import BPTR, CBA, HART, LIF, STBP, GradientRuleModule, InexactReplayWarning
from art_snn.files import load_weights, save_weights
from art_snn.snn.models import digits_net, resnet17, vgg11, vgg_dvs, vgg_small
from tests import reference


@pytest.mark.parametrize(
    ("build", "parameters", "shape"), [(digits_net, 53_226, (1, 8, 8)), (vgg11, 61_377_034, (3, 32, 32))]
)
def test_builders_have_the_size_that_they_say(build, parameters, shape):
    network = build(time_steps=2)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert f"{parameters:,}" in build.__doc__
    with torch.no_grad():
        assert network.eval()(torch.rand(1, *shape)).shape == (1, 10)


def test_vgg11_has_the_papers_layers():
    widths = [m.out_channels for m in vgg11().modules() if isinstance(m, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [m.out_features for m in vgg11(nb_classes=100).modules() if isinstance(m, nn.Linear)] == [4096, 4096, 100]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: vgg11(nb_classes=1), "nb_classes must be a whole number >= 2, got 1"),
        (lambda: digits_net(nb_classes=0), "nb_classes must be a whole number >= 2, got 0"),
        (lambda: vgg11(image_size=30), "multiple of 8, got 30"),
        (lambda: vgg11(in_channels=1), "need 1 numbers"),
        (lambda: vgg11(decay=2.0), "got 2.0"),
        (lambda: digits_net(time_steps=0), "got 0"),
        (lambda: digits_net(threshold=0.0), "threshold"),
        (lambda: digits_net(reset="x"), "reset"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def conv(inside: int, outside: int, *, bias: bool, kernel: int = 3) -> int:
    """Parameters of a convolution with its batch norm."""
    return inside * outside * kernel**2 + (outside if bias else 0) + 2 * outside


def linear(inside: int, outside: int) -> int:
    return (inside + 1) * outside


def expected_vgg11() -> int:
    widths = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    layers = sum(conv(a, b, bias=True) for a, b in itertools.pairwise(widths))
    return layers + linear(512 * 16, 4096) + linear(4096, 4096) + linear(4096, 10)


def expected_vgg_small() -> int:
    widths = [3, 16, 48, 96, 96, 192]
    layers = sum(conv(a, b, bias=False) for a, b in itertools.pairwise(widths))
    return layers + linear(192 * 16, 10)


def expected_vgg_dvs() -> int:
    widths = [2, 64, 128, 256, 256, 512, 512, 512, 512]
    return sum(conv(a, b, bias=True) for a, b in itertools.pairwise(widths)) + linear(512 * 9, 10)


def expected_resnet17() -> int:
    first = conv(3, 64, bias=False)
    narrow = 6 * conv(64, 64, bias=False) + conv(64, 64, bias=False, kernel=1)
    wide = conv(64, 128, bias=False) + 7 * conv(128, 128, bias=False) + conv(64, 128, bias=False, kernel=1)
    return first + narrow + wide + linear(128 * 16, 256) + 2 * 256 + linear(256, 10)


@pytest.mark.parametrize(
    ("build", "expected", "documented", "convolutions", "neurons"),
    [
        (vgg11, expected_vgg11, "61,377,034", 8, 10),
        (vgg_small, expected_vgg_small, "329,274", 5, 5),
        (vgg_dvs, expected_vgg_dvs, "9,271,498", 8, 8),
        (resnet17, expected_resnet17, "1,872,074", 15 + 2, 15),
    ],
)
def test_networks_have_the_documented_size(build, expected, documented, convolutions, neurons):
    with torch.device("meta"):
        network = build()
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == expected() == int(documented.replace(",", ""))
    assert documented in build.__doc__
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == convolutions
    assert sum(isinstance(module, LIF) for module in network.modules()) == neurons


SMALL = {
    "vgg11": (lambda **options: vgg11(image_size=8, time_steps=2, **options), (1, 3, 8, 8)),
    "vgg_small": (lambda **options: vgg_small(image_size=8, width=2, time_steps=2, **options), (1, 3, 8, 8)),
    "resnet17": (lambda **options: resnet17(image_size=8, time_steps=2, **options), (1, 3, 8, 8)),
    "vgg_dvs": (lambda **options: vgg_dvs(image_size=16, width=2, **options), (1, 3, 2, 16, 16)),
    "digits_net": (lambda **options: digits_net(time_steps=2, **options), (1, 1, 8, 8)),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("name", SMALL)
def test_networks_take_options_and_the_engine_is_exact_on_them(name, layout):
    """Logits and gradients are those of the reference, which knows convolutions, norms, pools and sums alone."""
    build, shape = SMALL[name]
    torch.manual_seed(0)
    network = build(decay=0.5, threshold=0.25, reset="soft", nb_classes=7).double().eval().to(memory_format=layout)
    neurons = [module.params for module in network.modules() if isinstance(module, LIF)]
    assert {(p.decay, p.threshold, p.reset) for p in neurons} == {(0.5, 0.25, "soft")}
    x = torch.rand(2, *shape[1:], dtype=torch.float64, requires_grad=True)
    assert network(x).shape == (2, 7)
    with torch.no_grad():
        for module in network.modules():  # so that there is something in running statistics that differs from 0 and 1
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.2, 0.5)
    labels = torch.tensor([1, 4])
    for part in (slice(None), slice(1)):  # one sample alone, too: strides of size-1 dimensions are no layout
        inputs, targets = x.detach()[part].requires_grad_(), labels[part]
        x_seq = network.encode(inputs.detach())
        logits, traces = reference.forward(network, x_seq)
        assert all(trace.spikes.any() for trace in traces)
        for rule, hyper in ((HART, {"gamma": 0.8}), (STBP, {"gamma": 0.8}), (BPTR, {}), (CBA, {})):
            from_logits = reference.ann_forward(network, x_seq)[0] if rule is CBA else logits
            seed = reference.cross_entropy_gradient(from_logits, targets)
            expected = reference.input_gradient(network, x_seq, seed, rule.name, **hyper)
            expected = expected.transpose(0, 1) if name == "vgg_dvs" else expected.sum(0)
            module = GradientRuleModule(network, rule(**hyper)).eval()
            with warnings.catch_warnings():
                warnings.simplefilter("error", InexactReplayWarning)
                found = next(module.attack_samples(inputs))
            torch.testing.assert_close(found, from_logits, rtol=1e-9, atol=1e-10)
            (grad,) = torch.autograd.grad(nn.functional.cross_entropy(found, targets), inputs)
            size = float(expected.abs().max())
            assert size > 0
            torch.testing.assert_close(grad, expected, rtol=1e-7, atol=1e-9 * size)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (vgg11, {"image_size": 30}, "image_size must be a multiple of 8, got 30"),
        (vgg11, {"in_channels": 1}, "mean and std need 1 numbers, one per channel; got 3"),
        (vgg_small, {"nb_classes": 1}, "nb_classes must be a whole number >= 2, got 1"),
        (vgg_small, {"width": 0}, "width must be a whole number >= 1, got 0"),
        (vgg_small, {"decay": 0}, "decay"),
        (resnet17, {"image_size": 4}, "image_size must be a multiple of 8, got 4"),
        (resnet17, {"in_channels": 2}, "mean and std need 2 numbers"),
        (vgg_dvs, {"image_size": 40}, "image_size must be a multiple of 16, got 40"),
        (vgg_dvs, {"in_channels": 0}, "in_channels must be a whole number >= 1, got 0"),
        (vgg_dvs, {"width": 2.5}, "width must be a whole number >= 1, got 2.5"),
        (resnet17, {"reset": "none"}, "reset must be 'hard' or 'soft', got 'none'"),
    ],
)
def test_bad_options_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize("name", SMALL)
def test_layout_in_memory_changes_speed_alone(name, tmp_path):
    """Networks may lie in memory with the channels last; weights go to disk and back as any others."""
    build, shape = SMALL[name]
    assert all(parameter.is_contiguous() for parameter in build().parameters())
    network = build().double().to(memory_format=torch.channels_last)
    x = torch.rand(4, *shape[1:], dtype=torch.float64)
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    for model in (network, plain):
        model.train()
        for _ in range(3):
            model(x)
        model.eval()
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    for rule in ("hart", STBP()):
        outs = [GradientRuleModule(model, rule)(leaf) for model, leaf in zip((network, plain), leaves, strict=True)]
        torch.testing.assert_close(*outs)
        torch.testing.assert_close(
            *[torch.autograd.grad(o[:, 0].sum(), leaf)[0] for o, leaf in zip(outs, leaves, strict=True)]
        )
    save_weights(network, tmp_path / "w.safetensors")
    again = build().double().to(memory_format=torch.channels_last)
    load_weights(again, tmp_path / "w.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), network.state_dict().values(), strict=True)
    )
    assert all(a.stride() == b.stride() for a, b in zip(again.parameters(), network.parameters(), strict=True))


def test_builders_take_other_neurons():
    class Leaky(LIF):
        def __init__(self, leak: float) -> None:
            super().__init__(decay=1 - leak)

    network = digits_net(neuron=Leaky, leak=0.25)
    neurons = [module for module in network.modules() if isinstance(module, LIF)]
    assert {type(neuron) for neuron in neurons} == {Leaky}
    assert {neuron.params.decay for neuron in neurons} == {0.75}
    assert {module.params.decay for module in vgg_small().modules() if isinstance(module, LIF)} == {0.9}
