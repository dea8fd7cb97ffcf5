"""Neurons of sinabs: spike for spike, states in buffers, what is refused."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from art_snn import UnsupportedModelError, adapt
from art_snn.adapters import neuron_params
from art_snn.adapters.libraries import reset_states, state_keys
from art_snn.snn.readers import read
from tests.adapters.taps import STEPS, currents, stepped

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    from sinabs import activation, layers

OPTIONS = {
    "defaults": {},
    "single": {"spike_fn": activation.SingleSpike},
    "floor": {"min_v_mem": -1.0},
    "whole floor": {"min_v_mem": -1},
    "reset": {"reset_fn": activation.MembraneReset(), "spike_fn": activation.SingleSpike},
    "reset of several": {"reset_fn": activation.MembraneReset()},
    "reset to a value": {"reset_fn": activation.MembraneReset(-0.25), "min_v_mem": -0.5},
    "subtract": {"reset_fn": activation.MembraneSubtract(0.75), "min_v_mem": -0.5},
    "threshold": {"spike_threshold": torch.tensor(0.5)},
    "current": {"tau_syn": 3.0},
    "recordings": {"record_states": True},
}
HALF = 1 / torch.tensor(2.0).log()  # the tau of a decay of 1/2, of which rounding keeps ties


def batch_first(layer, x_seq):
    return layer(x_seq.transpose(0, 1)).transpose(0, 1)


def squeezed(layer, x_seq):
    return layer(x_seq.transpose(0, 1).flatten(0, 1)).unflatten(0, (-1, STEPS)).transpose(0, 1)


def exact(options):
    """Take a decay of 1/2 for that of the current."""
    return options | {"tau_syn": HALF} if "tau_syn" in options else options


def halves(kind, **options):
    layer = kind(tau_mem=HALF, **options)
    layer.tau_mem.data.copy_(HALF)
    assert layer.alpha_mem_calculated == 0.5
    return layer


CASES = {
    **{f"IAF {name}": (layers.IAF(**exact(o)), batch_first) for name, o in OPTIONS.items()},
    **{f"LIF {name}": (halves(layers.LIF, **exact(o)), batch_first) for name, o in OPTIONS.items()},
    **{
        f"LIF not normalised {name}": (halves(layers.LIF, norm_input=False, **exact(o)), batch_first)
        for name, o in OPTIONS.items()
    },
    "IAFSqueeze by steps": (layers.IAFSqueeze(num_timesteps=STEPS, min_v_mem=-1.0), squeezed),
    "IAFSqueeze by samples": (layers.IAFSqueeze(batch_size=20), squeezed),
    "IAFSqueeze by both": (layers.IAFSqueeze(batch_size=20, num_timesteps=STEPS), squeezed),
    "LIFSqueeze by steps": (halves(layers.LIFSqueeze, num_timesteps=STEPS), squeezed),
    "LIFSqueeze by samples": (halves(layers.LIFSqueeze, batch_size=20, norm_input=False), squeezed),
}


@pytest.mark.parametrize("case", CASES)
def test_spikes_are_those_of_the_library(case):
    layer, call = CASES[case]
    params = neuron_params(layer)
    several = 0
    for x_seq in currents(params.threshold, 1.5 / params.c):
        reset_states(layer)
        with torch.no_grad():
            expected = call(layer, x_seq)
        assert 0.05 < expected.clamp(max=1).mean() < 0.95
        several += int((expected > 1).sum())
        assert torch.equal(stepped(layer, lambda layer, x_seq=x_seq: call(layer, x_seq)).to(expected), expected)
    assert (several > 0) == params.several


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_any_time_constant_gives_the_spikes_of_the_library_on_noise(options):
    layer = layers.LIF(tau_mem=10.0, train_alphas=len(options) == 1, **options)
    for x_seq in list(currents(1.0, 15.0))[:2]:
        reset_states(layer)
        with torch.no_grad():
            expected = batch_first(layer, x_seq)
        assert expected.clamp(max=1).mean() > 0.02
        assert torch.equal(stepped(layer, lambda layer, x_seq=x_seq: batch_first(layer, x_seq)).to(expected), expected)


def test_parameters_may_differ_between_neurons():
    spread = torch.tensor([2.0, 20.0]).repeat(250)
    layer = layers.LIF(tau_mem=spread, tau_syn=spread.flip(0), spike_threshold=spread / 20)
    for x_seq in list(currents())[:2]:
        reset_states(layer)
        with torch.no_grad():
            expected = batch_first(layer, x_seq)
        assert torch.equal(stepped(layer, lambda layer, x_seq=x_seq: batch_first(layer, x_seq)).to(expected), expected)


def test_the_next_call_goes_on_where_the_last_one_ended():
    def pieces(layer, x_seq):
        return torch.cat([batch_first(layer, part) for part in x_seq.split(3)])

    layer = layers.IAF()
    for x_seq in list(currents())[:2]:
        reset_states(layer)
        with torch.no_grad():
            expected = pieces(layer, x_seq)
        assert torch.equal(stepped(layer, lambda layer, x_seq=x_seq: pieces(layer, x_seq)).to(expected), expected)


@pytest.mark.parametrize(
    "layer", [layers.IAF(), layers.LIF(tau_mem=5.0, tau_syn=2.0), layers.ExpLeak(tau_mem=5.0)], ids=lambda x: str(x)[:3]
)
def test_a_reset_lets_a_layer_start_anew_with_any_batch(layer):
    x = 3 * torch.rand(4, STEPS, 6)
    with torch.no_grad():
        first = layer(x)
        assert not torch.equal(layer(x), first)
        reset_states(layer)
        drawn = torch.get_rng_state()
        assert torch.equal(layer(x[:3]), first[:3])
        assert torch.equal(torch.get_rng_state(), drawn)


def test_a_layer_with_a_reset_of_its_own_is_reset_by_it():
    class Counting(layers.IAF):
        resets = 0

        def reset_states(self, *args, **kwargs):
            type(self).resets += 1
            super().reset_states(*args, **kwargs)

    reset_states(nn.Sequential(Counting()))
    assert Counting.resets == 1


def test_states_of_all_layers_are_known_by_their_keys():
    net = nn.Sequential(nn.BatchNorm1d(3), layers.IAF(), nn.Sequential(layers.LIF(tau_mem=5.0, tau_syn=2.0)))
    net.append(layers.ExpLeak(tau_mem=5.0))
    assert state_keys(net) == {"1.v_mem", "2.0.v_mem", "2.0.i_syn", "3.v_mem"}
    assert state_keys(net) < set(net.state_dict())


class Louder(layers.IAF):
    """Changes nothing of the dynamics."""

    def extra_repr(self):
        return "louder"


class Doubled(layers.IAF):
    def forward(self, input_data):
        return super().forward(2 * input_data)


class Remembering(layers.LIF):
    @property
    def alpha_mem_calculated(self):
        return torch.tensor(0.9)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (layers.LIFRecurrent(5.0, rec_connect=nn.Linear(3, 3)), "is sinabs's LIFRecurrent, whose spikes come back"),
        (layers.IAFRecurrent(rec_connect=nn.Linear(3, 3)), "is sinabs's IAFRecurrent, whose spikes come back"),
        (layers.ALIF(5.0, 5.0), "is sinabs's ALIF, whose threshold moves"),
        (
            layers.IAF(spike_fn=activation.MaxSpike(3)),
            "with the spike_fn MaxSpike; MultiSpike and SingleSpike",
        ),
        (layers.IAF(reset_fn=lambda spikes, state, threshold: state), "with the reset_fn function; MembraneSubtract"),
        (layers.IAF(spike_threshold=torch.tensor(-1.0)), "has spike_threshold=-1; .* add a constant"),
        (Doubled(), "is Doubled, which derives from sinabs's IAF and changes forward; register a reader"),
        (Remembering(5.0), "is Remembering, which derives from sinabs's LIF and changes alpha_mem_calculated"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_run_is_refused_by_name(module, reason):
    with pytest.raises(UnsupportedModelError, match=f"1 {reason}|1 is .* {reason}"):
        adapt(nn.Sequential(nn.Linear(3, 3), module), time_steps=4)


def test_a_class_that_changes_no_dynamics_is_read_as_its_parent():
    assert read(Louder()).library == "sinabs"
    assert neuron_params(Louder()) == neuron_params(layers.IAF())


@pytest.mark.parametrize(
    "module", [layers.ExpLeak(tau_mem=5.0), layers.SumPool2d(2), layers.Repeat(nn.Linear(3, 3)), layers.FlattenTime()]
)
def test_linear_layers_are_no_neurons(module):
    assert read(module) is None
