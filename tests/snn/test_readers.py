"""Readers: neurons of another library. Taps: layers and other threads are left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from art_snn import HART, LIF, DirectEncoder, GradientRuleModule, SpikingNetwork, UnsupportedModelError
from art_snn.engine.unrolling import unroll_rate
from art_snn.snn import readers as adapters
from art_snn.snn.bptt import fire_through_time
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SpikingSequential
from art_snn.snn.readers import neuron_params, register_reader, tapped
from art_snn.snn.surrogates import Triangle, spike
from tests.conftest import make_network


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

    monkeypatch.setattr(adapters, "_READERS", dict(adapters._READERS))

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


# --- neurons that no tap reaches -------------------------------------------------------------------------------------


class Hidden(nn.Module):
    """Two layers whose neurons are run by a function ``run`` of the module and its currents."""

    def __init__(self, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.run, self.neuron = run, LIF(decay=0.9, threshold=0.3)
        self.first, self.last = nn.Linear(16, 12), nn.Linear(12, 3)
        self.aside = SimpleNamespace(neuron=LIF(decay=0.9, threshold=0.3))

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.last(self.run(self, self.first(x_seq.flatten(2))))


def in_thread(module: nn.Module, current_seq: Tensor) -> Tensor:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(module.neuron, current_seq).result()


def half_in_thread(module: nn.Module, current_seq: Tensor) -> Tensor:
    one, other = current_seq.tensor_split(2, dim=1)
    return torch.cat([module.neuron(one), in_thread(module, other)], 1)


PAST_THE_TAP = {
    "out of sight": (
        lambda module, current: module.aside.neuron(current),
        "does not reach one of its LIF layers.*nn.ModuleList",
    ),
    "class": (lambda module, current: LIF.forward(module.neuron, current), r"not by LIF\.forward\(layer, x\)"),
    "function": (
        lambda module, current: fire_through_time(current, NeuronParams(decay=0.9), Triangle()),
        "does not reach a spike function in the network; .*register_reader",
    ),
    "spike": (
        lambda module, current: spike(current - 1, Triangle()),
        "does not reach a spike function.*register_reader",
    ),
    "thread": (in_thread, "layer body.neuron runs in another thread"),
    "half in a thread": (half_in_thread, "layer body.neuron runs in another thread"),
    "reentrant": (
        lambda module, current: checkpoint(module.neuron, current, use_reentrant=True),
        r"checkpoint in training alone \(if self\.training\)",
    ),
}


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("rule", ["stbp", "hart", "cba"])
@pytest.mark.parametrize(("run", "message"), PAST_THE_TAP.values(), ids=PAST_THE_TAP)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's, where no graph is asked for
@pytest.mark.filterwarnings("ignore::art_snn.InexactReplayWarning")  # of half a batch, before its other half is found
def test_neurons_that_no_tap_reaches_are_refused(run, message, rule, steps):
    torch.manual_seed(0)
    network = SpikingNetwork(DirectEncoder(time_steps=steps), Hidden(run)).eval()
    x = torch.rand(4, 1, 4, 4)
    for parameters in (True, False):
        with pytest.raises(UnsupportedModelError, match=message):
            list(GradientRuleModule(network, rule).eval().samples(x.requires_grad_(), parameters=parameters))
    assert "forward" not in vars(network.body.neuron)
    network.body.run = lambda module, current: module.neuron(current)
    assert GradientRuleModule(network, rule).eval()(x).requires_grad


def test_saved_tensors_may_be_kept_elsewhere_around_an_attack():
    network, x = make_network("plain")
    leaf = x.clone().requires_grad_()
    module = GradientRuleModule(network, "stbp").eval()
    expected = torch.autograd.grad(module(leaf).sum(), leaf)[0]
    with torch.autograd.graph.save_on_cpu():
        found = torch.autograd.grad(module(leaf).sum(), leaf)[0]
    assert torch.equal(found, expected)


def test_what_comes_before_the_input_may_hold_neurons_of_its_own():
    """An attack differentiates through a spiking generator, with that one's surrogate."""
    network, x = make_network("plain")
    generator = nn.Sequential(nn.Unflatten(1, (1, 2)), LIF(threshold=0.3), nn.Flatten(1, 2))
    leaf = x.clone().requires_grad_()
    assert torch.autograd.grad(GradientRuleModule(network).eval()(generator(leaf)).sum(), leaf)[0].abs().max() > 0


def test_neurons_in_plain_containers_are_named():
    for kept in ([LIF()], (LIF(),), {"a": LIF()}, [nn.Sequential(nn.Linear(2, 2), LIF())]):
        network, _ = make_network("plain")
        network.body.kept = kept
        with pytest.raises(UnsupportedModelError, match=r"neurons in body\.kept are out of torch's sight"):
            GradientRuleModule(network)
    network.body.kept = [network.body[2]]  # which torch knows, too
    GradientRuleModule(network)


def test_a_foreign_neuron_with_a_reader_may_hold_modules_of_its_library(monkeypatch):
    monkeypatch.setattr(adapters, "_READERS", dict(adapters._READERS))
    surrogate = type("Sigmoid", (nn.Module,), {"__module__": "spikingjelly.activation_based.surrogate"})
    node = type("LIFNode", (nn.Module,), {"__module__": "spikingjelly.activation_based.neuron"})
    block = type("BasicBlock", (nn.Module,), {"__module__": "spikingjelly.activation_based.model"})()
    block.neuron = node()
    block.neuron.surrogate_function = surrogate()
    network = SpikingNetwork(DirectEncoder(time_steps=4), nn.Sequential(nn.Linear(2, 2), block))
    with pytest.raises(UnsupportedModelError, match=r"\(SpikingJelly's LIFNode\)"):
        GradientRuleModule(network)
    register_reader(lambda module: NeuronParams() if isinstance(module, node) else None)
    GradientRuleModule(network)
