"""Record, replay, taps: what the engine does beyond the formulas."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from art_snn import (
    HART,
    LIF,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    InexactReplayWarning,
    Residual,
    SpikingNetwork,
    UnsupportedModelError,
)
from art_snn.engine import recording, replaying
from art_snn.engine import run as engine
from art_snn.engine.recording import record
from art_snn.engine.replaying import replay
from art_snn.engine.steps import is_time_blind
from art_snn.engine.taps import tapped
from art_snn.engine.unrolling import unroll_rate
from art_snn.snn import readers as adapters
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SpikingSequential, over_time
from art_snn.snn.readers import neuron_params, register_reader
from tests.conftest import make_body, make_network, settle


@settings(deadline=None, max_examples=25)
@given(
    time_steps=st.integers(1, 9),
    batch=st.integers(1, 5),
    rows=st.integers(1, 12),
    decay=st.sampled_from([0.3, 0.9, 1.0]),
    reset=st.sampled_from(["hard", "soft"]),
)
def test_record_in_chunks_equals_the_whole_sequence(time_steps, batch, rows, decay, reset):
    torch.manual_seed(time_steps)
    body = make_body(lambda: LIF(decay=decay, reset=reset), residual=True)
    network = SpikingNetwork(DirectEncoder(time_steps=time_steps), body)
    settle(network, torch.rand(4, 2, 8, 8)).double()
    x_seq = torch.rand(time_steps, batch, 2, 8, 8, dtype=torch.float64)
    whole = record(network, x_seq, HART().slope)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "ROWS_CPU", rows)
        chunked = record(network, x_seq, HART().slope)
    torch.testing.assert_close(chunked.logits, whole.logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.logits, network.readout(network.body(x_seq)), rtol=1e-12, atol=1e-12)
    assert chunked.layers.keys() == whole.layers.keys()
    for name in whole.layers:
        for one, other in zip(chunked.layers[name], whole.layers[name], strict=True):
            torch.testing.assert_close(one.rate, other.rate, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(one.mean_current, other.mean_current, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(one.mean_slope, other.mean_slope, rtol=1e-12, atol=1e-12)


def test_max_pool_is_noticed_though_the_logits_agree():
    network, x = make_network("max-pool", dtype=torch.float64)
    x_seq = network.encode(x)
    passed = record(network, x_seq, HART().slope)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "obstacles", lambda *_: ())
        replayed = replay(network, x_seq, HART(), passed.layers, passed.logits)
    torch.testing.assert_close(replayed.logits, passed.logits, rtol=1e-9, atol=1e-9)
    assert len(replayed.inexact) == 1
    assert replayed.inexact[0].startswith("the layer body.6 (off by ")
    assert replay(network, x_seq, HART(), passed.layers, passed.logits).inexact[:2] == (
        "the layers behind body.2",
        "the layers before body.6",
    )


@pytest.mark.parametrize("functional", [False, True], ids=["module", "functional"])
def test_max_pool_is_unrolled_with_one_warning_that_names_the_layer(functional):
    class Pooled(nn.Module):
        def __init__(self, first: nn.Module) -> None:
            super().__init__()
            self.first = first

        def forward(self, x_seq: Tensor) -> Tensor:
            spikes = self.first(x_seq)
            return nn.functional.max_pool2d(spikes.flatten(0, 1), 2).unflatten(0, spikes.shape[:2])

    torch.manual_seed(0)
    first = [nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(decay=0.9)]
    head = Pooled(SpikingSequential(*first)) if functional else nn.Sequential(*first, nn.MaxPool2d(2))
    body = nn.Sequential(head, nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), LIF(decay=0.9), nn.Flatten(), nn.Linear(24, 5))
    network = SpikingNetwork(DirectEncoder(time_steps=8), body)
    x = torch.rand(4, 2, 8, 8)
    settle(network, x).double()
    module = GradientRuleModule(network, "hart").eval()
    leaf = x.double().requires_grad_()
    with pytest.warns(InexactReplayWarning, match=r"body\.3") as caught:
        found, again = (torch.autograd.grad(module(leaf).square().sum(), leaf)[0] for _ in range(2))
    assert len(caught) == 1
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    assert torch.equal(found, again)


def test_dropout_left_on_is_noticed():
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 32), LIF(decay=0.9), nn.Dropout(0.5), nn.Linear(32, 16), LIF(), nn.Linear(16, 3)
    )
    module = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=4), body)).eval()
    module.network.body[3].train()
    x = (12 * torch.rand(4, 1, 4, 4)).requires_grad_()
    with pytest.warns(InexactReplayWarning, match=r"body\.5"):
        module(x)


def test_odd_readout_is_noticed():
    class LastStep(SpikingNetwork):
        def readout(self, out_seq: Tensor) -> Tensor:
            return out_seq[-1]

    torch.manual_seed(0)
    network = LastStep(DirectEncoder(time_steps=4), make_body(lambda: LIF(decay=0.9)))
    x = torch.rand(4, 2, 8, 8)
    settle(network, x)
    with pytest.warns(InexactReplayWarning, match="the layers before the logits"):
        logits = GradientRuleModule(network).eval()(x.requires_grad_())
    torch.testing.assert_close(logits, network(x))


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
    torch.testing.assert_close(engine.simulate(network, x), network(x))
    assert seen == [6, 6]
    with pytest.warns(InexactReplayWarning):
        logits = GradientRuleModule(network).eval()(x.requires_grad_())
    torch.testing.assert_close(logits, network(x))


def test_one_neuron_module_may_be_used_twice():
    torch.manual_seed(0)
    shared, other = LIF(decay=0.7), LIF(decay=0.7)
    layers = [nn.Flatten(), nn.Linear(16, 12), shared, nn.Linear(12, 12), shared, nn.Linear(12, 3)]
    twice = SpikingNetwork(DirectEncoder(time_steps=5), nn.Sequential(*layers)).eval().double()
    layers[4] = other
    apart = SpikingNetwork(DirectEncoder(time_steps=5), nn.Sequential(*layers)).eval().double()
    x = (3 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    grads = [torch.autograd.grad(GradientRuleModule(n).eval()(x).square().sum(), x)[0] for n in (twice, apart)]
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(*grads, rtol=1e-12, atol=0)


def test_foreign_neuron_needs_only_a_reader(monkeypatch):
    class Foreign(nn.Module):
        """A neuron of another library: leak 1 - 1/tau, input weight 1/tau."""

        def __init__(self, tau: float) -> None:
            super().__init__()
            self.tau = tau

        def forward(self, current_seq: Tensor) -> Tensor:
            potential, spikes = torch.zeros_like(current_seq[0]), []
            for current in current_seq:
                potential = potential + (current - potential) / self.tau
                spikes.append((potential >= 1).to(current.dtype))
                potential = torch.where(potential >= 1, 0.0, potential)
            return torch.stack(spikes)

    monkeypatch.setattr(adapters, "_READERS", list(adapters._READERS))

    @register_reader
    def read(module: nn.Module) -> NeuronParams | None:
        return NeuronParams(decay=1 - 1 / module.tau, c=1 / module.tau) if isinstance(module, Foreign) else None

    assert neuron_params(Foreign(2.0)) == NeuronParams(decay=0.5, c=0.5)
    torch.manual_seed(0)
    body = SpikingSequential(
        nn.Flatten(), nn.Linear(16, 12), Foreign(2.0), nn.Linear(12, 12), Foreign(4.0), nn.Linear(12, 3)
    )
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval().double()
    x = (6 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    module = GradientRuleModule(network, HART(gamma=2.0)).eval()
    logits = module(x)
    torch.testing.assert_close(logits, network(x), rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(logits.square().sum(), x)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(x), HART(gamma=2.0)).square().sum(), x)[0]
    assert found.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_synaptic_memory_and_other_parameters_are_integrated():
    params = NeuronParams(decay=0.5, alpha=0.25, c=2.0, d=0.1, v_reset=-0.2, v0=0.3, threshold=1.5)
    current = torch.tensor([0.4, 0.3, 0.6, 0.1, 0.9], dtype=torch.float64)
    i, v, expected = 0.0, 0.3, []
    for value in current.tolist():
        i = 0.25 * i + value
        m = 0.5 * v + 2.0 * i + 0.1
        expected.append(float(m >= 1.5))
        v = -0.2 if m >= 1.5 else m
    neurons = recording.Accumulator(params, None, True)
    found = neurons(current.view(5, 1, 1)).flatten().tolist()
    assert found == expected
    assert 0 < sum(expected) < 5
    tensor_params = NeuronParams(*[torch.tensor(p, dtype=torch.float64) if isinstance(p, float) else p for p in params])
    assert recording.Accumulator(tensor_params, None, True)(current.view(5, 1, 1)).flatten().tolist() == expected


def test_taps_keep_a_forward_that_was_already_shadowed():
    network, x = make_network("plain")
    layer = network.body[2]
    own = layer.forward
    layer.forward = own
    with tapped(network, lambda name, params: lambda current_seq: current_seq), torch.no_grad():
        changed = network(x)
    assert layer.__dict__["forward"] is own
    assert not torch.equal(changed, network(x))


def test_threads_do_not_run_each_others_taps():
    network, x = make_network("plain", dtype=torch.float64)
    expected = {
        rule: torch.autograd.grad(GradientRuleModule(network, rule).eval()(leaf).sum(), leaf)[0]
        for rule in ("hart", "stbp", "bptr")
        for leaf in [x.clone().requires_grad_()]
    }
    wrong = []

    def work(rule: str) -> None:
        module = GradientRuleModule(network, rule).eval()
        for _ in range(5):
            leaf = x.clone().requires_grad_()
            grad = torch.autograd.grad(module(leaf).sum(), leaf)[0]
            if not torch.equal(grad, expected[rule]):
                wrong.append(rule)

    threads = [threading.Thread(target=work, args=(rule,)) for rule in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_networks_are_not_kept_alive():
    network, x = make_network("max-pool")
    with pytest.warns(InexactReplayWarning):
        GradientRuleModule(network).eval()(x.clone().requires_grad_())
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None


def test_broadcast_sequence_goes_through_a_layer_once():
    rows = []
    layer = nn.Linear(3, 4)
    layer.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    x_seq = torch.rand(2, 3).expand(5, 2, 3)
    out = over_time(layer, x_seq)
    assert rows == [2]
    assert out.shape == (5, 2, 4)
    torch.testing.assert_close(out, over_time(layer, x_seq.contiguous()))


def test_batch_norm_in_training_counts_every_step():
    x_seq = torch.rand(2, 3, 4, 4).expand(5, 2, 3, 4, 4)
    one, other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    over_time(one, x_seq)
    over_time(other, x_seq.contiguous())
    torch.testing.assert_close(one.running_var, other.running_var)


def test_residual_without_neurons_is_a_sequence_module():
    torch.manual_seed(0)
    branch = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1))
    x_seq = torch.rand(3, 4, 2, 5, 5)
    out = SpikingSequential(Residual(branch), LIF())(x_seq)
    assert out.shape == x_seq.shape


def test_unknown_family_is_refused():
    network, x = make_network("plain")
    with pytest.raises(TypeError, match="RateRule"):
        engine.rule_logits(network, object(), x.clone().requires_grad_())


# --- what values alone do not show: operations that are linear on spikes, but not in their derivative ----------------


class ReluResidual(nn.Module):
    """A custom residual block with a functional ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, spikes: Tensor) -> Tensor:
        return nn.functional.relu(spikes + 0.1 * self.conv(spikes).clamp(min=0))


