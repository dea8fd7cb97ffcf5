"""What a small batch shows: forwards that do more than their parts, layers with state, layers that mix samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from art_snn import LIF, DirectEncoder, GradientRuleModule, PoissonEncoder, SpikingNetwork, UnsupportedModelError
from art_snn.engine.probing import forward_reasons, has_own_forward, layer_reasons
from art_snn.snn.network import over_time
from tests.conftest import make_network

X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def network(*middle: nn.Module, encoder: nn.Module | None = None, kind: type = SpikingNetwork) -> SpikingNetwork:
    torch.manual_seed(0)
    layers = (nn.Flatten(), nn.Linear(16, 12), LIF(threshold=0.2), *middle, nn.Linear(12, 3))
    return kind(DirectEncoder(time_steps=4) if encoder is None else encoder, nn.Sequential(*layers)).eval()


class Function(nn.Module):
    """A layer made of a function of itself and its input."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.state = function, None

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def leaky(layer: nn.Module, x: Tensor) -> Tensor:
    layer.state = x if layer.state is None else 0.5 * layer.state + x
    return layer.state


def previous(layer: nn.Module, x: Tensor) -> Tensor:
    before, layer.state = layer.state, x.mean()
    return x if before is None else x + 0.1 * before


def counting(layer: nn.Module, x: Tensor) -> Tensor:
    layer.state = 1 + (layer.state or 0)
    return x * (1 + layer.state % 2)


STATE = {
    "leaky": leaky,
    "previous": previous,
    "counting": counting,
    "noise": lambda layer, x: x + 0.1 * torch.randn_like(x),
    "dropout": lambda layer, x: functional.dropout(x, 0.5, training=True),
}
MIXING = {
    "centred": Function(lambda layer, x: x - 0.01 * x.mean(0)),
    "sorted": Function(lambda layer, x: x.sort(0).values),
    "by size": Function(lambda layer, x: x / len(x)),
    "batch norm": nn.BatchNorm1d(12, track_running_stats=False),
}


@pytest.mark.parametrize("function", STATE.values(), ids=STATE)
@pytest.mark.parametrize(
    "encoder", [DirectEncoder(time_steps=4), PoissonEncoder(time_steps=4)], ids=["direct", "poisson"]
)
def test_the_layer_that_cannot_be_repeated_is_named(function, encoder):
    (reason,) = layer_reasons(network(nn.Linear(12, 12), Function(function), encoder=encoder), X)
    assert reason.startswith("its body.4 gives another output for the same input in the next call")


@pytest.mark.parametrize("layer", MIXING.values(), ids=MIXING)
@pytest.mark.parametrize("threshold", [0.2, 1e6], ids=["firing", "silent"])
def test_the_layer_that_mixes_samples_is_named(layer, threshold):
    (reason,) = layer_reasons(network(nn.Linear(12, 12), layer, LIF(threshold=threshold)), X)
    assert reason.startswith("its body.4 gives a sample another output beside other samples")


def test_mixing_between_the_layers_of_a_module_is_that_modules():
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.neuron = nn.Linear(12, 12), LIF()

        def forward(self, x_seq: Tensor) -> Tensor:
            current = over_time(self.first, x_seq)
            return self.neuron(current - current.mean(1, keepdim=True))

    (reason,) = layer_reasons(network(Centred()), X)
    assert reason.startswith("its body.3 gives a sample another output")


class Encoder(nn.Module):
    """An encoder made of a function of itself and its input."""

    def __init__(self, function, random: bool) -> None:
        super().__init__()
        self.function, self.random, self.state = function, random, None

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x).expand(4, *x.shape)


def test_encoders_that_keep_state_or_mix_samples_are_named():
    (reason,) = layer_reasons(network(encoder=Encoder(leaky, random=False)), X)
    assert reason.startswith("its encoder (random = False) gives another output for the same input")
    assert layer_reasons(network(encoder=Encoder(leaky, random=True)), X) == []
    for random in (True, False):  # to say that one is random does not help
        (reason,) = layer_reasons(network(encoder=Encoder(lambda layer, x: x - x.mean(0), random=random)), X)
        assert reason.startswith("its encoder gives a sample another output beside other samples")


