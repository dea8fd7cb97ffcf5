"""Readers: neurons of another library. Taps: layers and other threads are left alone."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

from art_snn import HART, DirectEncoder, GradientRuleModule, SpikingNetwork
from art_snn.engine.unrolling import unroll_rate
from art_snn.snn import readers as adapters
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.network import SpikingSequential
from art_snn.snn.readers import neuron_params, register_reader, tapped
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
