"""Neurons that give several spikes a step, and whose potentials have a floor, compared with the float64 reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from art_snn import LIF, DirectEncoder, GradientRuleModule, SpikingNetwork
from art_snn.rules import CBA, RGA
from art_snn.rules.base import LayerRecord
from art_snn.snn.dynamics import NeuronParams
from tests.reference import ann_forward, forward
from tests.rules.networks import BATCH, CLASSES, RULE_CLASSES, assert_matches_reference, draw

SEVERAL = {
    "soft": NeuronParams(reset="soft", several=True),
    "soft, leak, floor": NeuronParams(decay=0.8, threshold=0.6, reset="soft", several=True, floor=-0.3),
    "soft, less taken": NeuronParams(threshold=0.8, rho=0.5, reset="soft", several=True, floor=-1.0),
    "hard": NeuronParams(decay=0.9, threshold=0.7, several=True, v_reset=0.2),
    "hard, floor, current": NeuronParams(decay=0.9, alpha=0.5, c=0.6, several=True, floor=-0.2),
    "one spike, floor": NeuronParams(decay=0.9, reset="soft", floor=-0.2),
}


class Neurons(LIF):
    """Neurons of the whole family."""

    def __init__(self, params: NeuronParams) -> None:
        super().__init__()
        self.params = params


def make_network(params: NeuronParams) -> SpikingNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [nn.Linear(16, 24), Neurons(params), nn.Linear(24, 24), Neurons(params), nn.Linear(24, CLASSES)]
    for layer, factor in zip(layers[::2], (6, 3, 0.05), strict=True):
        layer.weight.data.mul_(factor)
    return SpikingNetwork(DirectEncoder(time_steps=5), nn.Sequential(nn.Flatten(), *layers)).double().eval()


@pytest.mark.parametrize("params", SEVERAL.values(), ids=SEVERAL)
class TestSeveralSpikes:
    """Two layers, direct encoding."""

    def test_there_are_silent_neurons_and_such_with_several_spikes_and_at_the_floor(self, params: NeuronParams) -> None:
        network = make_network(params)
        _, traces = forward(network, network.encode(draw((BATCH, 1, 4, 4), 0).double()))
        for trace in traces:
            assert (trace.spikes == 0).any()
            assert (trace.spikes > 2).any() == params.several
            assert (trace.drive.mean(0) > 2).any(), "beyond the end of RGA's and CBA's pieces"
            if params.floor is not None:
                assert (params.threshold * (trace.distance + 1) < params.floor).any()

    @pytest.mark.parametrize(
        ("rule", "hyper"),
        [
            *((name, {}) for name in RULE_CLASSES),
            ("hart", {"gamma": 0.4}),
            ("hart", {"gamma": 2.5}),
            ("stbp", {"gamma": 2.5}),
        ],
    )
    def test_rule_equals_reference(self, params: NeuronParams, rule: str, hyper: dict[str, Any]) -> None:
        assert_matches_reference(make_network(params), draw((BATCH, 1, 4, 4), 0), rule, **hyper)

    def test_the_ann_of_cba_gives_more_than_one_spike(self, params: NeuronParams) -> None:
        network, x = make_network(params), draw((BATCH, 1, 4, 4), 0).double()
        logits = next(GradientRuleModule(network, CBA()).eval().attack_samples(x.requires_grad_()))
        expected, traces = ann_forward(network, network.encode(x))
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
        assert (traces[0].spikes > 1).any() == params.several


@pytest.mark.parametrize(("several", "gain"), [(False, 0.0), (True, 1.0)])
def test_rga_has_no_upper_end_where_neurons_do_not_saturate(several, gain):
    drive = torch.tensor([[2.5, 40.0]])
    record = LayerRecord(NeuronParams(several=several), drive, drive, drive, None)
    assert torch.equal(RGA(slope_below=0.0).gain(record), torch.full((1, 2), gain / 2))