class Attention(nn.Module):
    """Attention over the steps of a sample, with samples on the first axis and flattened in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.neuron, self.last = (
            nn.MultiheadAttention(12, 2, batch_first=True),
            LIF(),
            nn.Linear(12, 12),
        )

    def forward(self, x_seq: Tensor) -> Tensor:
        x = self.neuron(x_seq).transpose(0, 1)
        mixed, _ = self.attention(x, x, x)
        return self.last(mixed.flatten(0, 1)).unflatten(0, x.shape[:2]).transpose(0, 1)


class Noise(nn.Module):
    """Noise that can be repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn(x.shape, generator=self.generator)


FINE = {
    "layer norm": lambda: nn.LayerNorm(12),
    "batch norm": lambda: nn.BatchNorm1d(12),
    "dropout": lambda: nn.Dropout(),
    "attention": Attention,
    "noise of its own": Noise,
}


@pytest.mark.parametrize("make", FINE.values(), ids=FINE)
def test_layers_without_state_are_fine(make):
    rng = torch.get_rng_state()
    found = network(make(), encoder=PoissonEncoder(time_steps=4))
    torch.set_rng_state(rng)
    noise = found.encoder.generator.get_state()
    assert layer_reasons(found, X) == []
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(found.encoder.generator.get_state(), noise)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in found.modules())


@pytest.mark.parametrize("kind", ["plain", "residual", "max-pool", "poisson", "event-frame"])
def test_networks_of_the_package_are_fine(kind):
    found, x = make_network(kind)
    assert not has_own_forward(found)
    assert layer_reasons(found, x) == []
    assert layer_reasons(found, x[:1]) == []


# --- forwards of their own -------------------------------------------------------------------------------------------


class Scaled(SpikingNetwork):
    """Normalises its input."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.factor * x)


class Tempered(SpikingNetwork):
    """Scales its logits."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 3


class Same(SpikingNetwork):
    """Does what its parts do."""

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.body(self.encoder(x)))


def before(found: nn.Module) -> None:
    found.register_forward_pre_hook(lambda module, args: (2 * args[0],))


def after(found: nn.Module) -> None:
    found.register_forward_hook(lambda module, args, logits: logits + 0.1)


@pytest.mark.parametrize(
    "encoder", [DirectEncoder(time_steps=4), PoissonEncoder(time_steps=4)], ids=["direct", "poisson"]
)
def test_calling_a_network_is_compared_with_its_parts(encoder):
    for kind in (Scaled, Tempered):
        (reason,) = forward_reasons(network(encoder=encoder, kind=kind), X)
        assert reason.startswith("calling it gives other logits than readout(body(encode(x)))")
    for hook in (before, after):
        hooked = network(encoder=encoder)
        hook(hooked)
        assert len(forward_reasons(hooked, X)) == 1
    watched = network(encoder=encoder, kind=Same)
    watched.register_forward_hook(lambda module, args, logits: None)
    assert has_own_forward(watched)
    assert forward_reasons(watched, X) == []


def test_own_forward_and_noise_that_cannot_be_repeated_are_refused():
    class Count(nn.Module):
        """Shows another input in every call."""

        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return (x + self.calls).expand(4, *x.shape)

    (reason,) = forward_reasons(network(encoder=Count(), kind=Same), X)
    assert "noise cannot be repeated" in reason


@pytest.mark.parametrize("rule", ["hart", "stbp", "cba"])
def test_a_module_compares_where_no_classifier_does_and_again_after_a_change(rule):
    found = network(kind=Scaled)
    found.factor = nn.Parameter(torch.ones(()))
    module = GradientRuleModule(found, rule).eval()
    calls = (
        lambda: module(X.clone().requires_grad_()),
        lambda: list(module.attack_samples(X.clone().requires_grad_())),
    )
    for call in calls:
        call()
    with torch.no_grad():
        module(X)
        found.factor.fill_(1.5)  # as training would
        for call in (lambda: module(X), *calls):
            with pytest.raises(UnsupportedModelError, match="calling it gives other logits"), torch.enable_grad():
                call() if call in calls else torch.no_grad()(call)()
    module.train()
    assert module(X).shape == (3, 3)  # training is the network's own affair
