"""What a gradient of an adapted network costs: rows that its first layer sees, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from art_snn import PyTorchSNNClassifier, adapt
from art_snn.attacks.cost import gradient_cost
from tests.adapters.test_by_steps import sequences

pytestmark = pytest.mark.usefixtures("known")
STEPS, SAMPLES = 6, 200
X = torch.rand(SAMPLES, 2, 6, 6, generator=torch.Generator().manual_seed(1))
FRAMES = torch.rand(SAMPLES, STEPS, 2, 6, 6, generator=torch.Generator().manual_seed(2))


def passes(classifier: PyTorchSNNClassifier, layer: nn.Module, x: Tensor) -> float:
    """Count the passes over all steps that a gradient takes, forwards and backwards, in the rows of a layer."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return logits.gather(1, labels.unsqueeze(1)).squeeze(1)

    labels = torch.arange(SAMPLES).numpy() % 3
    rows = 0

    def forwards(_module: nn.Module, _inputs: object, out: Tensor) -> None:
        nonlocal rows
        rows += len(out)
        if out.requires_grad:
            out.register_hook(backwards)

    def backwards(grad: Tensor) -> None:
        nonlocal rows
        rows += len(grad)

    handle = layer.register_forward_hook(forwards)
    classifier.gradient_and_logits(x, labels, loss)  # the network is looked at
    rows = 0
    classifier.gradient_and_logits(x, labels, loss)
    handle.remove()
    return rows / (STEPS * SAMPLES)


def single_steps() -> nn.Module:
    pytest.importorskip("spikingjelly")
    from tests.adapters.jelly import make_neuron

    torch.manual_seed(0)
    first = nn.Linear(72, 20)
    nn.init.normal_(first.weight, std=0.3)
    return nn.Sequential(nn.Flatten(), first, make_neuron("LIFNode", "single"), nn.Linear(20, 3)).eval()


def own_forward(net: nn.Module, x: Tensor) -> Tensor:
    return net(x.expand(STEPS, *x.shape)).mean(0)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], nn.Module], str, Tensor, float]] = {
    "replay": (sequences, lambda net: adapt(net, time_steps=STEPS), "0.layer", X, 1 + 2 / STEPS),
    "replay of frames": (sequences, lambda net: adapt(net, frames=True), "0.layer", FRAMES, 1 + 2 / STEPS),
    "tied": (single_steps, lambda net: adapt(net, time_steps=STEPS), "1", X, 1 + 1 / STEPS),
    "unrolled": (lambda: sequences(nn.MaxPool2d(2)), lambda net: adapt(net, time_steps=STEPS), "0.layer", X, 2.0),
    "unrolled in a forward of one's own": (sequences, lambda net: adapt(net, own_forward), "0.layer", X, 2.0),
}


@pytest.mark.parametrize("rule", ["hart", "stbp", "cba"])
@pytest.mark.parametrize("case", CASES)
def test_the_cost_is_that_of_the_passes_it_takes(case, rule):
    make, adapted, layer, x, of_rate_rules = CASES[case]
    torch.manual_seed(0)
    net = make().float()
    classifier = PyTorchSNNClassifier(adapted(net), nn.CrossEntropyLoss(), tuple(x.shape[1:]), 3, device_type="cpu")
    classifier.gradient_rule = rule
    counted = passes(classifier, net.get_submodule(layer), x)
    cost = gradient_cost(classifier, x)
    assert classifier.gradient_path == {"stbp": "through time", "cba": "converted"}.get(rule, case.split()[0])
    assert cost == pytest.approx({"hart": of_rate_rules, "stbp": 2.0, "cba": 3.0}[rule])
    assert counted == pytest.approx(cost, abs=0.02)  # a few samples are looked at once more
