"""The network under a rule: whole sequences, empty batches, what is kept, taken apart and refused."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from art_snn import (
    HART,
    LIF,
    STBP,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    InexactReplayWarning,
    SpikingNetwork,
    UnsupportedModelError,
    rule_names,
)
from art_snn.engine.module import rule_logits
from art_snn.engine.recording import simulate
from art_snn.engine.steps import is_time_blind
from tests.conftest import make_network


def test_body_of_unknown_make_gets_the_whole_sequence():
    seen = []

    class Shift(nn.Module):
        """Adds the step before: it must see all steps at once."""

        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            seen.append(len(x_seq))
            before = torch.cat([torch.zeros_like(x_seq[:1]), x_seq[:-1]])
            return self.neuron(x_seq + before)

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), Shift(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval()
    x = 4 * torch.rand(100, 1, 4, 4)
    assert not is_time_blind(network.body)
    torch.testing.assert_close(simulate(network, network.encode(x)), network(x))
    assert seen == [6, 6]
    with pytest.warns(InexactReplayWarning):
        logits = GradientRuleModule(network).eval()(x.requires_grad_())
    torch.testing.assert_close(logits, network(x))


@pytest.mark.parametrize("rule", ["hart", "stbp", "bptr", "rga", "rate"])
@pytest.mark.parametrize("middle", [nn.Identity, nn.ReLU], ids=["affine", "unrolled"])
@pytest.mark.filterwarnings("ignore::art_snn.InexactReplayWarning")
def test_frames_that_are_one_frame_expanded_have_the_gradient_of_their_copy(rule, middle):
    class Own(nn.Module):
        """An encoder that says nothing of frames."""

        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(0, 1)

    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Flatten(), nn.Linear(18, 32), LIF(decay=0.9, threshold=0.3), middle()),
        *(nn.Linear(32, 16), LIF(threshold=0.2), nn.Linear(16, 3)),
    )
    wide = {
        "time": torch.rand(2, 1, 2, 3, 3).expand(2, 4, 2, 3, 3),
        "samples": torch.rand(1, 4, 2, 3, 3).expand(2, 4, 2, 3, 3),
        "pixels": torch.rand(2, 1, 2, 3, 1).expand(2, 4, 2, 3, 3),
    }
    for encoder in (EventFrameEncoder(), Own()):
        module = GradientRuleModule(SpikingNetwork(encoder, body), rule).double().eval()
        for x in wide.values():
            leaves = [each.double().requires_grad_() for each in (x, x.contiguous())]
            grads = [torch.autograd.grad(module(leaf)[:, 1].sum(), leaf)[0] for leaf in leaves]
            assert (grads[1].abs().flatten(2).amax(2) > 0).all()  # every frame has one
            torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-15)


def test_networks_are_not_kept_alive():
    network, x = make_network("max-pool")
    with pytest.warns(InexactReplayWarning):
        GradientRuleModule(network).eval()(x.clone().requires_grad_())
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None


def test_unknown_family_is_refused():
    network, x = make_network("plain")
    with pytest.raises(TypeError, match="RateRule"):
        rule_logits(network, object(), x.clone().requires_grad_())


def test_empty_batch_has_empty_gradients():
    network, x = make_network("plain")
    for rule in ("hart", "stbp", "rga", "bptr", "rate", "cba"):
        leaf = x[:0].clone().requires_grad_()
        assert torch.autograd.grad(GradientRuleModule(network, rule).eval()(leaf).sum(), leaf)[0].shape == (0, 2, 8, 8)


def test_spiking_encoder_and_overridden_forward_are_refused():
    encoder = nn.Sequential(DirectEncoder(time_steps=4), LIF())
    with pytest.raises(UnsupportedModelError, match="encoder holds spiking layers"):
        GradientRuleModule(
            SpikingNetwork(encoder, nn.Sequential(nn.Flatten(), nn.Linear(4, 4), LIF(), nn.Linear(4, 2)))
        )

    class Noisy(LIF):
        def forward(self, current_seq: Tensor) -> Tensor:
            return super().forward(current_seq + 0.1)

    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(nn.Linear(4, 4), Noisy(), nn.Linear(4, 2)))
    with pytest.raises(UnsupportedModelError, match=r"Noisy overrides LIF\.forward"):
        network(torch.rand(2, 4))
    with pytest.raises(UnsupportedModelError, match=r"Noisy overrides LIF\.forward"):
        GradientRuleModule(network).eval()(torch.rand(2, 4, requires_grad=True))


def test_a_module_around_a_module_keeps_its_rule_and_samples():
    network, _ = make_network("poisson")
    inner = GradientRuleModule(network, "stbp", eot_samples=3)
    outer = GradientRuleModule(inner)
    assert outer.network is network
    assert (outer.rule, outer.eot_samples) == (STBP(), 3)
    other = GradientRuleModule(inner, "hart", eot_samples=2)
    assert (other.rule, other.eot_samples) == (HART(), 2)
    assert (inner.rule, inner.eot_samples) == (STBP(), 3)
    plain = GradientRuleModule(network)
    assert (plain.rule, plain.eot_samples) == (HART(), 1)


def test_a_module_with_the_three_parts_need_not_derive_from_a_class():
    spiking, x = make_network("plain", dtype=torch.float64)

    class Parts(nn.Module):
        """A network by its parts alone."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = spiking.body

        def encode(self, x: Tensor) -> Tensor:
            return x.expand(5, *x.shape)

        def body(self, x_seq: Tensor) -> Tensor:
            return self.layers(x_seq)

        def readout(self, out_seq: Tensor) -> Tensor:
            return out_seq.mean(0)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.body(self.encode(x)))

    x.requires_grad_()
    for rule in ("hart", "stbp", "cba"):
        grads = [
            torch.autograd.grad(GradientRuleModule(network, rule).eval()(x).square().sum(), x)[0]
            for network in (Parts(), spiking)
        ]
        torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-15)
    for missing in ("encode", "body", "readout"):
        broken = Parts()
        setattr(broken, missing, None)
        with pytest.raises(TypeError, match="must be a SpikingNetwork, got Parts"):
            GradientRuleModule(broken)


