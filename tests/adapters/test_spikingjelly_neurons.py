"""SpikingJelly's neurons, one by one: their spikes, and which of them are refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from art_snn import GradientRuleModule, UnsupportedModelError, adapt
from art_snn.adapters import Reading, Steps, register_reader
from art_snn.adapters.libraries import reset_states
from art_snn.engine.recording import Neurons
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.readers import read
from tests.adapters.jelly import CLOCK_DRIVEN, JIT, MODES, functional, layer, make_neuron, neuron, rnn, surrogate

pytestmark = JIT

LEAKS = [
    (kind, {key: tau, "decay_input": decays})
    for kind, key in [("LIFNode", "tau"), ("ParametricLIFNode", "init_tau")]
    for tau in (2.0, 3.0, 1.25)
    for decays in (True, False)
]
KINDS = [("IFNode", {}), *LEAKS]
RESETS = [{}, {"v_reset": None}, {"v_reset": -0.25, "v_threshold": 0.75}, {"v_threshold": 0.5, "detach_reset": True}]


def currents(tied: bool, dtype: torch.dtype, *, share: float = 1.0) -> torch.Tensor:
    """Sequences (8, 40, 50); tied ones meet the threshold exactly, where inputs count by a share of two's power."""
    generator = torch.Generator().manual_seed(0)
    if tied:
        return torch.randint(-2, 5, (8, 40, 50), generator=generator).to(dtype) / 4 / share
    return (torch.randn(8, 40, 50, generator=generator, dtype=torch.float64) + 0.3).to(dtype) / share


def own_spikes(node: nn.Module, current_seq: torch.Tensor, mode: str) -> torch.Tensor:
    functional.reset_net(node)
    with torch.no_grad():
        return node(current_seq) if mode == "multi" else torch.stack([node(current) for current in current_seq])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("resets", RESETS)
@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_of_a_neuron_are_the_librarys(kind, options, resets, mode, training, dtype):
    node = make_neuron(kind, mode, **options, **resets).to(dtype).train(training)
    tau = options.get("tau", options.get("init_tau", 1.0))
    reading = read(node)
    assert reading.layout.axes == ("T N" if mode == "multi" else "N")
    assert reading.library == "SpikingJelly"
    share = 1 / tau if options.get("decay_input") else 1.0
    for tied in [False, True] if tau in (1.0, 2.0) else [False]:  # other shares round potentials off the threshold
        current_seq = currents(tied, dtype, share=share)
        expected = own_spikes(node, current_seq, mode)
        assert 0.02 < expected.mean() < 0.98
        assert torch.equal(Neurons(reading.params)(current_seq.clone()), expected)


@pytest.mark.skipif(not hasattr(neuron, "CUBALIFNode"), reason="version 2 alone has them")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("CUBALIFNode", {}),
        ("CUBALIFNode", {"v_reset": None, "c_decay": 0.25, "v_decay": 0.5, "v_threshold": 1.0}),
        ("CUBALIFNode", {"v_reset": 0.25}),
        ("HalfThresholdIFNode", {}),
        ("HalfThresholdIFNode", {"v_threshold": 0.5}),
        ("SimpleIFNode", {"v_reset": None}),
        ("SimpleIFNode", {"v_reset": 0.25}),
        ("SimpleLIFNode", {"tau": 2.0, "decay_input": True, "v_threshold": 0.5}),
        ("SimpleLIFNode", {"tau": 2.0, "decay_input": False, "v_reset": 0.25}),
    ],
)
def test_spikes_of_a_neuron_of_version_2_are_the_librarys(kind, options, mode):
    node = make_neuron(kind, mode, **options)
    for tied in (False, True):
        for dtype in (torch.float32, torch.float64):
            current_seq = currents(tied, dtype)
            expected = own_spikes(node, current_seq, mode)
            assert 0.02 < expected.mean() < 0.98
            assert torch.equal(Neurons(read(node).params)(current_seq.clone()), expected)


class Above(nn.Module):
    """A surrogate of one's own that does not fire at the threshold."""

    def forward(self, distance):
        return (distance > 0).to(distance)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["IFNode", "ParametricLIFNode"])
