"""Which bodies may be run a few time-steps at a time."""

from __future__ import annotations

from torch import nn

from art_snn.snn.network import Normalize, Residual, SpikingSequential
from art_snn.snn.readers import neuron_params

# Layers that treat every row of a flat batch alike in evaluation mode, and so cannot know which step a row belongs to.
_TIME_BLIND = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.dropout._DropoutNd,
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.Upsample,
    nn.modules.padding._ConstantPadNd,
    nn.modules.padding._ReflectionPadNd,
    nn.modules.padding._ReplicationPadNd,
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardtanh,
)


def _is_settled(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    """Say whether a batch norm uses its running statistics, and not those of the rows that it is given."""
    return type(norm).__module__.startswith("torch.nn.modules.") and not norm.training and norm.running_mean is not None


def is_time_blind(body: nn.Module) -> bool:
    """Say whether a body may be run a few steps at a time, neurons carrying their state over.

    It may if it is made of the containers above, spiking layers, and torch's own layers that cannot tell time-steps
    apart. Anything else (a module of the user's own, recurrence, attention) gets the whole sequence.
    """
    return all(
        type(module) in (SpikingSequential, Residual, Normalize, nn.Sequential)
        or (isinstance(module, _TIME_BLIND) and type(module).__module__.startswith("torch.nn.modules."))
        or (isinstance(module, nn.modules.batchnorm._BatchNorm) and _is_settled(module))
        or neuron_params(module) is not None
        for module in body.modules()
    )
