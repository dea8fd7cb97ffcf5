"""Unusual but legal networks, one small function each; `ZOO` has them by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from art_snn import IF, LIF, DirectEncoder, EventFrameEncoder, Normalize, Residual, SpikingNetwork
from art_snn.snn.network import over_time
from tests.engine.brute_force import Run


class Animal(NamedTuple):
    """A network of the zoo.

    Attributes:
        make: Makes its body, whose inputs are ``shape`` and outputs 4 numbers.
        shape: Shape of a sample; of one frame where there are ``frames``.
        samples: Size of the batch.
        steps: Number of time-steps.
        frames: Whether the input is event frames.
        unrolled: Whether one step cannot stand for all.
        network: Class of the network.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (2, 6, 6)
    samples: int = 3
    steps: int = 4
    frames: bool = False
    unrolled: bool = False
    network: type[SpikingNetwork] = SpikingNetwork

    def build(self) -> tuple[SpikingNetwork, Tensor]:
        """Return the network in float64 and in evaluation mode, with neurons that fire, and a batch for it."""
        torch.manual_seed(0)
        encoder = EventFrameEncoder() if self.frames else DirectEncoder(time_steps=self.steps)
        network = self.network(encoder, self.make()).double().eval()
        for layer in network.modules():
            if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)):
                fan = layer.weight[0].numel() if not isinstance(layer, nn.modules.conv._ConvTransposeNd) else 9
                layer.weight.data.normal_(0.1, 2 / fan**0.5)
                if layer.bias is not None:
                    layer.bias.data.uniform_(0.0, 0.5)
            elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
                layer.running_mean.normal_(0, 0.2)
                layer.running_var.uniform_(0.3, 1.2)
                if layer.affine:
                    layer.weight.data.uniform_(0.5, 1.5)
                    layer.bias.data.uniform_(0.1, 0.6)
        shape = (self.samples, self.steps, *self.shape) if self.frames else (self.samples, *self.shape)
        return network, torch.rand(shape, dtype=torch.float64)


ZOO: dict[str, Animal] = {}


def animal(**options: Any) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Put a network into the zoo."""

    def put(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ZOO[make.__name__] = Animal(make, **options)
        return make

    return put


def lif(**options: Any) -> LIF:
    return LIF(decay=0.8, **options)


def with_params(**changes: Any) -> LIF:
    neurons = lif()
    neurons.params = neurons.params._replace(**changes)
    return neurons


def conv(inputs: int, outputs: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, **{"padding": 1, **options})


def head(features: int) -> tuple[nn.Module, nn.Module]:
    return nn.Flatten(), nn.Linear(features, 4)


def around(*middle: nn.Module, features: int = 36 * 4, channels: int = 4) -> nn.Sequential:
    """Return neurons, layers between them, and neurons again."""
    return nn.Sequential(conv(2, channels), lif(), *middle, lif(), *head(features))


class Through(nn.Module):
    """A stateless layer made of a function of (B, ...)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Block(nn.Module):
    """A user's own convolution, norm and neurons, in one layout in memory."""

    def __init__(self, conv: nn.Module, norm: nn.Module, layout: torch.memory_format) -> None:
        super().__init__()
        self.conv, self.norm, self.neurons, self.layout = conv, norm, lif(), layout

    def forward(self, x_seq: Tensor) -> Tensor:
        rows = self.norm(self.conv(x_seq.flatten(0, 1).contiguous(memory_format=self.layout)))
        return self.neurons(rows.reshape(*x_seq.shape[:2], *rows.shape[1:]))

    def step_by_step(self, run: Run, x_seq: Tensor) -> Tensor:
        return run(self.neurons, run(self.norm, run(self.conv, x_seq)))


@animal()
def grouped() -> nn.Module:
    return around(conv(4, 4, groups=2))


@animal()
def depthwise_and_pointwise() -> nn.Module:
    return around(conv(4, 4, groups=4, bias=False), nn.Conv2d(4, 4, 1))


@animal()
def dilated() -> nn.Module:
    return around(conv(4, 4, dilation=2, padding=2))


@animal()
def strided_and_transposed() -> nn.Module:
    return around(conv(4, 4, stride=2), nn.ConvTranspose2d(4, 4, 2, stride=2))


@animal()
def reflecting_borders() -> nn.Module:
    return around(conv(4, 4, padding_mode="reflect"), conv(4, 4, padding_mode="circular"))


@animal()
def shuffled_pixels() -> nn.Module:
    return around(nn.PixelShuffle(2), nn.Upsample(scale_factor=0.5, mode="bilinear"), nn.Conv2d(1, 4, 1))


@animal()
def norm_without_weights() -> nn.Module:
    return around(conv(4, 4), nn.BatchNorm2d(4, affine=False))


@animal(unrolled=True)
def group_norm() -> nn.Module:
    return around(conv(4, 4), nn.GroupNorm(2, 4))