def test_a_surrogate_says_whether_neurons_fire_at_the_threshold(kind, mode, training):
    node = make_neuron(kind, mode, surrogate_function=Above()).train(training)
    current_seq = currents(True, torch.float32)
    expected = own_spikes(node, current_seq, mode)
    assert torch.equal(Neurons(read(node).params)(current_seq.clone()), expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_learned_share_is_read_afresh(mode):
    node = make_neuron("ParametricLIFNode", mode)
    assert read(node).params.decay == 0.5
    with torch.no_grad():
        node.w.fill_(2.0)
    params = read(node).params
    assert isinstance(params.decay, float)
    assert params.decay == pytest.approx(1 - torch.tensor(2.0).sigmoid().item())
    assert params.c == pytest.approx(1 - params.decay)


class Changed(neuron.LIFNode):
    def neuronal_charge(self, x):
        self.v = self.v + x

    def single_step_functional_forward(self, inputs, states):
        return (inputs[0],), states


class Forgetful(neuron.IFNode):
    def reset(self):
        super().reset()
        self.v = 0.5


class Renamed(neuron.IFNode):
    def extra_repr(self):
        return "renamed"


class OwnBase(neuron.BaseNode):
    def neuronal_charge(self, x):
        self.v = 0.5 * self.v + x


def refusal(module: nn.Module) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        adapt(nn.Sequential(nn.Linear(4, 4), module, neuron.IFNode()))
    return str(caught.value)


def test_derived_neurons_are_their_parents_or_refused():
    assert read(Renamed()).params == read(neuron.IFNode()).params
    assert "1 is Changed, which derives from SpikingJelly's LIFNode and changes " in refusal(Changed())
    assert "1 is Forgetful, which derives from SpikingJelly's IFNode and changes reset" in refusal(Forgetful())
    assert "1 is OwnBase, which derives from SpikingJelly's BaseNode; register a reader" in refusal(OwnBase())
    shadowed = neuron.IFNode()
    shadowed.forward = shadowed.forward
    assert "changes forward" in refusal(shadowed)


def test_a_reader_of_ones_own_is_asked_before_the_library(monkeypatch):
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    register_reader(lambda module: Reading(NeuronParams(decay=0.5), Steps()) if isinstance(module, OwnBase) else None)
    assert read(OwnBase()).params == NeuronParams(decay=0.5)
    assert read(neuron.IFNode()).params == NeuronParams()


REFUSED = {
    **dict.fromkeys(["QIFNode", "EIFNode", "KLIFNode", "IzhikevichNode", "MultiStepEIFNode", "RAFNode"], ()),
    **dict.fromkeys(["OTTTLIFNode", "SLTTLIFNode", "TernaryIFNode", "ILIFNode", "ComplementaryLIFNode"], ()),
    "GeneralNode": (0.5, 1.0),
    "GatedLIFNode": (4,),
    "PSN": (4,),
    "MaskedPSN": (2, 4),
    "SlidingPSN": (2,),
    "LIAFNode": (torch.relu, False),
}


@pytest.mark.parametrize("kind", [kind for kind in REFUSED if hasattr(neuron, kind)])
def test_other_neurons_are_refused_by_name(kind):
    try:
        made = getattr(neuron, kind)(*REFUSED[kind])
    except AttributeError:
        pytest.skip("this version cannot build it")  # LIAFNode of 0.0.0.0.14
    assert f"1 is SpikingJelly's {kind}, which this version cannot run step by step" in refusal(made)


def test_recurrent_layers_are_refused_by_name():
    container = layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4)
    assert "1 is SpikingJelly's LinearRecurrentContainer, whose spikes come back" in refusal(container)
    container = layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add)
    assert "1 is SpikingJelly's ElementWiseRecurrentContainer, whose spikes" in refusal(container)
    assert "1 is SpikingJelly's SpikingLSTMCell, whose spikes" in refusal(rnn.SpikingLSTMCell(4, 4))


def test_options_that_change_the_dynamics_are_refused():
    smooth = neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False))
    assert "1 is SpikingJelly's IFNode, whose surrogate_function gives 0.119203 and" in refusal(smooth)
    assert "with v_threshold=inf; art_snn needs a number above 0" in refusal(neuron.IFNode(v_threshold=float("inf")))
    whole = neuron.IFNode()
    whole.__dict__["_backend" if hasattr(whole, "_backend") else "backend"] = "lava"
    assert "with backend='lava'" in refusal(whole)


def test_a_version_that_is_not_known_is_said_so():
    node = neuron.IFNode()
    del node.v_reset
    assert "1 is SpikingJelly's IFNode of a version that art_snn does not know" in refusal(node)


def test_states_are_reset_as_the_library_does():
    net = nn.Sequential(neuron.IFNode(v_reset=-0.5), layer.SynapseFilter(tau=2.0), nn.Linear(4, 4))
    expected = copy.deepcopy(net)
    with torch.no_grad():
        net(torch.rand(2, 4))
        assert isinstance(net[0].v, torch.Tensor)
        assert isinstance(net[1].out_i, torch.Tensor)
    reset_states(net)
    assert (net[0].v, net[1].out_i) == (expected[0].v, expected[1].out_i) == (-0.5, 0.0)


@pytest.mark.skipif(not hasattr(neuron, "NonSpikingLIFNode"), reason="version 2 alone has them")
@pytest.mark.parametrize("kind", ["NonSpikingLIFNode", "NonSpikingIFNode"])
def test_neurons_that_do_not_spike_run_as_they_are(kind):
    torch.manual_seed(0)
    readout = getattr(neuron, kind)(decode="max-mem")
    net = nn.Sequential(nn.Linear(4, 8), make_neuron("LIFNode", "multi"), nn.Linear(8, 3), readout).eval()
    x = 3 * torch.rand(2, 4)
    network = adapt(net, lambda net, x: net(x.expand(5, *x.shape)))
    for rule in ("hart", "stbp"):
        leaf = x.clone().requires_grad_()
        gradient = torch.autograd.grad(GradientRuleModule(network, rule).eval()(leaf)[:, 0].sum(), leaf)[0]
        assert gradient.abs().max() > 0
        copy.deepcopy(net)  # which a graph that was left in it would not let


@pytest.mark.skipif(CLOCK_DRIVEN, reason="its sequences are always stored")
def test_stored_potentials_change_nothing():
    node = make_neuron("LIFNode", "multi", store_v_seq=True).eval()
    current_seq = currents(False, torch.float32)
    assert torch.equal(Neurons(read(node).params)(current_seq.clone()), own_spikes(node, current_seq, "multi"))