class Apply(nn.Module):
    """A layer made of a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, spikes: Tensor) -> Tensor:
        return self.function(spikes)


class Clone(torch.autograd.Function):
    """Named like a linear operation; its backward is none."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        ctx.save_for_backward(spikes)
        return 2 * spikes

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * (ctx.saved_tensors[0] > 0)


BEFORE = r"the layers behind body\.2"
BLIND = {
    "relu": (nn.ReLU(), BEFORE),
    "average-pool and relu": (nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.ReLU()), BEFORE),
    "prelu": (nn.PReLU(), BEFORE),
    "hardtanh": (nn.Hardtanh(0, 1), BEFORE),
    "residual": (ReluResidual(), BEFORE),
    "in-place relu": (nn.ReLU(inplace=True), BEFORE),
    "square": (Apply(lambda s: s * s), BEFORE),
    "mask": (Apply(lambda s: s * (s > 0)), BEFORE),
    "cast": (Apply(lambda s: s * s.bool()), BEFORE),
    "channel mask": (Apply(lambda s: s * (s.sum((2, 3), keepdim=True) > 0)), BEFORE),
    "instance norm": (nn.InstanceNorm2d(6), BEFORE),
    "custom function": (Apply(Clone.apply), r"the layers behind body\.2"),
}


@pytest.mark.parametrize(("layer", "operation"), BLIND.values(), ids=BLIND)
def test_operations_that_are_not_linear_are_unrolled(layer, operation):
    torch.manual_seed(0)
    first = [nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(decay=0.9)]
    rest = [nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), LIF(decay=0.9), nn.Flatten(), nn.Linear(216, 5)]
    network = SpikingNetwork(DirectEncoder(time_steps=6), nn.Sequential(*first, layer, *rest))
    x = torch.rand(3, 2, 8, 8)
    settle(network, x).double()
    leaf = x.double().requires_grad_()
    with pytest.warns(InexactReplayWarning, match=operation):
        found = torch.autograd.grad(GradientRuleModule(network).eval()(leaf).square().sum(), leaf)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_operations_before_the_first_neuron_are_free_for_a_constant_input_only():
    torch.manual_seed(0)
    x = torch.rand(3, 4, 2, 8, 8).round()
    for encoder, data in ((DirectEncoder(time_steps=4), x[:, 0]), (EventFrameEncoder(), x)):
        body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), LIF(decay=0.9), nn.Flatten(), nn.Linear(216, 5)
        )
        network = settle(SpikingNetwork(encoder, body), data).double()
        leaf = data.double().requires_grad_()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = torch.autograd.grad(GradientRuleModule(network).eval()(leaf).square().sum(), leaf)[0]
        assert [w.category for w in caught] == ([] if isinstance(encoder, DirectEncoder) else [InexactReplayWarning])
        expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_affine_layers_of_many_kinds_are_replayed_without_a_warning():
    torch.manual_seed(0)
    weight_normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 8, 3, groups=2, bias=False))
    body = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(4),
        LIF(decay=0.9),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AvgPool2d(2),
        nn.ConvTranspose2d(4, 4, 2, stride=2),
        LIF(decay=0.9),
        nn.AdaptiveAvgPool2d(4),
        weight_normed,
        LIF(decay=0.9),
        nn.ZeroPad2d(1),
        nn.PixelShuffle(2),
        nn.ChannelShuffle(2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(128, 5),
    )
    network = SpikingNetwork(DirectEncoder(time_steps=5), body).eval().double()
    leaf = (9 * torch.rand(3, 2, 8, 8, dtype=torch.float64)).requires_grad_()
    found = torch.autograd.grad(GradientRuleModule(network).eval()(leaf).square().sum(), leaf)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART()).square().sum(), leaf)[0]
    assert found.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_one_large_channel_does_not_hide_an_error(monkeypatch):
    network, x = make_network("max-pool", dtype=torch.float64)
    with torch.no_grad():
        network.body[5].bias[0] = -1e6
    monkeypatch.setattr(replaying, "obstacles", lambda *_: ())
    with pytest.warns(InexactReplayWarning, match=r"the layer body\.6"):
        GradientRuleModule(network).eval()(x.requires_grad_())