@animal(unrolled=True)
def layer_norm() -> nn.Module:
    return around(conv(4, 4), nn.LayerNorm([4, 6, 6]))


@animal(unrolled=True)
def instance_norm() -> nn.Module:
    return around(conv(4, 4), nn.InstanceNorm2d(4))


@animal()
def instance_norm_with_running_statistics() -> nn.Module:
    return around(conv(4, 4), nn.InstanceNorm2d(4, track_running_stats=True, affine=True))


@animal(samples=1, steps=1)
def norms_before_the_first_neurons() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(6), conv(2, 4), nn.GroupNorm(2, 4), lif(), *head(144))


@animal()
def concatenated_skip() -> nn.Module:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.neurons = conv(4, 3), lif()

        def forward(self, x_seq: Tensor) -> Tensor:
            return torch.cat([x_seq, self.neurons(over_time(self.conv, x_seq))], 2)

        def step_by_step(self, run: Run, x_seq: Tensor) -> Tensor:
            return torch.cat([x_seq, run(self.neurons, run(self.conv, x_seq))], 2)

    return nn.Sequential(conv(2, 4), lif(), Dense(), conv(7, 4), lif(), *head(144))


@animal()
def neurons_used_twice() -> nn.Module:
    neurons = lif()
    return nn.Sequential(conv(2, 4), neurons, conv(4, 4), neurons, *head(144))


@animal()
def layers_used_twice() -> nn.Module:
    shared = conv(4, 4)
    return nn.Sequential(conv(2, 4), lif(), shared, lif(), shared, lif(), *head(144))


@animal()
def neurons_first() -> nn.Module:
    return nn.Sequential(lif(threshold=0.6), conv(2, 4), lif(), *head(144))


@animal()
def neurons_after_neurons() -> nn.Module:
    return nn.Sequential(conv(2, 4), lif(), lif(threshold=0.5), *head(144))


@animal()
def nested_residuals() -> nn.Module:
    inner = Residual(nn.Sequential(conv(4, 4), lif()))
    outer = Residual(nn.Sequential(inner, conv(4, 4), lif()), nn.Conv2d(4, 4, 1))
    return nn.Sequential(Normalize((0.4, 0.5), (0.3, 0.2)), conv(2, 4), lif(), outer, lif(), *head(144))


@animal()
def normed_weights() -> nn.Module:
    return around(nn.utils.parametrizations.weight_norm(conv(4, 4)))


@animal()
def spectral_norm() -> nn.Module:
    return around(nn.utils.parametrizations.spectral_norm(conv(4, 4)))


@animal(unrolled=True)
def relu_in_place() -> nn.Module:
    return around(nn.ReLU(inplace=True), conv(4, 4))


@animal()
def changed_in_place() -> nn.Module:
    return around(Through(lambda x: x.mul_(0.5).add_(0.1)), conv(4, 4), Through(lambda x: x.add_(0.2)))


@animal(unrolled=True)
def relu_on_currents() -> nn.Module:
    return around(conv(4, 4), nn.ReLU(), conv(4, 4))


@animal(unrolled=True)
def prelu() -> nn.Module:
    return around(nn.PReLU(4), conv(4, 4))


@animal(unrolled=True)
def softplus() -> nn.Module:
    return around(conv(4, 4), nn.Softplus())


@animal(unrolled=True)
def clamped_spikes() -> nn.Module:
    return around(Through(lambda x: x.clamp(-0.5, 0.7)), conv(4, 4))


@animal(unrolled=True)
def max_pool_of_currents() -> nn.Module:
    return around(conv(4, 4), nn.MaxPool2d(2), features=36)


@animal(unrolled=True)
def max_pool_of_spikes() -> nn.Module:
    return around(nn.MaxPool2d(2, stride=1), conv(4, 4), features=100)


@animal()
def max_pool_before_the_first_neurons() -> nn.Module:
    return nn.Sequential(conv(2, 4), nn.MaxPool2d(2), nn.ReLU(), lif(), nn.Conv2d(4, 4, 1), lif(), *head(36))


@animal()
def dropout() -> nn.Module:
    return around(nn.Dropout(0.5), conv(4, 4), nn.Dropout2d(0.3))


@animal(unrolled=True)
def attention() -> nn.Module:
    def attend(x: Tensor) -> Tensor:
        rows = x.flatten(2)
        return (torch.softmax(rows @ rows.transpose(1, 2), 2) @ rows).unflatten(2, x.shape[2:])

    return around(Through(attend), conv(4, 4))


@animal(unrolled=True)
def squeeze_and_excite() -> nn.Module:
    return around(Through(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()), conv(4, 4))


@animal(unrolled=True)
def product_of_spikes() -> nn.Module:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.one, self.other = conv(4, 4), conv(4, 4), lif(), lif()

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.one(over_time(self.left, x_seq)) * self.other(over_time(self.right, x_seq))

        def step_by_step(self, run: Run, x_seq: Tensor) -> Tensor:
            return run(self.one, run(self.left, x_seq)) * run(self.other, run(self.right, x_seq))

    return nn.Sequential(conv(2, 4), lif(), Product(), *head(144))