def test_views_share_the_network_and_have_rules_of_their_own():
    network, x = make_network("poisson")
    module = GradientRuleModule(network, "hart", eot_samples=2).eval()
    view = module.with_rule("stbp")
    assert view.network is network
    assert (view.rule, view.eot_samples, view.training) == (STBP(), 2, False)
    assert module.rule == HART()
    with module.common_random_numbers():
        again = module.with_rule("hart")
        leaf = x.clone().requires_grad_()
        grads = [torch.autograd.grad(each(leaf).sum(), leaf)[0] for each in (module, again, module)]
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[0], grads[2])


class TestPrecision:
    """Low precision hides what the engine checks, and changes values without a word."""

    @pytest.mark.parametrize("name", rule_names())
    def test_autocast_changes_nothing(self, name):
        network, x = make_network("plain")
        module = GradientRuleModule(network, name).eval()
        leaf = x.requires_grad_()

        def run() -> list[Tensor]:
            with torch.no_grad():
                predicted = module(x)
            return [predicted, next(module.attack_samples(leaf, parameters=False)), module(leaf)]

        def with_gradients(runs: list[Tensor]) -> list[Tensor]:
            return [*runs, *(torch.autograd.grad(logits.sum(), leaf)[0] for logits in runs[1:])]

        expected = with_gradients(run())
        with torch.autocast("cpu", torch.bfloat16):
            found = run()
            assert torch.is_autocast_enabled("cpu")
        for one, other in zip(with_gradients(found), expected, strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    @pytest.mark.parametrize("name", rule_names())
    def test_networks_below_float32_are_refused(self, name, dtype):
        network, x = make_network("plain")
        module = GradientRuleModule(network.to(dtype), name).eval()
        with pytest.raises(UnsupportedModelError, match=r"gradient rules need float32: call model\.float\(\)"):
            module(x.requires_grad_())
        with pytest.raises(UnsupportedModelError, match="gradient rules need float32"):
            next(module.attack_samples(x))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", rule_names())
def test_logits_of_a_sample_that_is_not_finite_are_nan(name, bad):
    network, x = make_network("plain")
    module = GradientRuleModule(network, name).eval()
    with torch.no_grad():
        expected = module(x)
    x[1, 0, 2, 3] = bad
    with torch.no_grad():
        found = module(x)
    assert torch.isnan(found[1]).all()
    torch.testing.assert_close(found[[0, 2, 3]], expected[[0, 2, 3]])
    differentiated = module(x.requires_grad_())
    assert torch.isnan(differentiated[1]).all()
    torch.testing.assert_close(differentiated[[0, 2, 3]], expected[[0, 2, 3]], rtol=1e-4, atol=1e-5)
