from __future__ import annotations

import pytest
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, GradientRuleModule, SpikingNetwork, adapt
from tests.adapters.nodes import Loop


def layers(*, pool: bool) -> nn.Sequential:
    between = [nn.Unflatten(1, (1, 8)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 8)] if pool else []
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), LIF(), *between, LIF(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("rule", "pool", "parameters", "path"),
    [
        ("hart", False, False, "one pass"),
        ("hart", False, True, "replay"),
        ("stbp", False, True, "through time"),
        ("cba", False, True, "converted"),
        ("hart", True, True, "unrolled"),
    ],
)
@pytest.mark.filterwarnings("ignore::art_snn.InexactReplayWarning")
def test_a_module_says_which_path_its_gradient_took(rule, pool, parameters, path):
    torch.manual_seed(0)
    model = GradientRuleModule(SpikingNetwork(DirectEncoder(time_steps=4), layers(pool=pool)), rule).eval()
    assert model.gradient_path is None
    assert "gradient_path" not in repr(model)
    next(iter(model.samples(torch.rand(2, 1, 2, 2, requires_grad=True), parameters=parameters)))
    assert model.gradient_path == path
    assert f"gradient_path={path!r}" in repr(model)


def test_a_network_that_runs_whole_is_segmented_where_its_neurons_go_on(known):
    model = GradientRuleModule(adapt(Loop().eval())).eval()
    model(torch.rand(2, 1, 2, 2, requires_grad=True))
    assert model.gradient_path == "segmented"