@animal(unrolled=True)
def shifted_in_time() -> nn.Module:
    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neurons = lif()

        def forward(self, x_seq: Tensor) -> Tensor:
            return self.neurons(torch.cat([x_seq[:1], x_seq[1:] + 0.5 * x_seq[:-1]]))

        def step_by_step(self, run: Run, x_seq: Tensor) -> Tensor:
            return run(self.neurons, torch.stack([x + 0.5 * x_seq[t - 1] if t else x for t, x in enumerate(x_seq)]))

    return nn.Sequential(conv(2, 4), lif(), conv(4, 4), Shift(), *head(144))


class LastStep(SpikingNetwork):
    """Reads the last step alone."""

    def readout(self, out_seq: Tensor) -> Tensor:
        return out_seq[-1]


@animal(unrolled=True, network=LastStep)
def last_step_is_read() -> nn.Module:
    return around(conv(4, 4))


@animal(samples=1)
def own_blocks() -> nn.Module:
    layout = torch.contiguous_format
    return nn.Sequential(*(Block(conv(i, 4), nn.BatchNorm2d(4), layout) for i in (2, 4, 4)), nn.AvgPool2d(6), *head(4))


@animal(samples=1)
def own_blocks_with_channels_last() -> nn.Module:
    layouts = (torch.contiguous_format, torch.contiguous_format, torch.channels_last)
    blocks = [Block(conv(i, 4), nn.BatchNorm2d(4), layout) for i, layout in zip((2, 4, 4), layouts, strict=True)]
    return nn.Sequential(*blocks, nn.AvgPool2d(6), *head(4))


@animal(samples=1, steps=1)
def one_sample_and_step_with_channels_last() -> nn.Module:
    return own_blocks_with_channels_last()


@animal(samples=1, shape=(2, 3, 4, 4))
def three_dimensions() -> nn.Module:
    layouts = (torch.contiguous_format, torch.channels_last_3d)
    convs = (nn.Conv3d(2, 3, 3, padding=1), nn.Conv3d(3, 3, 3, padding=1))
    blocks = [Block(conv, nn.BatchNorm3d(3), layout) for conv, layout in zip(convs, layouts, strict=True)]
    return nn.Sequential(*blocks, nn.AvgPool3d((1, 2, 2)), *head(36))


@animal(shape=(2, 9), samples=1)
def one_dimension() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), lif(), nn.AvgPool1d(2), nn.Conv1d(4, 4, 2), lif(), *head(8)
    )


@animal(shape=(7,))
def features_alone() -> nn.Module:
    return nn.Sequential(nn.Linear(7, 9), nn.BatchNorm1d(9), lif(), nn.Linear(9, 5), lif(), nn.Linear(5, 4))


@animal(steps=64, samples=2)
def many_steps() -> nn.Module:
    return around(nn.AdaptiveAvgPool2d(3), conv(4, 4), features=36)


@animal(steps=1)
def one_step() -> nn.Module:
    return around(nn.ReLU(), conv(4, 4), nn.MaxPool2d(2), features=36)


@animal(frames=True)
def event_frames() -> nn.Module:
    return around(nn.AvgPool2d(2), conv(4, 4), features=36)


@animal(frames=True, unrolled=True)
def event_frames_pooled_before_the_first_neurons() -> nn.Module:
    return nn.Sequential(conv(2, 4), nn.MaxPool2d(2), lif(), *head(36))


@animal()
def soft_resets_without_leak() -> nn.Module:
    return nn.Sequential(conv(2, 4), IF(reset="soft"), conv(4, 4), IF(reset="soft", threshold=1.7), *head(144))


@animal()
def decays_by_channel() -> nn.Module:
    decay = torch.tensor([0.3, 0.6, 0.9, 1.0], dtype=torch.float64).view(-1, 1, 1)
    return nn.Sequential(conv(2, 4), with_params(decay=decay), conv(4, 4), with_params(decay=decay), *head(144))


@animal()
def units_by_channel() -> nn.Module:
    scale = torch.tensor([0.3, 0.6, 2.0, 5.0], dtype=torch.float64).view(-1, 1, 1)
    first, second = with_params(threshold=scale, c=1.1 * scale, d=0.1 * scale), with_params(c=scale, v_reset=-0.1)
    return nn.Sequential(conv(2, 4), first, conv(4, 4), second, *head(144))


@animal()
def synapses() -> nn.Module:
    first, second = with_params(alpha=0.4, c=0.5), with_params(alpha=0.7, c=0.4, reset="soft", rho=0.6, v0=0.2)
    return nn.Sequential(conv(2, 4), first, conv(4, 4), second, *head(144))


@animal()
def silent_layer() -> nn.Module:
    return nn.Sequential(conv(2, 4), lif(threshold=50.0), conv(4, 4), lif(), *head(144))