def test_body_that_cannot_run_one_step_is_unrolled():
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.neuron(x_seq[0::2] + x_seq[1::2])

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), Halves(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval()
    x = (4 * torch.rand(4, 1, 4, 4)).requires_grad_()
    with pytest.warns(InexactReplayWarning, match="a trial on random numbers fails with IndexError|Runtime"):
        logits = GradientRuleModule(network).eval()(x)
    torch.testing.assert_close(logits, network(x))


def test_neurons_that_are_called_a_different_number_of_times_are_unrolled():
    class Stepwise(nn.Module):
        """Calls its neuron once for every other step."""

        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            return torch.cat([self.neuron(part) for part in x_seq.split(2)])

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), Stepwise(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval()
    x = (4 * torch.rand(4, 1, 4, 4)).requires_grad_()
    with pytest.warns(InexactReplayWarning, match="a layer mixes time-steps"):
        logits = GradientRuleModule(network).eval()(x)
    torch.testing.assert_close(logits, network(x))


def test_outputs_may_be_changed_in_place():
    class AddInPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIF(decay=0.9)

        def forward(self, x_seq: Tensor) -> Tensor:
            out = self.neuron(x_seq)
            out += x_seq
            return out

    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), LIF(decay=0.9), AddInPlace(), nn.Linear(8, 3))
    network = SpikingNetwork(DirectEncoder(time_steps=6), body).eval().double()
    leaf = (4 * torch.rand(4, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    grads = []
    for logits in (GradientRuleModule(network).eval()(leaf), unroll_rate(network, network.encode(leaf), HART())):
        logits -= 1
        grads.append(torch.autograd.grad(logits.square().sum(), leaf)[0])
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-15)


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


def test_other_threads_find_the_layers_as_they_are():
    network, x = make_network("plain", dtype=torch.float64)
    expected = network(x).detach()
    inside, found = [], []

    def make_tap(name: str, params: NeuronParams):
        def tap(current_seq: Tensor) -> Tensor:
            inside.append(name)
            thread = threading.Thread(target=lambda: found.append(network(x).detach()))
            thread.start()
            thread.join()
            return current_seq

        return tap

    with tapped(network, make_tap), torch.no_grad():
        network(x)
    assert len(inside) == 3
    assert all(torch.equal(logits, expected) for logits in found)


def test_nested_residual_without_neurons_gets_its_sequence():
    torch.manual_seed(0)
    inner = nn.Sequential(Residual(nn.Conv2d(2, 2, 3, padding=1)))
    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(inner, LIF(), nn.Flatten(), nn.Linear(32, 3)))
    assert network(torch.rand(3, 2, 4, 4)).shape == (3, 3)


