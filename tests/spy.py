"""Watch whether whoever differentiates a model gets its gradient rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from art_snn import HART, GradientRuleModule
from art_snn.classifier import pytorch as classifier
from art_snn.engine import module as engine
from art_snn.engine.unrolling import unroll_rate

RULE = HART(gamma=0.6)


class Spy:
    """Compares each gradient that leaves a model through its input with the rule's, for the same gradient coming in.

    The reference is the unrolled rule on the same encoding.

    Attributes:
        calls: Gradients that were compared.
        wrong: Gradients that differ from the rule's.
        bypassed: Runs in training mode with an input that wants a gradient: no rule is in force there.
        inner: What runs the network; exchange it to see whether the spy notices.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.wrong = 0
        self.bypassed = 0
        self.inner: Callable[..., Tensor] = engine.rule_logits

    def logits(self, network: Any, rule: Any, x: Tensor, **options: Any) -> Tensor:
        inner = x.view_as(x)  # a node of this call's own, for the hook
        output = self.inner(network, rule, inner, **options)
        return self._watch(network, inner, output, lambda leaf: _unrolled(network, leaf))

    def layer(self, model: GradientRuleModule, name: str, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            return _layer_output(model, name, x)
        inner = x.view_as(x)
        network: Any = model.network
        layer = model.get_submodule(name)
        return self._watch(
            network, inner, _layer_output(model, name, inner), lambda leaf: _unrolled(network, leaf, layer)
        )

    def _watch(self, network: Any, x: Tensor, output: Tensor, reference: Callable[[Tensor], Tensor]) -> Tensor:
        incoming: list[Tensor] = []
        start = getattr(network.encoder, "generator", None)
        assert start is None, "the spy draws its own encoding: it needs one that is not random"

        def check(found: Tensor) -> None:
            if not incoming:  # the gradient comes from a layer, which is watched by itself
                return
            leaf = x.detach().clone().requires_grad_()
            with torch.enable_grad():
                expected = torch.autograd.grad(reference(leaf), leaf, grad_outputs=incoming[-1])[0]
            self.calls += 1
            size = expected.abs().max()
            self.wrong += int((found - expected).abs().max() > 1e-4 * size + 1e-12)

        output.register_hook(lambda grad: incoming.append(grad.detach().clone()))
        x.register_hook(lambda found: check(found.detach()))
        return output


_layer_output = classifier.layer_output


def _unrolled(network: Any, leaf: Tensor, layer: nn.Module | None = None) -> Tensor:
    """Return the unrolled rule's logits, or the mean over time of a layer's output."""
    outputs: list[Tensor] = []
    steps = network.encode(leaf).shape[0]
    handle = layer.register_forward_hook(lambda *call: outputs.append(call[2])) if layer is not None else None
    try:
        logits = unroll_rate(network, network.encode(leaf), RULE)
    finally:
        if handle is not None:
            handle.remove()
    if layer is None:
        return logits
    (output,) = outputs
    flat = output.shape[0] == steps * len(leaf) and steps > 1
    return output.unflatten(0, (steps, -1)).mean(0) if flat else output.mean(0)


def unrolled_logits(network: Any, rule: Any, x: Tensor, **_: Any) -> Tensor:
    return unroll_rate(network, network.encode(x), rule)


def surrogate_logits(network: Any, rule: Any, x: Tensor, **_: Any) -> Tensor:
    """Run the network without a rule."""
    return network(x)


@contextmanager
def input_gradients(run: Callable[..., Tensor]) -> Iterator[list[Tensor]]:
    """Collect the gradients that leave models through their inputs, while ``run`` runs the networks."""
    found: list[Tensor] = []

    def logits(network: Any, rule: Any, x: Tensor, **options: Any) -> Tensor:
        inner = x.view_as(x)  # a node of this call's own, for the hook
        inner.register_hook(lambda gradient: found.append(gradient.detach().clone()))
        return run(network, rule, inner, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "rule_logits", logits)
        patch.setattr(engine, "attack_logits", logits)
        yield found


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Watch every run of a model that is asked for a gradient of its input."""
    spy = Spy()
    forward = GradientRuleModule.forward

    def watched(self: GradientRuleModule, x: Tensor) -> Tensor:
        spy.bypassed += int(self.training and torch.is_grad_enabled() and x.requires_grad)
        return forward(self, x)

    monkeypatch.setattr(engine, "rule_logits", spy.logits)
    monkeypatch.setattr(engine, "attack_logits", spy.logits)
    monkeypatch.setattr(classifier, "layer_output", spy.layer)
    monkeypatch.setattr(GradientRuleModule, "forward", watched)
    return spy
