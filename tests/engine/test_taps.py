"""Taps in the place of neurons: layers and other threads are left alone."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from art_snn import GradientRuleModule
from art_snn.engine.taps import tapped
from art_snn.snn.dynamics import NeuronParams
from tests.conftest import make_network


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
