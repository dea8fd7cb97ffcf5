"""Networks with activation checkpointing have the gradients of the same networks without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils import checkpoint as torchs
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from art_snn import GradientRuleModule, SpikingNetwork, UnsupportedModelError, rule_names
from art_snn.snn import checkpointing
from tests.classifier.classifiers import Y, small_classifier
from tests.conftest import make_network

Run = Callable[..., Any]
non_reentrant = partial(checkpoint, use_reentrant=False)


def directly(block: Run, *args: Any, **kwargs: Any) -> Any:
    return block(*args, **kwargs)


def nested(block: Run, *args: Any) -> Any:
    return non_reentrant(lambda *inner: non_reentrant(block, *inner), *args)


def in_segments(block: nn.Sequential, x_seq: Tensor) -> Tensor:
    return checkpoint_sequential([block[:2], block[2:]], 2, x_seq, use_reentrant=False)


def with_contexts(block: Run, *args: Any) -> Any:
    return non_reentrant(block, *args, context_fn=lambda: (nullcontext(), nullcontext()), determinism_check="none")


def selective(block: Run, *args: Any) -> Any:
    kept = partial(torchs.create_selective_checkpoint_contexts, [torch.ops.aten.convolution.default])
    return non_reentrant(block, *args, context_fn=kept)


FORMS: dict[str, Run] = {
    "plain": non_reentrant,
    "without a state of random numbers": partial(non_reentrant, preserve_rng_state=False),
    "nested": nested,
    "segments": in_segments,
    "contexts": with_contexts,
    "selective": selective,
    "debug": partial(non_reentrant, debug=True),
}


class Blocks(nn.Module):
    """Blocks with neurons in them, each run by a function ``run`` of the block and its input."""

    def __init__(self, layers: nn.Sequential, run: Run) -> None:
        super().__init__()
        self.blocks, self.run = nn.ModuleList([layers[:4], layers[4:8], layers[8:]]), run

    def forward(self, x_seq: Tensor) -> Tensor:
        for block in self.blocks:
            x_seq = self.run(block, x_seq)
        return x_seq


def blocks(run: Run, kind: str = "plain") -> tuple[SpikingNetwork, Tensor]:
    """Return a network of three blocks, in evaluation mode, and a batch for it."""
    network, x = make_network(kind)
    network.body = Blocks(network.body, run)
    return network.eval(), x


def gradients(network: nn.Module, rule: str, x: Tensor) -> list[Tensor]:
    """Return the gradients of the input and of the parameters, the logits, and the input's gradient alone."""
    module, leaf = GradientRuleModule(network, rule).eval(), x.clone().requires_grad_()
    logits = module(leaf)
    loss = (logits * torch.linspace(-1, 1, 5)).sum()
    found = torch.autograd.grad(loss, [leaf, *network.parameters()])
    alone = next(module.attack_samples(leaf, parameters=False))
    (of_input,) = torch.autograd.grad((alone * torch.linspace(-1, 1, 5)).sum(), leaf)
    return [*found, logits.detach(), of_input]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.filterwarnings("ignore::art_snn.InexactReplayWarning")
