"""Neurons of norse: spike for spike, states in and out, what is refused."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from art_snn import UnsupportedModelError, adapt
from art_snn.adapters import neuron_params, register_reader
from art_snn.snn import readers
from art_snn.snn.dynamics import NeuronParams
from art_snn.snn.readers import read
from tests.adapters.taps import STEPS, currents, stepped

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import of torch.jit.script
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    from norse.torch.functional.iaf import IAFParameters
    from norse.torch.functional.lif import LIFFeedForwardState, LIFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract
    from norse.torch.module.snn import SNNCell


def numbers(kind, **values):
    return kind(**{name: torch.as_tensor(value) for name, value in values.items()})


# With dt=1, time constants of which rounding keeps ties: a potential that is at the threshold is so in any order of
# operations.
LIFS = {
    "halves": numbers(LIFParameters, tau_mem_inv=0.5, tau_syn_inv=0.5),
    "potentials": numbers(LIFParameters, tau_mem_inv=0.5, tau_syn_inv=0.25, v_leak=0.25, v_reset=-0.5, v_th=0.75),
    "no current": numbers(LIFParameters, tau_mem_inv=0.5, tau_syn_inv=1.0),
    "memoryless": numbers(LIFParameters, tau_mem_inv=1.0, tau_syn_inv=0.75),
}
BOXES = {
    "halves": numbers(LIFBoxParameters, tau_mem_inv=0.5),
    "subtract": numbers(LIFBoxParameters, tau_mem_inv=0.5, v_th=0.5)._replace(reset_method=reset_subtract),
    "potentials": numbers(LIFBoxParameters, tau_mem_inv=0.25, v_leak=0.25, v_reset=-0.5, v_th=0.75),
}
IAFS = {"defaults": IAFParameters(), "potentials": numbers(IAFParameters, v_th=0.5, v_reset=-0.25)}


def sequence(layer, x_seq):
    return layer(x_seq)[0]


def loop(cell, x_seq):
    state, outputs = None, []
    for x in x_seq:
        spikes, state = cell(x, state)
        outputs.append(spikes)
    return torch.stack(outputs)


def encoded(encoder, x_seq):
    return encoder(x_seq[0])


CASES = {
    **{f"LIF {name}": (norse.LIF(p, dt=1.0), sequence) for name, p in LIFS.items()},
    **{f"LIFCell {name}": (norse.LIFCell(p, dt=1.0), loop) for name, p in LIFS.items()},
    **{f"LIFBoxCell {name}": (norse.LIFBoxCell(p, dt=1.0), loop) for name, p in BOXES.items()},
    **{f"IAF {name}": (norse.IAF(p), sequence) for name, p in IAFS.items()},
    **{f"IAFCell {name}": (norse.IAFCell(p), loop) for name, p in IAFS.items()},
    **{f"encoder {name}": (norse.ConstantCurrentLIFEncoder(STEPS, p, dt=1.0), encoded) for name, p in LIFS.items()},
}


@pytest.mark.parametrize("case", CASES)
def test_spikes_are_those_of_the_library(case):
    layer, call = CASES[case]
    params = neuron_params(layer)
    for x_seq in currents(params.threshold, 1 / params.c):
        with torch.no_grad():
            expected = call(layer, x_seq)
        assert 0.05 < expected.mean() < 0.95
        assert torch.equal(stepped(layer, lambda layer, x_seq=x_seq: call(layer, x_seq)).to(expected), expected)


@pytest.mark.parametrize("layer", [norse.LIF(), norse.LIFCell(), norse.LIFBoxCell()], ids=lambda x: type(x).__name__)
def test_default_time_constants_give_the_spikes_of_the_library_on_noise(layer):
    call = sequence if isinstance(layer, norse.LIF) else loop
    for x_seq in list(currents(1.0, 10.0))[:2]:
        with torch.no_grad():
            expected = call(layer, x_seq)
        assert 0.05 < expected.mean() < 0.95
        assert torch.equal(stepped(layer, lambda layer, x_seq=x_seq: call(layer, x_seq)), expected)


@pytest.mark.parametrize("field", ["tau_mem_inv", "tau_syn_inv", "v_leak", "v_th", "v_reset"])
def test_parameters_may_differ_between_neurons(field):
    values = {"tau_mem_inv": (0.25, 0.5), "tau_syn_inv": (0.25, 0.75), "v_th": (0.5, 1.0)}.get(field, (-0.5, 0.25))
    spread = torch.tensor(values).repeat(250)
    layer = norse.LIFCell(LIFS["halves"]._replace(**{field: spread}), dt=1.0)
    for x_seq in currents(1.0, 2.0):
        with torch.no_grad():
            expected = loop(layer, x_seq)
        assert torch.equal(stepped(layer, lambda layer, x_seq=x_seq: loop(layer, x_seq)), expected)


@pytest.mark.parametrize("p", LIFS.values(), ids=LIFS)
def test_a_state_that_comes_out_is_that_of_the_library(p):
    def states(layer, pieces):
        state, found = None, []
        for piece in pieces:
            _, state = layer(piece, state)
            found += [*state, state.v]
        return torch.stack(found)

    for x_seq in currents(p.v_th, 2.0):
        for layer, pieces in ((norse.LIFCell(p, dt=1.0), x_seq), (norse.LIF(p, dt=1.0), x_seq.split(2))):
            found = stepped(layer, lambda layer, pieces=pieces: states(layer, pieces))
            torch.testing.assert_close(found, states(layer, pieces), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [norse.LIFCell(LIFS["halves"], dt=1.0), norse.LIFBoxCell(BOXES["halves"], dt=1.0), norse.IAFCell()],
    ids=lambda x: type(x).__name__,
)
def test_a_state_that_goes_in_is_where_neurons_start(layer):
    for x_seq in currents(1.0, 2.0):

        def twice(layer, x_seq=x_seq):
            _, state = layer(x_seq[0])
            kind = type(layer.initial_state(x_seq[0]))
            start = kind(*(torch.full_like(x_seq[0], 0.25) for _ in state))
            first, state = layer(x_seq[1], start)
            same, _ = layer(x_seq[2], kind(*state))  # which goes on
            return torch.stack([first, same, layer(x_seq[3], start)[0], layer(x_seq[4])[0]])

        with torch.no_grad():
            expected = twice(layer)
        assert torch.equal(stepped(layer, twice), expected)


def test_states_of_all_steps_are_those_of_the_library():
    layer = norse.LIF(LIFS["halves"], dt=1.0, record_states=True)
    for x_seq in currents(1.0, 2.0):
        with torch.no_grad():
            spikes, state = layer(x_seq)
        found, states = stepped(layer, lambda layer, x_seq=x_seq: layer(x_seq))
        assert torch.equal(found, spikes)
        torch.testing.assert_close(torch.stack(tuple(states)), torch.stack(tuple(state)), rtol=1e-5, atol=1e-6)
        assert states.v.shape == (STEPS, 20, 500)


def test_a_state_that_is_read_late_is_refused():
    def late(cell):
        kept, state = [], None
        for x in next(currents()):
            _, state = cell(x, state)
            kept.append(state)
        return kept[0].v

    with pytest.raises(UnsupportedModelError, match="after they have gone on; take what you need of it"):
        stepped(norse.LIFCell(), late)


def test_a_state_has_the_entries_of_the_neurons_alone():
    def current(cell):
        return cell(torch.ones(2, 3))[1].i

    with pytest.raises(AttributeError, match="a state of these neurons has v, no i"):
        stepped(norse.IAFCell(), current)


def test_a_current_that_neurons_do_not_keep_is_refused():
    def hand(cell):
        return cell(torch.ones(2, 3), LIFFeedForwardState(torch.zeros(2, 3), torch.ones(2, 3)))

    with pytest.raises(UnsupportedModelError, match="keep none, by their tau_syn_inv"):
        stepped(norse.LIFCell(LIFS["no current"], dt=1.0), hand)


class Louder(norse.LIFCell):
    """Changes nothing of the dynamics."""

    def extra_repr(self):
        return "louder"


class Doubled(norse.LIFCell):
    def forward(self, input_tensor, state=None):
        return super().forward(2 * input_tensor, state)


class Own(SNNCell):
    def __init__(self):
        super().__init__(activation=lambda x, state, p, dt: (x, state), state_fallback=lambda x: None, p=None)


def other_activation():
    cell = norse.LIFCell()
    cell.activation = lambda x, state, p, dt: (x, state)
    return cell


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (norse.LIFRecurrentCell(3, 4), "norse's LIFRecurrentCell, whose spikes come back to its own neurons"),
        (norse.LIFRecurrent(3, 4), "norse's LIFRecurrent, whose spikes come back"),
        (norse.LSNNCell(), "norse's LSNNCell, whose neurons adapt"),
        (norse.LSNNRecurrent(3, 4), "norse's LSNNRecurrent, whose spikes come back"),
        (norse.LIFAdEx(), "norse's LIFAdEx, whose neurons adapt"),
        (norse.LIFEx(), "norse's LIFEx, whose equation is exponential"),
        (norse.LIFRefracCell(), "norse's LIFRefracCell, whose neurons rest"),
        (norse.Izhikevich(norse.functional.izhikevich.tonic_spiking), "whose equation is quadratic"),
        (norse.SpikeLatencyLIFEncoder(4), "norse's SpikeLatencyLIFEncoder, which keeps the first spike"),
        (norse.LIFCell(LIFParameters(method="adjoint")), "norse's LIFCell with method='adjoint'"),
        (norse.LIFCell(numbers(LIFParameters, v_th=-50.0, v_leak=-65.0)), "has v_th=-50; .* add a constant"),
        (norse.LIFBoxCell(LIFBoxParameters(reset_method=lambda z, v, r, th: v)), "has the reset_method <lambda>"),
        (Doubled(), "is Doubled, which derives from norse's LIFCell and changes forward; register a reader"),
        (Own(), "is Own, norse's SNNCell with an activation of its own"),
        (other_activation(), "with the activation <lambda>"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_run_is_refused_by_name(module, reason):
    with pytest.raises(UnsupportedModelError, match=f"1 is .*{reason}|1 {reason}"):
        adapt(nn.Sequential(nn.Linear(3, 3), module), time_steps=4)


def test_a_class_that_changes_no_dynamics_is_read_as_its_parent():
    assert read(Louder()).library == "norse"
    assert neuron_params(Louder()) == neuron_params(norse.LIFCell())


def test_a_reader_of_ones_own_comes_before_the_librarys(monkeypatch):
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    register_reader(lambda module: NeuronParams(decay=0.3) if isinstance(module, Doubled) else None)
    assert neuron_params(Doubled()).decay == 0.3


@pytest.mark.parametrize(
    "module",
    [norse.LI(), norse.LICell(), norse.LIBoxCell(), norse.LILinearCell(3, 4), norse.Lift(nn.ReLU()), nn.ReLU()],
)
def test_linear_layers_and_containers_are_no_neurons(module):
    assert read(module) is None