def test_empty_batch_has_empty_gradients():
    network, x = make_network("plain")
    for rule in ("hart", "stbp", "rga", "bptr", "rate", "cba"):
        leaf = x[:0].clone().requires_grad_()
        assert torch.autograd.grad(GradientRuleModule(network, rule).eval()(leaf).sum(), leaf)[0].shape == (0, 2, 8, 8)


@pytest.mark.parametrize("place", ["between neurons", "after the last neuron"])
def test_steps_that_are_weighted_are_unrolled_also_where_spikes_are_constant(place):
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x_seq: Tensor) -> Tensor:
            return over_time(nn.Identity(), x_seq) * self.weights

    class Block(nn.Module):
        """A module on sequences, as it holds a neuron."""

        def __init__(self) -> None:
            super().__init__()
            self.neuron, self.weighted = LIF(decay=0.9), Weighted()

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.weighted(self.neuron(x_seq))

    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 8), Block(), nn.Linear(8, 3)]
    if place == "between neurons":
        layers[3:3] = [nn.Linear(8, 8), LIF(decay=0.9)]
    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(*layers)).eval().double()
    leaf = (0.01 * torch.rand(2, 1, 4, 4, dtype=torch.float64)).requires_grad_()  # no spikes at all
    with pytest.warns(InexactReplayWarning, match="one step cannot stand"):
        found = torch.autograd.grad(GradientRuleModule(network, HART(gamma=2.0)).eval()(leaf).sum(), leaf)[0]
    expected = torch.autograd.grad(unroll_rate(network, network.encode(leaf), HART(gamma=2.0)).sum(), leaf)[0]
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_trial_is_made_once_and_again_when_a_layer_changes(monkeypatch):
    from art_snn.engine import linearity

    calls = []
    trial = linearity._try
    monkeypatch.setattr(linearity, "_try", lambda *args: calls.append(1) or trial(*args))
    network, x = make_network("plain")
    module = GradientRuleModule(network).eval()
    rng = torch.get_rng_state()
    for _ in range(3):
        module(x.clone().requires_grad_())
    assert len(calls) == 1
    assert torch.equal(rng, torch.get_rng_state())
    network.body[3] = nn.MaxPool2d(2)
    with pytest.warns(InexactReplayWarning):
        module(x.clone().requires_grad_())
    assert len(calls) == 2