def test_gradients_are_those_without_checkpoints(rule, form):
    for kind in ("plain", "max-pool", "event-frame") if form == "plain" else ("plain",):
        (plain, x), (network, _) = blocks(directly, kind), blocks(FORMS[form], kind)
        expected, found = gradients(plain, rule, x), gradients(network, rule, x)
        assert expected[0].abs().max() > 0
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", rule_names())
def test_classifier_and_its_model_have_the_gradients_without_checkpoints(rule):
    classifiers = [small_classifier(blocks(run)[0], gradient_rule=rule) for run in (directly, non_reentrant)]
    x = blocks(directly)[1].numpy()
    expected, found = ([c.loss_gradient(x, Y), c.class_gradient(x), c.class_gradient(x, Y)] for c in classifiers)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    leaves = [torch.tensor(x, requires_grad=True) for _ in classifiers]
    for classifier, leaf in zip(classifiers, leaves, strict=True):
        nn.functional.cross_entropy(classifier.model(leaf), torch.tensor(Y)).backward()
    torch.testing.assert_close(leaves[1].grad, leaves[0].grad, rtol=1e-5, atol=1e-7)
    for one, other in zip(classifiers[1].model.parameters(), classifiers[0].model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_training_has_its_checkpoints():
    runs: list[int] = []

    def counted(block: nn.Module, x_seq: Tensor) -> Tensor:
        def inside(x_seq: Tensor) -> Tensor:
            runs.append(1)
            return block(x_seq)

        return non_reentrant(inside, x_seq)

    network, x = blocks(counted)
    module, leaf = GradientRuleModule(network, "stbp"), x.clone().requires_grad_()
    module.train()(leaf).sum().backward()
    assert len(runs) == 6
    runs.clear()
    module.eval()(leaf).sum().backward()
    assert len(runs) == 3


def test_other_threads_have_their_checkpoints_meanwhile():
    """A training beside an attack saves its memory still."""
    runs: list[int] = []
    hook = torchs._checkpoint_hook

    def inside(x: Tensor) -> Tensor:
        runs.append(1)
        return x.exp()

    def beside(block: nn.Module, x_seq: Tensor) -> Tensor:
        thread = threading.Thread(
            target=lambda: non_reentrant(inside, torch.ones(2, requires_grad=True)).sum().backward()
        )
        thread.start()
        thread.join()
        return non_reentrant(block, x_seq)

    network, x = blocks(beside)
    GradientRuleModule(network, "stbp").eval()(x.requires_grad_())
    assert len(runs) == 2 * 3  # forwards and, in the backward pass, again
    assert torchs._checkpoint_hook is hook


def test_torch_is_as_it_was_after_an_error():
    def fail(block: nn.Module, x_seq: Tensor) -> Tensor:
        raise ZeroDivisionError

    network, x = blocks(directly)
    module, hook = GradientRuleModule(network, "stbp").eval(), torchs._checkpoint_hook
    network.body.run = fail
    with pytest.raises(ZeroDivisionError):
        module(x.requires_grad_())
    assert torchs._checkpoint_hook is hook
    with save_on_cpu():  # hooks are allowed again
        assert x.exp().requires_grad


@pytest.mark.parametrize("rule", ["hart", "stbp", "cba"])
def test_saved_tensors_may_be_kept_elsewhere_around_it(rule):
    (plain, x), (network, _) = blocks(directly), blocks(non_reentrant)
    expected = gradients(plain, rule, x)
    with save_on_cpu():
        found = gradients(network, rule, x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


class Recomputed(saved_tensors_hooks):
    """Checkpoints as other libraries make them, with hooks of their own."""

    def __init__(self) -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


def with_own_hooks(block: nn.Module, x_seq: Tensor) -> Tensor:
    with Recomputed():
        return block(x_seq)


REENTRANT = r"give checkpoint\(\.\.\., use_reentrant=False\), or checkpoint in training alone"
UNKNOWN = r"hooks for saved tensors.*only torch\.utils\.checkpoint\.checkpoint\(\.\.\., use_reentrant=False\) is known"


@pytest.mark.parametrize("rule", rule_names())
@pytest.mark.parametrize(
    ("run", "message"),
    [(partial(checkpoint, use_reentrant=True), REENTRANT), (with_own_hooks, UNKNOWN)],
    ids=["reentrant", "hooks"],
)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's, where no graph is asked for
def test_other_checkpoints_are_refused(run, message, rule):
    network, x = blocks(run)
    for parameters in (True, False):
        with pytest.raises(UnsupportedModelError, match=message):
            list(GradientRuleModule(network, rule).eval().samples(x.requires_grad_(), parameters=parameters))


@pytest.mark.parametrize("rule", rule_names())
def test_checkpoints_of_another_torch_are_refused(rule, monkeypatch):
    monkeypatch.setattr(checkpointing, "_HOOK", "_hook_of_another_name")
    network, x = blocks(non_reentrant)
    with pytest.raises(UnsupportedModelError, match=UNKNOWN):
        GradientRuleModule(network, rule).eval()(x.requires_grad_())
