"""Which bodies may be run a few time-steps at a time."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import padding, pooling

from art_snn.snn.network import Normalize, Residual, SpikingSequential
from art_snn.snn.readers import neuron_params

# Layers that treat every row of a flat batch alike in evaluation mode, and so cannot know which step a row belongs to.
_WEIGHTS = (nn.modules.conv._ConvNd, nn.Linear, nn.GroupNorm, nn.LayerNorm)
_POOLS = (pooling._AvgPoolNd, pooling._MaxPoolNd, pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd)
_SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Upsample)
_PADS = (padding._ConstantPadNd, padding._ReflectionPadNd, padding._ReplicationPadNd)
_CURVES = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardtanh)
_TIME_BLIND = (*_WEIGHTS, *_POOLS, *_SHAPES, *_PADS, *_CURVES, nn.modules.dropout._DropoutNd)


def is_time_blind(body: nn.Module) -> bool:
    """Say whether a body may be run a few steps at a time, neurons carrying their state over.

    It may if it is made of the containers above, spiking layers, and torch's own layers that cannot tell time-steps
    apart. Anything else (a module of the user's own, recurrence, attention) gets the whole sequence.
    """
    return all(
        type(module) in (SpikingSequential, Residual, Normalize, nn.Sequential)
        or (type(module).__module__.startswith("torch.nn.modules.") and _is_blind_layer(module))
        or neuron_params(module) is not None
        for module in body.modules()
    )


def _is_blind_layer(layer: nn.Module) -> bool:
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # with its running statistics, not those of the rows
        return not layer.training and layer.running_mean is not None
    return isinstance(layer, _TIME_BLIND)
