"""Encoders: shapes, noise, gradients."""

import copy
import pickle

import pytest
import torch
from torch import nn

from art_snn import (
    LIF,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    PoissonEncoder,
    RandomnessWarning,
    SpikingNetwork,
)
from art_snn.snn.encoders import is_random, takes_frames, with_own_memory


def test_direct_encoding_repeats_without_memory():
    x = torch.rand(2, 3)
    x_seq = DirectEncoder(time_steps=5)(x)
    assert x_seq.shape == (5, 2, 3)
    assert x_seq.stride(0) == 0
    assert all(torch.equal(step, x) for step in x_seq)


def test_only_expanded_batches_are_copied():
    x = torch.rand(3, 4, 5)
    for dense in (x, x.transpose(0, 2), x[::2], x[:1].expand(1, 4, 5)):
        assert with_own_memory(dense) is dense
    wide = x[:, :1].expand(3, 4, 5)
    assert torch.equal(with_own_memory(wide), wide)
    assert 0 not in with_own_memory(wide).stride()


def test_poisson_rate_is_the_intensity():
    x = torch.tensor([[0.0, 0.1, 0.5, 0.9, 1.0]])
    spikes = PoissonEncoder(time_steps=20_000)(x)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(spikes.mean(0), x, rtol=0, atol=0.015)


def test_poisson_noise_is_the_generators_alone():
    rng = torch.get_rng_state()
    one = PoissonEncoder(time_steps=4, generator=torch.Generator().manual_seed(7))
    other = PoissonEncoder(time_steps=4, generator=torch.Generator().manual_seed(7))
    x = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    first = one(x)
    assert torch.equal(first, other(x))
    assert not torch.equal(first, one(x))
    assert torch.equal(rng, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore::art_snn.errors.InputRangeWarning")
def test_poisson_gradient_passes_inside_the_unit_interval():
    x = torch.tensor([[-0.5, 0.0, 0.5, 1.0, 1.5]], requires_grad=True)
    (grad,) = torch.autograd.grad(PoissonEncoder(time_steps=4)(x).sum(), x)
    assert grad.tolist() == [[0, 4, 4, 4, 0]]


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_poisson_copies_go_on_with_the_same_noise(copier):
    encoder = PoissonEncoder(time_steps=3, generator=torch.Generator().manual_seed(1))
    x = torch.full((2, 50), 0.5)
    encoder(x)
    twin = copier(encoder)
    assert torch.equal(twin(x), encoder(x))


def test_event_frames_are_transposed():
    x = torch.rand(2, 5, 3, 4, 4)
    assert torch.equal(EventFrameEncoder()(x), x.transpose(0, 1))


@pytest.mark.parametrize("time_steps", [0, -1, 2.0, True, "8"])
@pytest.mark.parametrize("encoder", [DirectEncoder, PoissonEncoder])
def test_bad_time_steps_are_refused(encoder, time_steps):
    with pytest.raises(ValueError, match="time_steps must be a whole number >= 1, got"):
        encoder(time_steps=time_steps)


def test_bad_inputs_are_refused():
    with pytest.raises(TypeError, match="generator must be"):
        PoissonEncoder(time_steps=2, generator=3)
    with pytest.raises(ValueError, match=r"must have shape \(N, T, ...\)"):
        EventFrameEncoder()(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"time axis .* length 0"):
        EventFrameEncoder()(torch.zeros(2, 0, 3))


class Drawn(nn.Module):
    """An encoder of a user's that says nothing of itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.expand(3, *x.shape)


class Fixed(Drawn):
    random = False


def test_encoders_say_what_they_are():
    layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), LIF(), nn.Linear(3, 2))
    for encoder, random, frames in (
        (DirectEncoder(time_steps=3), False, False),
        (PoissonEncoder(time_steps=3), True, False),
        (EventFrameEncoder(), False, True),
        (Drawn(), True, False),
        (Fixed(), False, False),
    ):
        network = SpikingNetwork(encoder, layers)
        assert is_random(network) is random
        assert takes_frames(network) is frames
    assert is_random(layers)
    assert not takes_frames(layers)
    with pytest.warns(RandomnessWarning, match="the encoder is not random"):
        GradientRuleModule(SpikingNetwork(Fixed(), layers), eot_samples=2)
    GradientRuleModule(SpikingNetwork(Drawn(), layers), eot_samples=2)
